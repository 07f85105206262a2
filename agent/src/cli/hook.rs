//! `hook`: what git runs when somebody pushes to the machine. Asks the daemon, and tells the pusher what it says.

mod dialogue;

use std::{
    env,
    fmt::Display,
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use clap::ValueEnum;
use hyper::{Method, header};
use serde::Serialize;
use serde_json::Value;

use self::dialogue::Dialogue;
use super::{client::Client, failure::Failure, plan, reach, screen::Screen, trial};
use crate::access::{PUSHER_NAME, PUSHER_ROLE};

/// How long the daemon may take: a push may wait for another.
const PATIENCE: Duration = Duration::from_secs(110);
/// The most bytes that git tells of refs: some ten thousand of them.
const MOST_BYTES: u64 = 4 << 20;
/// The most push options that are passed on.
const MOST_OPTIONS: usize = 64;

/// Asks the daemon whether a push may come in, or to take it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_enum)]
    hook: Hook,
}

/// A hook of the repository.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hook {
    /// Looks at what came in, which git throws away when it is refused.
    PreReceive,
    /// Puts it in force.
    ProcReceive,
}

/// A push, as the daemon is told of it.
#[derive(Debug, Default, Serialize)]
struct Push {
    quarantine: Option<PathBuf>,
    commands: Vec<Command>,
    options: Vec<String>,
    /// Who pushes; none if it is root on this machine.
    pusher: Option<Pusher>,
}

/// Who pushes over the API, as the daemon told git.
#[derive(Debug, Serialize)]
struct Pusher {
    name: String,
    role: String,
}

/// One ref that shall be changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Command {
    old: String,
    new: String,
    name: String,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let client = client.patient(PATIENCE);
    match args.hook {
        Hook::PreReceive => look(&client, screen).await,
        Hook::ProcReceive => take(&client, screen).await,
    }
}

/// Shows the plan of a push, or fails, so that git refuses it.
async fn look(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut text = Vec::new();
    io::stdin().lock().take(MOST_BYTES).read_to_end(&mut text).map_err(|error| unheard(&error))?;
    let push = Push {
        quarantine: env::var_os("GIT_QUARANTINE_PATH").map(PathBuf::from),
        commands: text.split_inclusive(|byte| *byte == b'\n').map(Command::read).collect::<Result<_, _>>()?,
        options: options()?,
        pusher: pusher(),
    };
    let answer = ask("/git/hooks/pre-receive", &push, client).await?;
    plan::show(&plan::read(&answer)?, screen, |_, _| true)?;
    plan::problems(&answer, screen)?;
    let warnings = answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    screen.warn(&warnings.map(str::to_owned).collect::<Vec<_>>());
    match answer["dryRun"] == true {
        true => Err(Failure::Usage("this was a dry run: nothing was changed".to_owned())),
        false => Ok(()),
    }
}

/// Has a push put in force, and tells git what became of it.
async fn take(client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut dialogue = Dialogue::begin(io::stdin().lock(), io::stdout().lock()).map_err(|error| unheard(&error))?;
    let push = Push { pusher: pusher(), ..dialogue.push().map_err(|error| unheard(&error))? };
    let done = ask("/git/hooks/proc-receive", &push, client).await;
    let refusal = match &done {
        Ok(answer) => {
            trial::begun(answer, screen);
            let links = answer["links"].as_array().into_iter().flatten();
            reach::told(&links.filter_map(Value::as_str).collect::<Vec<_>>(), false, screen);
            None
        }
        Err(failure) => {
            screen.fail(failure);
            failure.to_string().lines().next().map(str::to_owned)
        }
    };
    dialogue.end(&push.commands, refusal.as_deref()).map_err(Failure::Output)
}

async fn ask(path: &str, push: &Push, client: &Client) -> Result<Value, Failure> {
    let body = serde_json::to_vec(push).map_err(|error| unheard(&error))?;
    let headers = [(header::CONTENT_TYPE, "application/json")];
    let answer = client.send(Method::POST, path, &headers, Bytes::from(body)).await?;
    client.json(&answer)
}

/// Reads who pushes.
fn pusher() -> Option<Pusher> {
    // Without a role it would be root who pushes, so an odd one is passed on and refused.
    let role = env::var_os(PUSHER_ROLE)?.to_string_lossy().into_owned();
    Some(Pusher { name: env::var(PUSHER_NAME).unwrap_or_default(), role })
}

/// Reads the push options that git gives to hooks by its environment.
fn options() -> Result<Vec<String>, Failure> {
    let count = env::var("GIT_PUSH_OPTION_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    if count > MOST_OPTIONS {
        return Err(Failure::Usage("these are more push options than there are".to_owned()));
    }
    let option = |at: usize| {
        let option = env::var(format!("GIT_PUSH_OPTION_{at}"));
        option.map_err(|_| Failure::Usage("a push option is not UTF-8".to_owned()))
    };
    (0..count).map(option).collect()
}

impl Command {
    /// Reads `<old> <new> <ref>`, with or without the end of the line.
    fn read(line: &[u8]) -> Result<Self, Failure> {
        let line = String::from_utf8_lossy(line);
        let mut words = line.strip_suffix('\n').unwrap_or(&line).splitn(3, ' ').map(str::to_owned);
        match (words.next(), words.next(), words.next()) {
            (Some(old), Some(new), Some(name)) => Ok(Self { old, new, name }),
            _ => Err(unheard(&"no line of a push")),
        }
    }
}

fn unheard(cause: &dyn Display) -> Failure {
    Failure::Garbled { host: "git".to_owned(), cause: cause.to_string() }
}

//! `piccolo context`: the machines that you know.

use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
};

use clap::Subcommand;
use zeroize::Zeroizing;

use super::{
    ask,
    client::Client,
    contexts::{Context, Contexts},
    failure::Failure,
    host::Host,
    screen::Screen,
    table::Table,
};

/// The most that git asks.
const MOST_BYTES: u64 = 64 << 10;

/// Keeps the machines that you know, and says which one is meant.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo context list\n  piccolo context use attic\n  \
                        piccolo context add attic.local --token-file token")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the machines; a star marks the one that is meant.
    List,
    /// Says which machine is meant when none is named.
    Use {
        /// The name of the machine.
        name: String,
    },
    /// Takes down a machine that somebody made a token for.
    Add(Add),
    /// Prints the certificate of a machine's authority, for other programs.
    Authority {
        /// The name of the machine; the one that is meant when left out.
        name: Option<String>,
    },
    /// Tells git the token for a machine, as a credential helper of git.
    Credential {
        /// What git wants: only `get` is answered.
        action: String,
    },
    /// Forgets a machine. Your token for it holds on: see `piccolo token revoke`.
    Remove {
        /// The name of the machine.
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The machine: a name or an address, with a port unless that is 8080.
    machine: String,
    /// The file with the token.
    #[arg(long)]
    token_file: PathBuf,
    /// The fingerprint of the machine. You are asked to compare it when left out.
    #[arg(long)]
    fingerprint: Option<String>,
    /// What to call the machine; its own name when left out.
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    let mut contexts = Contexts::read()?;
    match &args.command {
        Command::List => return list(&contexts, screen),
        Command::Authority { name } => {
            let name = name.as_ref().or(contexts.current.as_ref()).map_or("", String::as_str);
            return screen.data(contexts.named(name)?.authority.as_bytes());
        }
        Command::Credential { action } => return credential(action, &contexts, screen),
        Command::Use { name } => {
            contexts.named(name)?;
            contexts.current = Some(name.clone());
        }
        Command::Add(args) => add(args, &mut contexts, screen).await?,
        Command::Remove { name } => {
            contexts.named(name)?;
            contexts.contexts.remove(name);
            contexts.current = contexts.current.filter(|it| it != name);
        }
    }
    contexts.write()
}

fn list(contexts: &Contexts, screen: &Screen) -> Result<(), Failure> {
    if contexts.contexts.is_empty() {
        screen.note("you know no other machine; `piccolo claim HOST` makes one yours");
        return Ok(());
    }
    let mut table = Table::new(["", "Name", "Host"]);
    for (name, context) in &contexts.contexts {
        let mark = if contexts.current.as_ref() == Some(name) { "*" } else { "" };
        table.row([mark.to_owned(), name.clone(), context.host.clone()]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

/// Answers git, which says for which host it wants a password. What it wants to be kept or forgotten is kept here anyway.
fn credential(action: &str, contexts: &Contexts, screen: &Screen) -> Result<(), Failure> {
    let mut asked = String::new();
    io::stdin().lock().take(MOST_BYTES).read_to_string(&mut asked).map_err(Failure::Output)?;
    let host = asked.lines().find_map(|line| line.strip_prefix("host=")).unwrap_or_default();
    match contexts.at(host).filter(|_| action == "get" && asked.lines().any(|line| line == "protocol=https")) {
        Some(known) => {
            let answer = Zeroizing::new(format!("username=piccolo\npassword={}\n", known.token.as_str()));
            screen.data(answer.as_bytes())
        }
        None => Ok(()),
    }
}

async fn add(args: &Add, contexts: &mut Contexts, screen: &Screen) -> Result<(), Failure> {
    let host = Host::machine(&args.machine).map_err(Failure::Usage)?;
    let path = &args.token_file;
    let token = fs::read_to_string(path).map_err(|source| Failure::File { path: path.clone(), source })?;
    let token = Zeroizing::new(Zeroizing::new(token).trim().to_owned());
    let (authority, print) = Client::new(host.clone(), None).look().await?;
    let is_it = match &args.fingerprint {
        Some(fingerprint) => print.is(fingerprint),
        None => {
            screen.note(format!("{host} shows the fingerprint\n\n  {print}\n"));
            ask::is_so("Is that the one you were told?", "--fingerprint")?
        }
    };
    if !is_it {
        return Err(Failure::Untrusted { host: host.to_string(), why: format!("its fingerprint is {print}") });
    }
    let context = Context { host: host.place(), token, authority };
    let client = Client::new(host, Some(context.clone()));
    let role = client.get("/whoami").await?["role"].as_str().unwrap_or_default().to_owned();
    let called = match &args.name {
        Some(name) => name.clone(),
        None => client.get("/claim").await?["name"].as_str().unwrap_or("piccolo").to_owned(),
    };
    let name = contexts.add(&called, context);
    screen.note(format!("`{name}` is meant from now on; your role there is {role}"));
    Ok(())
}

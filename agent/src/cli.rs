//! The `piccolo` command: a person's way to the daemon's API.
//!
//! Data goes to standard output, everything else to standard error. Each command is one small file.

mod adopt;
mod apply;
mod ask;
mod audit;
mod capture;
mod claim;
mod client;
mod completion;
mod confirm;
mod context;
mod contexts;
mod delete;
mod describe;
mod disk;
mod edit;
mod events;
mod exec;
mod explain;
mod export;
mod failure;
mod get;
mod history;
mod hook;
mod host;
mod image;
mod import;
mod install;
mod kubeconfig;
mod local;
mod logs;
mod manual;
mod net;
mod output;
mod page;
mod plan;
mod progress;
mod pull;
mod reach;
mod ready;
mod reset;
mod rollback;
mod schema;
mod screen;
mod secret;
mod sign;
mod status;
mod subject;
mod table;
mod terminal;
mod tls;
mod token;
mod top;
mod trial;
mod trust;
mod update;
mod user;
mod validate;
mod wait;
mod why;
mod written;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{client::Client, contexts::Contexts, failure::Failure, host::Host, screen::Screen};

/// Where the daemon of this machine answers.
const SOCKET: &str = "/run/piccolo/api.sock";

const EXIT_CODES: &str = "\
Exit codes:
  0  done               5  conflict: changed by someone else
  1  failed             6  not settled in time
  2  wrong usage        7  written, not without loss
  3  not found         10  the plan has changes
  4  not trusted, or not allowed

Examples:
  piccolo status
  piccolo apply -f web.toml --wait";

/// Says what this machine shall be, and shows what it is.
#[derive(Debug, Parser)]
#[command(name = "piccolo", version, after_help = EXIT_CODES, max_term_width = 80)]
struct Cli {
    /// The daemon: `unix:///path/to.sock` or `https://attic.local:8080`. The current context when left out, or else the socket
    /// of this machine.
    #[arg(long, global = true, env = "PICCOLO_HOST", hide_env_values = true)]
    host: Option<Host>,
    /// The machine by its name: see `piccolo context`.
    #[arg(long, global = true, env = "PICCOLO_CONTEXT", hide_env_values = true, conflicts_with = "host")]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows how everything stands, on one screen.
    Status(status::Args),
    /// Says whether every part works, for programs.
    Ready(ready::Args),
    /// Shows what would be changed. Exits with 10 when there is something.
    Plan(plan::Args),
    /// Lists manifests and how they stand.
    Get(get::Args),
    /// Shows everything about one manifest.
    Describe(describe::Args),
    /// Says why something is as it is.
    Why(why::Args),
    /// Makes or replaces manifests.
    Apply(apply::Args),
    /// Opens a manifest in an editor.
    Edit(edit::Args),
    /// Removes manifests, and what they declare from the machine.
    Delete(delete::Args),
    /// Keeps values that only this machine can read.
    Secret(secret::Args),
    /// Confirms a change on trial, or many removals that are held.
    Confirm(confirm::Args),
    /// Updates a container to the image that its tag names by now.
    Update(update::Args),
    /// Has a repository asked that manifests come from.
    Pull(pull::Args),
    /// Shows what a container prints.
    Logs(logs::Args),
    /// Runs a program in a container and exits with its exit code.
    Exec(exec::Args),
    /// Shows what containers use.
    Top(top::Args),
    /// Shows the links of the machine.
    Net(net::Args),
    /// Shows what happened.
    Events(events::Args),
    /// Shows who asked for what, and what was done.
    Audit(audit::Args),
    /// Shows who changed which manifests, and when.
    History(history::Args),
    /// Shows what changed in the manifests between two revisions.
    Diff(history::DiffArgs),
    /// Goes back to what was before.
    Rollback(rollback::Args),
    /// Explains a field of a manifest, or the code of a mistake.
    Explain(explain::Args),
    /// Checks manifests without a daemon.
    Validate(validate::Args),
    /// Carries images between machines without a registry.
    Image(image::Args),
    /// Shows disks, gives leave to erase one, and opens encrypted ones.
    Disk(disk::Args),
    /// Installs the system of a stick on a disk or on two.
    Install(install::Args),
    /// Makes an installed machine as new at its next start.
    Reset(reset::Args),
    /// Takes over a container that runs, without restarting it.
    Adopt(adopt::Args),
    /// Writes manifests of everything that runs and is not Piccolo's.
    Capture(capture::Args),
    /// Turns files of other tools into manifests.
    Import(import::Args),
    /// Writes manifests in the words of other tools.
    Export(export::Args),
    /// Makes a machine yours that is nobody's.
    Claim(claim::Args),
    /// Keeps the machines that you know, and says which one is meant.
    Context(context::Args),
    /// Lets others in over networks, and out again.
    Token(token::Args),
    /// Shows what the machine's keys rest on, and proves what it started.
    Trust(trust::Args),
    /// Lets people in with a browser, and out again.
    User(user::Args),
    /// Prints the JSON Schema of a kind, for editors.
    Schema(schema::Args),
    /// Writes a file by which kubectl finds this machine.
    Kubeconfig(kubeconfig::Args),
    /// Prints completions for a shell.
    Completion(completion::Args),
    /// Asks the daemon on behalf of git.
    #[command(hide = true)]
    Hook(hook::Args),
}

/// Runs the command line and returns its exit code. Dropped half-way it leaves nothing behind: each request is whole.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let screen = Screen::new();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli, &screen).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            screen.fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(cli: Cli, screen: &Screen) -> Result<u8, Failure> {
    let client = client(cli.host, cli.context.as_deref())?;
    let (client, screen) = (&client, screen);
    match cli.command {
        Command::Status(args) => status::run(&args, client, screen).await?,
        Command::Ready(args) => ready::run(&args, client, screen).await?,
        Command::Plan(args) => return plan::run(&args, client, screen).await,
        Command::Get(args) => get::run(&args, client, screen).await?,
        Command::Describe(args) => describe::run(&args, client, screen).await?,
        Command::Why(args) => why::run(&args, client, screen).await?,
        Command::Apply(args) => apply::run(&args, client, screen).await?,
        Command::Edit(args) => edit::run(&args, client, screen).await?,
        Command::Delete(args) => delete::run(&args, client, screen).await?,
        Command::Secret(args) => secret::run(&args, client, screen).await?,
        Command::Confirm(args) => confirm::run(&args, client, screen).await?,
        Command::Update(args) => update::run(&args, client, screen).await?,
        Command::Pull(args) => pull::run(&args, client, screen).await?,
        Command::Rollback(args) => rollback::run(&args, client, screen).await?,
        Command::Logs(args) => logs::run(&args, client, screen).await?,
        Command::Exec(args) => return exec::run(&args, client, screen).await,
        Command::Top(args) => top::run(&args, client, screen).await?,
        Command::Net(args) => net::run(&args, client, screen).await?,
        Command::Events(args) => events::run(&args, client, screen).await?,
        Command::Audit(args) => return audit::run(&args, client, screen).await,
        Command::History(args) => history::run(&args, client, screen).await?,
        Command::Diff(args) => history::diff(&args, client, screen).await?,
        Command::Explain(args) => explain::run(&args, screen)?,
        Command::Validate(args) => validate::run(&args, screen)?,
        Command::Image(args) => image::run(&args, client, screen).await?,
        Command::Disk(args) => disk::run(&args, client, screen).await?,
        Command::Install(args) => install::run(&args, client, screen).await?,
        Command::Reset(args) => reset::run(&args, client, screen).await?,
        Command::Adopt(args) => adopt::run(&args, client, screen).await?,
        Command::Capture(args) => return capture::run(&args, client, screen).await,
        Command::Import(args) => return import::run(&args, screen),
        Command::Export(args) => export::run(&args, client, screen).await?,
        Command::Kubeconfig(args) => kubeconfig::run(&args, client, screen).await?,
        Command::Claim(args) => claim::run(&args, client, screen).await?,
        Command::Context(args) => context::run(&args, screen).await?,
        Command::Token(args) => token::run(&args, client, screen).await?,
        Command::Trust(args) => trust::run(&args, client, screen).await?,
        Command::User(args) => user::run(&args, client, screen).await?,
        Command::Schema(args) => schema::run(&args, screen)?,
        Command::Completion(args) => completion::run(&args, screen)?,
        Command::Hook(args) => hook::run(&args, client, screen).await?,
    }
    Ok(0)
}

/// Returns the machine that is meant, with what is known of it.
fn client(host: Option<Host>, context: Option<&str>) -> Result<Client, Failure> {
    match (host, context) {
        (Some(Host::Tls(at)), _) => {
            let known = Contexts::read()?.at(&at).cloned();
            Ok(Client::new(Host::Tls(at), known))
        }
        (Some(host), _) => Ok(Client::new(host, None)),
        (None, name) => {
            let contexts = Contexts::read()?;
            let known = name.or(contexts.current.as_deref()).map(|name| contexts.named(name)).transpose()?;
            Ok(match known {
                Some(known) => Client::new(Host::Tls(known.host.clone()), Some(known.clone())),
                None => Client::new(Host::Unix(SOCKET.into()), None),
            })
        }
    }
}

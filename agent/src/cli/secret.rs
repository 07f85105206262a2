//! `piccolo secret`: values that only the machine can read.
//!
//! Values are encrypted and decrypted on this side. What goes to the daemon, or into a file, is armour.

mod draft;
mod list;
mod recipient;
mod rotate;
mod set;

use clap::Subcommand;

use super::{client::Client, failure::Failure, screen::Screen};

/// Keeps values that only this machine can read.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo secret set db password\n  pwgen 32 1 | piccolo secret set db password\n  piccolo secret rotate db"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encrypts a value and writes it into a Secret, which is made when it is missing.
    Set(set::Args),
    /// Encrypts all values of a Secret anew, for whoever shall be able to read it now.
    Rotate(rotate::Args),
    /// Lists secrets and the names of their values.
    List,
    /// Prints whom to encrypt for so that the machine can read it.
    Recipient,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.command {
        Command::Set(args) => set::run(args, client, screen).await,
        Command::Rotate(args) => rotate::run(args, client, screen).await,
        Command::List => list::run(client, screen).await,
        Command::Recipient => screen.line(recipient::of_machine(client).await?.to_string()),
    }
}

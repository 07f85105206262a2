//! `piccolo trust`: what the machine's keys rest on, and proofs of what it started.

mod disk;
mod quote;
mod reseal;
mod seal;
mod status;
mod why;

use clap::Subcommand;

pub(super) use self::reseal::ask as ask_of_start;

use super::{client::Client, failure::Failure, screen::Screen};

/// Shows what the machine's keys rest on, and proves what it started.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo trust status\n  piccolo trust seal\n  piccolo trust why\n  piccolo trust verify --pcrs 0,7 --signer 000b1f…\n  \
                        piccolo trust quote --pcrs 0,7 --nonce 5e1f6a7b8c9d0e1f > quote.json\n  \
                        piccolo trust verify quote.json --nonce 5e1f6a7b8c9d0e1f"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what keys rest on, and what TPM there is.
    Status(status::Args),
    /// Says what changed in how the machine starts since the last start that was good.
    Why(why::Args),
    /// Seals the machine's keys to its TPM, with a recovery key for the day when that can't open them.
    Seal(seal::Args),
    /// Binds what is bound to registers of the TPM to how the machine started this time.
    Reseal(reseal::Args),
    /// Puts the machine's keys back into files.
    Unseal,
    /// Lets the TPM open an encrypted disk, with systemd-cryptsetup when the machine starts.
    Enrol(disk::Enrol),
    /// Makes a recovery key of an encrypted disk, and shows it once.
    Recovery(disk::Recovery),
    /// Has the machine's TPM sign what its registers hold.
    Quote(quote::Args),
    /// Checks a quote in a file, or asks the machine for one and checks that.
    Verify(quote::Check),
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.command {
        Command::Status(args) => status::run(args, client, screen).await,
        Command::Why(args) => why::run(args, client, screen).await,
        Command::Seal(args) => seal::run(args, client, screen).await,
        Command::Reseal(args) => reseal::run(args, client, screen).await,
        Command::Unseal => seal::undo(client, screen).await,
        Command::Enrol(args) => disk::enrol(args, client, screen).await,
        Command::Recovery(args) => disk::recovery(args, client, screen).await,
        Command::Quote(args) => quote::run(args, client, screen).await,
        Command::Verify(args) => quote::check(args, client, screen).await,
    }
}

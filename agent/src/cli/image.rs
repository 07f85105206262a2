//! `piccolo image`: images as files, for machines without a registry, and those that nothing needs.

mod export;
mod gauge;
mod import;
mod prune;

use super::{client::Client, failure::Failure, screen::Screen};

/// Carries images between machines without a registry, and removes those that nothing needs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo image export app app.tar\n  piccolo image import app.tar")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Writes an image into a file, as an OCI archive that older engines load as well.
    Export(export::Args),
    /// Takes in the images of an archive: OCI, or what `docker save` writes.
    Import(import::Args),
    /// Removes the images that nothing needs.
    Prune(prune::Args),
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.what {
        What::Export(args) => export::run(args, client, screen).await,
        What::Import(args) => import::run(args, client, screen).await,
        What::Prune(args) => prune::run(args, client, screen).await,
    }
}

//! `piccolo image`: images as files, for machines without a registry.

mod export;
mod gauge;
mod import;

use super::{client::Client, failure::Failure, screen::Screen};

/// Carries images between machines without a registry.
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
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    match &args.what {
        What::Export(args) => export::run(args, client, screen).await,
        What::Import(args) => import::run(args, client, screen).await,
    }
}

//! `piccolo export`: manifests in the words of other tools.

use std::path::PathBuf;

use piccolo_schema::{Kind, Manifest, parse};

use super::{client::Client, failure::Failure, local, screen::Screen, subject};
use crate::compose;

/// Writes manifests in the words of other tools.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo export compose > compose.yaml\n  piccolo export compose /etc/piccolo/apps"
)]
pub(super) struct Args {
    #[command(subcommand)]
    to: To,
}

#[derive(Debug, clap::Subcommand)]
enum To {
    /// Prints one compose file. What can't be said there is a comment at its head.
    Compose(Compose),
}

/// Prints one compose file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo export compose > compose.yaml\n  piccolo export compose /etc/piccolo/apps"
)]
struct Compose {
    /// Files and directories of manifests; what the daemon has when left out.
    paths: Vec<PathBuf>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let To::Compose(args) = &args.to;
    let manifests = if args.paths.is_empty() {
        declared(client).await?
    } else {
        local::read(&args.paths, screen)?.into_iter().map(|it| it.manifest).collect()
    };
    let text = compose::export(&manifests)
        .map_err(|error| Failure::Usage(format!("this can't be said in a compose file: {error}")))?;
    screen.data(text.as_bytes())
}

async fn declared(client: &Client) -> Result<Vec<Manifest>, Failure> {
    let mut manifests = Vec::new();
    for kind in Kind::ALL {
        let list = client.get(&subject::list_path(*kind)).await?;
        for item in list["items"].as_array().into_iter().flatten() {
            manifests.push(parse::parse_value(item).map_err(|rejected| Failure::Garbled {
                host: "the daemon".to_owned(),
                cause: rejected.diagnostics.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>().join("; "),
            })?);
        }
    }
    Ok(manifests)
}

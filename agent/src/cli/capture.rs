//! `piccolo capture`: what runs and is not Piccolo's, as manifests.

use std::path::PathBuf;

use serde::Deserialize;

use super::{client::Client, failure::Failure, output::Format, screen::Screen, written::Place};
use crate::foreign::{Report, Row, Written};

/// Writes manifests of everything that runs and is not Piccolo's, with a report on every key. Nothing is changed on the
/// machine. Exits with 7 when something is in no manifest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo capture\n  piccolo capture --out ./captured")]
pub(super) struct Args {
    /// Writes the manifests below this directory; prints them when left out.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Writes over manifests that are there.
    #[arg(long, requires = "out")]
    force: bool,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Deserialize)]
struct Answer {
    items: Vec<Written>,
    report: Vec<Row>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let answer = client.get("/capture").await?;
    let garbled = |error: serde_json::Error| Failure::Garbled { host: client.host(), cause: error.to_string() };
    let Answer { items, report } = serde_json::from_value(answer).map_err(garbled)?;
    Place { dir: args.out.as_deref(), force: args.force, form: args.output }.show(
        &items,
        &Report { rows: report },
        screen,
    )
}

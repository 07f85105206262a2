//! `piccolo logs`: what a container prints.

use jiff::Timestamp;
use piccolo_schema::Kind;

use super::{client::Client, failure::Failure, screen::Screen, subject};
use crate::clock;

/// Shows what a container prints.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo logs web --tail 20\n  piccolo logs -f web --since 10m")]
pub(super) struct Args {
    /// The name of the container.
    name: String,
    /// Goes on with what it prints from now on, over restarts and replacements, until its manifest goes.
    #[arg(short, long)]
    follow: bool,
    /// Only that many of the last lines.
    #[arg(long)]
    tail: Option<u32>,
    /// Nothing older: a duration like `10m`, or a time like `2026-03-01T12:00:00Z`.
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Nothing newer, in the same forms.
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
    /// Puts its time before each line.
    #[arg(short, long)]
    timestamps: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    clock::moment(text, clock::now())
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let name = args.name.strip_prefix("container/").unwrap_or(&args.name);
    let manifest = subject::path(Kind::Container, name);
    let mut printed = client.follow(&format!("{manifest}/log?{}", query(args)), &[]).await?;
    while let Some(bytes) = printed.chunk().await? {
        screen.data(&bytes)?;
    }
    if !args.follow {
        return Ok(());
    }
    // Nobody asked for an end: the manifest has gone, or the daemon has, which is told.
    match client.get(&manifest).await {
        Err(Failure::Refused(problem)) if problem["status"] == 404 => Ok(()),
        asked => asked.map(drop),
    }
}

fn query(args: &Args) -> String {
    let mut query = format!("follow={}&timestamps={}", args.follow, args.timestamps);
    let bounds = [
        ("tail", args.tail.map(|tail| tail.to_string())),
        ("since", args.since.map(|since| since.to_string())),
        ("until", args.until.map(|until| until.to_string())),
    ];
    for (key, value) in bounds {
        query.extend(value.map(|value| format!("&{key}={}", subject::escape(&value))));
    }
    query
}

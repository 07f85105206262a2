//! `piccolo logs`: what a container prints.

use piccolo_schema::Kind;

use super::{client::Client, failure::Failure, screen::Screen, subject};

/// Shows what a container prints.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo logs web --tail 20\n  piccolo logs -f web")]
pub(super) struct Args {
    /// The name of the container.
    name: String,
    /// Goes on with what it prints from now on.
    #[arg(short, long)]
    follow: bool,
    /// Only that many of the last lines.
    #[arg(long)]
    tail: Option<u32>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let name = args.name.strip_prefix("container/").unwrap_or(&args.name);
    let tail = args.tail.map(|tail| format!("&tail={tail}")).unwrap_or_default();
    let path = format!("{}/log?follow={}{tail}", subject::path(Kind::Container, name), args.follow);
    let mut printed = client.follow(&path, &[]).await?;
    while let Some(bytes) = printed.chunk().await? {
        screen.data(&bytes)?;
    }
    Ok(())
}

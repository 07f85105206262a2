//! `piccolo history` and `piccolo diff`: what the manifests said before.

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;

use super::{
    client::Client, failure::Failure, output, output::Format, screen::Screen, screen::Tone, subject, table::Table,
};

/// How much of a revision's name is enough for people.
const SHORT: usize = 10;

/// Shows who changed which manifests, and when; the newest change first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo history\n  piccolo history -n 100 -o json")]
pub(super) struct Args {
    /// How many at most.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Shows what changed in the manifests from one revision to another.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo diff main~1\n  piccolo diff 4f2c01d 9be6a70")]
pub(super) struct DiffArgs {
    /// The revision before.
    from: String,
    /// The revision after; the latest when left out.
    to: Option<String>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let page = client.get(&format!("/history?limit={}", args.limit)).await?;
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    if args.output == Format::Name {
        return items.iter().try_for_each(|item| screen.line(text(item, "revision")));
    }
    if output::document(screen, args.output, &page)? {
        return Ok(());
    }
    let mut table = Table::new(["revision", "age", "author", "change"]);
    for item in items {
        let revision = text(item, "revision").chars().take(SHORT).collect();
        table.row([revision, output::age(&text(item, "time")), text(item, "author"), text(item, "message")]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

pub(super) async fn diff(args: &DiffArgs, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let to = args.to.as_deref().unwrap_or("main");
    let path = format!("/history/diff?from={}&to={}", subject::escape(&args.from), subject::escape(to));
    let answer = client.send(Method::GET, &path, &[], Bytes::new()).await?;
    for line in String::from_utf8_lossy(&answer.body).lines() {
        screen.line(match line.as_bytes().first() {
            Some(b'+') => screen.paint(Tone::Good, line),
            Some(b'-') => screen.paint(Tone::Danger, line),
            _ => line.to_owned(),
        })?;
    }
    Ok(())
}

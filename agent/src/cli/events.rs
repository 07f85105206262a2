//! `piccolo events`: the journal.

use serde_json::Value;

use super::{
    client::Client, failure::Failure, output, output::Format, screen::Screen, screen::Tone, subject, table::Table,
};

/// Shows what happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo events container/web\n  piccolo events -f")]
pub(super) struct Args {
    /// Only of this one: `KIND/NAME`.
    what: Option<String>,
    /// Goes on with what happens from now on.
    #[arg(short, long)]
    follow: bool,
    /// How many at most.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u16,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let mut path = format!("/journal?limit={}", args.limit);
    if let Some(what) = &args.what {
        let (kind, name) = subject::subject(std::slice::from_ref(what))?;
        path.push_str(&format!("&kind={kind}&name={}", subject::escape(&name)));
    }
    if args.follow {
        return follow(args, client, screen, &path).await;
    }
    let page = client.get(&path).await?;
    if output::document(screen, args.output, &page)? {
        return Ok(());
    }
    table(page["items"].as_array().map(Vec::as_slice).unwrap_or_default(), screen)
}

/// Prints events as a table.
pub(super) fn table(events: &[Value], screen: &Screen) -> Result<(), Failure> {
    let mut table = Table::new(["age", "about", "reason", "message"]);
    for event in events {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        table.row([output::age(&text("time")), about(event), text("reason"), text("message")]);
    }
    table.lines(screen.width()).iter().try_for_each(|line| screen.line(line))
}

async fn follow(args: &Args, client: &Client, screen: &Screen, path: &str) -> Result<(), Failure> {
    let mut events = client.follow(&format!("{path}&follow=true"), &[]).await?;
    while let Some(event) = events.document().await? {
        match args.output {
            Format::Table | Format::Wide => screen.line(line(&event, screen))?,
            Format::Json => screen.line(event.to_string())?,
            Format::Yaml => screen.data(format!("---\n{}", output::yaml(&event)?).as_bytes())?,
            Format::Name => screen.line(about(&event))?,
        }
    }
    Ok(())
}

/// Lines that are still to come have no common width, so the time goes first and the words last.
fn line(event: &Value, screen: &Screen) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let line = format!("{}  {}  {}  {}", text("time"), about(event), text("reason"), text("message"));
    if event["severity"] == "warning" { screen.paint(Tone::Warning, &line) } else { line }
}

fn about(event: &Value) -> String {
    match (event["kind"].as_str(), event["name"].as_str()) {
        (Some(kind), Some(name)) => format!("{}/{name}", kind.to_lowercase()),
        _ => "machine".to_owned(),
    }
}

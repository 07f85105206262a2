//! `piccolo describe`: everything about one manifest.

use serde_json::Value;

use super::{
    client::Client, events, failure::Failure, output, plan, screen::Screen, screen::Tone, subject, table::Table,
};

/// Shows everything about one manifest: what is asked, how it stands, what is planned and what happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo describe container web\n  piccolo describe ct/web")]
pub(super) struct Args {
    /// `KIND NAME` or `KIND/NAME`.
    #[arg(required = true)]
    what: Vec<String>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (kind, name) = subject::subject(&args.what)?;
    let mut object = client.get(&subject::path(kind, &name)).await?;
    let document = client.get("/plan").await?;
    let path = format!("/journal?limit=20&kind={kind}&name={}", subject::escape(&name));
    let journal = client.get(&path).await?;
    let metadata = &object["metadata"];
    let created = output::age(metadata["creationTimestamp"].as_str().unwrap_or_default());
    screen.line(format!("{kind} {name}, generation {}, declared {created} ago", metadata["generation"]))?;
    for key in ["labels", "annotations"] {
        section(screen, key, &metadata[key])?;
    }
    section(screen, "spec", &object["spec"])?;
    let conditions = object["status"]["conditions"].take();
    if let Some(status) = object["status"].as_object_mut() {
        status.remove("conditions");
    }
    section(screen, "status", &object["status"])?;
    self::conditions(screen, &conditions)?;
    screen.line(screen.paint(Tone::Title, "plan"))?;
    let plans: Vec<_> = plan::read(&document)?.into_iter().filter(|plan| plan.kind == kind).collect();
    plan::show(&plans, screen, |_, subject| subject == name)?;
    screen.line(screen.paint(Tone::Title, "events"))?;
    events::table(journal["items"].as_array().map(Vec::as_slice).unwrap_or_default(), screen)
}

fn section(screen: &Screen, title: &str, value: &Value) -> Result<(), Failure> {
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(());
    }
    screen.line(screen.paint(Tone::Title, title))?;
    output::yaml(value)?.lines().try_for_each(|line| screen.line(format!("  {line}")))
}

fn conditions(screen: &Screen, conditions: &Value) -> Result<(), Failure> {
    let mut table = Table::new(["condition", "status", "reason", "since", "message"]);
    for it in conditions.as_array().into_iter().flatten() {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        let since = output::age(&text("lastTransitionTime"));
        table.row([text("type"), text("status"), text("reason"), since, text("message")]);
    }
    table.lines(None).iter().try_for_each(|line| screen.line(line))
}

//! `piccolo status`: how everything stands, on one screen.

use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    plan,
    screen::{Screen, Tone},
    subject,
    table::Table,
};
use crate::store::PlanView;

/// Shows how everything stands, on one screen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo status\n  piccolo status -o json")]
pub(super) struct Args {
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let readiness = client.ask("/readyz?verbose").await?;
    let version = client.get("/version").await?;
    let document = client.get("/plan").await?;
    let plans = plan::read(&document)?;
    let kinds = kinds(client, &plans).await?;
    let text = String::from_utf8_lossy(&readiness.body).into_owned();
    let parts: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
    let ready = readiness.status.is_success();
    let summary = json!({
        "host": client.host(), "version": version["piccoloVersion"], "mode": version["mode"], "ready": ready, "parts": parts, "kinds": kinds,
        "plans": document["plans"], "problems": document["problems"],
    });
    if output::document(screen, args.output, &summary)? {
        return Ok(());
    }
    let word = if ready { screen.paint(Tone::Good, "ready") } else { screen.paint(Tone::Danger, "not ready") };
    let running = version["piccoloVersion"].as_str().unwrap_or("?");
    let mode = if version["mode"] == "observe" { ", only observed: nothing is changed" } else { "" };
    screen.line(format!("piccolod {running} at {}: {word}{mode}", client.host()))?;
    parts.iter().filter(|part| part.starts_with("[-]")).try_for_each(|part| screen.line(format!("  {part}")))?;
    screen.line("")?;
    table(&kinds).lines(screen.width()).iter().try_for_each(|line| screen.line(line))?;
    attention(&document, &plans, screen)
}

async fn kinds(client: &Client, plans: &[PlanView]) -> Result<Vec<Value>, Failure> {
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        let list = client.get(&subject::list_path(*kind)).await?;
        let objects = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let plan = plans.iter().find(|plan| plan.kind == *kind);
        kinds.push(json!({
            "kind": kind, "declared": objects.len(), "ready": objects.iter().filter(|it| is_ready(it)).count(),
            "changes": plan.map_or(0, |plan| plan.steps.len()), "waiting": plan.map_or(0, |plan| plan.waiting.len()),
        }));
    }
    Ok(kinds)
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn table(kinds: &[Value]) -> Table {
    let columns = ["declared", "ready", "changes", "waiting"];
    let mut table = Table::new(["kind"].into_iter().chain(columns));
    for kind in kinds {
        let name = kind["kind"].as_str().unwrap_or_default().to_owned();
        table.row([name].into_iter().chain(columns.iter().map(|column| kind[column].to_string())));
    }
    table
}

/// Prints what a person should look at: files, what waits, what is held.
fn attention(document: &Value, plans: &[PlanView], screen: &Screen) -> Result<(), Failure> {
    let calm = plans.iter().all(|plan| plan.waiting.is_empty() && plan.held.is_none());
    if calm && document["problems"].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    screen.line("")?;
    plan::problems(document, screen)?;
    for plan in plans {
        for it in &plan.waiting {
            let text = format!("… {} {}: {} ({})", plan.kind.singular(), it.subject, it.message, it.reason);
            screen.line(screen.paint(Tone::Warning, &text))?;
        }
        plan::held(plan, screen)?;
    }
    Ok(())
}

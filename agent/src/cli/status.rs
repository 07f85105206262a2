//! `piccolo status`: how everything stands, on one screen.

use piccolo_schema::{Kind, Progress};
use serde_json::{Value, json};

use super::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    plan, progress, reset,
    screen::{Screen, Tone},
    subject,
    table::Table,
    trial,
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
    let objects = objects(client).await?;
    let kinds = kinds(&objects, &plans);
    let text = String::from_utf8_lossy(&readiness.body).into_owned();
    let parts: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
    let (ready, coming) = (readiness.status.is_success(), coming(&objects));
    let summary = json!({
        "host": client.host(), "version": version["piccoloVersion"], "mode": version["mode"], "ready": ready, "settled": is_settled(&kinds, &plans), "parts": parts, "kinds": kinds,
        "plans": document["plans"], "problems": document["problems"], "trial": document["trial"], "reset": document["reset"], "state": document["state"], "coming": listed(&coming),
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
    if is_settled(&kinds, &plans) {
        screen.line("\nSettled: nothing is left to do, and every manifest is ready in its latest generation.")?;
    }
    if !coming.is_empty() {
        screen.line("")?;
        let line = |(kind, name, it): &(Kind, _, _)| format!("↓ {} {name}: {}", kind.singular(), progress::words(it));
        coming.iter().try_for_each(|it| screen.line(line(it)))?;
    }
    attention(&document, &plans, screen)?;
    keys(&document, screen)?;
    reset::pending(&document, screen)?;
    trial::pending(&document, screen)
}

/// Reads all objects, by kind.
async fn objects(client: &Client) -> Result<Vec<(Kind, Vec<Value>)>, Failure> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let mut list = client.get(&subject::list_path(*kind)).await?;
        all.push((*kind, list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()));
    }
    Ok(all)
}

fn kinds(objects: &[(Kind, Vec<Value>)], plans: &[PlanView]) -> Vec<Value> {
    let summary = |(kind, objects): &(Kind, Vec<Value>)| {
        let plan = plans.iter().find(|plan| plan.kind == *kind);
        json!({
            "kind": kind, "declared": objects.len(), "ready": objects.iter().filter(|it| is_ready(it)).count(),
            "changes": plan.map_or(0, |plan| plan.steps.len()), "waiting": plan.map_or(0, |plan| plan.waiting.len()),
        })
    };
    objects.iter().map(summary).collect()
}

/// Returns what is on its way.
fn coming<'a>(objects: &'a [(Kind, Vec<Value>)]) -> Vec<(Kind, &'a str, Progress)> {
    let of = |kind: Kind, object: &'a Value| Some((kind, object["metadata"]["name"].as_str()?, progress::of(object)?));
    objects.iter().flat_map(|(kind, objects)| objects.iter().filter_map(|it| of(*kind, it))).collect()
}

fn listed(coming: &[(Kind, &str, Progress)]) -> Value {
    coming.iter().map(|(kind, name, it)| json!({ "kind": kind, "name": name, "progress": it })).collect()
}

/// Returns true if it does what its latest generation asks.
fn is_ready(object: &Value) -> bool {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|it| {
        let observed = it["observedGeneration"].as_i64().or_else(|| status["observedGeneration"].as_i64());
        let is_latest = observed.is_none_or(|it| Some(it) == object["metadata"]["generation"].as_i64());
        it["type"] == "Ready" && it["status"] == "True" && is_latest
    })
}

/// Returns true if nothing is left to do and every manifest does what its latest generation asks.
fn is_settled(kinds: &[Value], plans: &[PlanView]) -> bool {
    let nothing_left = |plan: &PlanView| {
        plan.steps.is_empty() && plan.waiting.is_empty() && plan.held.is_none() && plan.unseen.is_none()
    };
    plans.len() == Kind::ALL.len()
        && plans.iter().all(nothing_left)
        && kinds.iter().all(|it| it["declared"] == it["ready"])
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

/// Prints what is to be done about the keys of the system's own disk.
fn keys(document: &Value, screen: &Screen) -> Result<(), Failure> {
    for it in document["state"].as_array().into_iter().flatten() {
        let text = |key: &str| it[key].as_str().unwrap_or_default();
        let line = format!("! {} ({})", text("message"), text("type"));
        screen.line(screen.paint(Tone::Warning, &line))?;
    }
    Ok(())
}

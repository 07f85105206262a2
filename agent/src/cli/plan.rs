//! `piccolo plan`: what would be changed, danger first.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{client::Client, failure::Failure, output, output::Format, screen::Screen, screen::Tone, trial};
use crate::store::{PlanView, StepView};

/// Exit code when there is something to change.
const HAS_CHANGES: u8 = 10;
/// The exit code when nobody knows what is to be done.
const UNSEEN: u8 = 1;

/// Shows what would be changed. Exits with 10 when there is something, with 0 when not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo plan\n  piccolo plan -o json")]
pub(super) struct Args {
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<u8, Failure> {
    let document = client.get("/plan").await?;
    let plans = read(&document)?;
    if !output::document(screen, args.output, &document)? {
        show(&plans, screen, |_, _| true)?;
        problems(&document, screen)?;
        trial::pending(&document, screen)?;
    }
    if plans.iter().any(|plan| plan.unseen.is_some()) {
        return Ok(UNSEEN);
    }
    let has_changes = plans.iter().any(|plan| !plan.steps.is_empty() || plan.held.is_some());
    Ok(if has_changes { HAS_CHANGES } else { 0 })
}

/// Reads the plans of a document.
pub(super) fn read(document: &Value) -> Result<Vec<PlanView>, Failure> {
    let garbled =
        |error: serde_json::Error| Failure::Garbled { host: "the daemon".to_owned(), cause: error.to_string() };
    serde_json::from_value(document["plans"].clone()).map_err(garbled)
}

/// Prints the steps that are wanted, then what waits and what is held.
pub(super) fn show(
    plans: &[PlanView],
    screen: &Screen,
    wanted: impl Fn(&PlanView, &str) -> bool,
) -> Result<(), Failure> {
    let steps = plans.iter().flat_map(|plan| plan.steps.iter().map(move |step| (plan, step)));
    let mut steps: Vec<_> = steps.filter(|(plan, step)| wanted(plan, &step.subject)).collect();
    // The most dangerous subject first; the steps of one stay in the order in which they are done.
    let mut worst = BTreeMap::new();
    for (plan, step) in &steps {
        let entry = worst.entry((plan.kind, step.subject.as_str())).or_insert_with(|| danger(step));
        *entry = danger(step).min(*entry);
    }
    steps.sort_by_key(|(plan, step)| worst.get(&(plan.kind, step.subject.as_str())).copied());
    for (_, step) in &steps {
        screen.line(line(step, screen))?;
    }
    let mut waits = 0;
    for plan in plans {
        for it in plan.waiting.iter().filter(|it| wanted(plan, &it.subject)) {
            waits += 1;
            let text = format!("… {} {}: {} ({})", plan.kind.singular(), it.subject, it.message, it.reason);
            screen.line(screen.paint(Tone::Warning, &text))?;
        }
        held(plan, screen)?;
        if let Some(why) = &plan.unseen {
            let text = format!("? {}: nobody knows what is to be done: {why}", plan.kind.plural());
            screen.line(screen.paint(Tone::Warning, &text))?;
        }
    }
    let is_known = plans.iter().all(|plan| plan.unseen.is_none());
    screen.line(match (steps.len(), waits) {
        (0, 0) if is_known => "Nothing to change.".to_owned(),
        (0, 0) => return Ok(()),
        (steps, 0) => format!("{steps} change(s)."),
        (steps, waits) => format!("{steps} change(s), {waits} waiting."),
    })
}

/// Prints removals that are held, and how to confirm them.
pub(super) fn held(plan: &PlanView, screen: &Screen) -> Result<(), Failure> {
    let Some(held) = &plan.held else { return Ok(()) };
    let text = format!("! held: the removal of {} {}: {}", held.names.len(), plan.kind.plural(), held.names.join(", "));
    screen.line(screen.paint(Tone::Danger, &text))?;
    screen.line(format!("  if that is meant: piccolo confirm {}", held.id))
}

/// Prints the files that can't be used, with the places of their mistakes.
pub(super) fn problems(document: &Value, screen: &Screen) -> Result<(), Failure> {
    for problem in document["problems"].as_array().into_iter().flatten() {
        let path = problem["path"].as_str().unwrap_or_default();
        let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        if errors.is_empty() {
            let message = problem["message"].as_str().unwrap_or_default();
            screen.line(screen.paint(Tone::Warning, &format!("! {path}: {message}")))?;
        }
        for error in errors {
            let text = |key: &str| error[key].as_str().unwrap_or_default();
            let place = format!("{path}:{}:{}", error["line"], error["column"]);
            let words = format!("! {place}: {} ({})", text("reason"), text("code"));
            screen.line(screen.paint(Tone::Warning, &words))?;
        }
    }
    Ok(())
}

fn line(step: &StepView, screen: &Screen) -> String {
    let (sign, tone) = match danger(step) {
        Danger::Erases | Danger::Removes => ("-", Some(Tone::Danger)),
        Danger::Disrupts => ("~", Some(Tone::Warning)),
        Danger::None if step.text.starts_with("create") => ("+", Some(Tone::Good)),
        Danger::None => ("~", None),
    };
    let cost = Some(step.disruption.clone()).filter(|it| it != "none");
    let loss = step.loses.as_ref().map(|what| format!("can't be undone: loses {what}"));
    let costs: Vec<_> = cost.into_iter().chain(loss).collect();
    let cost = if costs.is_empty() { String::new() } else { format!("  [{}]", costs.join("; ")) };
    let mode = if step.observed { "  (only observed: not done)" } else { "" };
    let text = format!("{sign} {}{cost}{mode}", step.text);
    tone.map_or_else(|| text.clone(), |tone| screen.paint(tone, &text))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Danger {
    Erases,
    Removes,
    Disrupts,
    None,
}

fn danger(step: &StepView) -> Danger {
    match step.disruption.as_str() {
        erases if erases.starts_with("erases") => Danger::Erases,
        _ if step.removal => Danger::Removes,
        "none" if step.loses.is_none() => Danger::None,
        _ => Danger::Disrupts,
    }
}

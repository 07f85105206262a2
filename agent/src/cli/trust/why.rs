//! What changed in how the machine starts.

use serde_json::Value;

use crate::cli::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    screen::Screen,
};

/// Says what changed in how the machine starts since the last start that was good.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let why = client.get("/trust/why").await?;
    if output::document(screen, args.output, &why)? {
        return Ok(());
    }
    show(&why, screen)?;
    if why["causes"].as_array().into_iter().flatten().any(|it| it["shuts"] == true) {
        screen.note("keys are bound to that: if it is to be so, `piccolo trust reseal` binds those of the machine to this start, and \
             `piccolo disk reseal` those of a disk");
    }
    Ok(())
}

/// Tells what changed.
pub(super) fn show(why: &Value, screen: &Screen) -> Result<(), Failure> {
    screen.line(text(&why["message"]))?;
    why["causes"].as_array().into_iter().flatten().try_for_each(|cause| told(cause, screen))
}

/// Tells of one change.
fn told(cause: &Value, screen: &Screen) -> Result<(), Failure> {
    let bound = if cause["shuts"] == true { ", which keys are bound to" } else { "" };
    screen.line(format!("register {}{bound}: {}", cause["pcr"], words(text(&cause["part"]).as_str())))?;
    for (sign, key) in [('-', "before"), ('+', "after")] {
        for line in cause[key].as_array().into_iter().flatten() {
            screen.line(format!("  {sign} {}", text(line)))?;
        }
    }
    match cause["explained"].as_str() {
        Some(reason) => screen.line(format!("  {}", clean(reason))),
        None => Ok(()),
    }
}

/// Says what a part is, as the daemon names it.
fn words(part: &str) -> String {
    let known: Option<crate::trust::Part> = serde_json::from_value(Value::from(part)).ok();
    known.map_or_else(|| part.to_owned(), |part| part.to_string())
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

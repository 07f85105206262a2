//! `piccolo confirm`: consent to a change on trial, and to removals that are held.

use hyper::{Method, header};
use serde_json::json;

use super::{client::Client, failure::Failure, screen::Screen};

/// Confirms a change on trial, or removals that are held because they are many.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo status\n  piccolo confirm 4f2a9c\n  piccolo confirm change-1d20c7")]
pub(super) struct Args {
    /// What `piccolo status` names beside the change or the held removals.
    id: String,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let body = json!({ "id": args.id }).to_string();
    let answer = client.send(Method::POST, "/confirm", &[(header::CONTENT_TYPE, "application/json")], body).await?;
    let done = client.json(&answer)?;
    if let Some(id) = done["change"].as_str() {
        return screen.line(format!("{id} stays"));
    }
    let kind = done["kind"].as_str().unwrap_or_default().to_lowercase();
    for name in done["confirmed"].as_array().into_iter().flatten().filter_map(|name| name.as_str()) {
        screen.line(format!("{kind}/{name} may be removed"))?;
    }
    Ok(())
}

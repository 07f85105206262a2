//! Consent: to removals that are held because they are many, and to a change on trial.

use axum::{Json, http::StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{State, authored::Authored, body, fault::Fault, params::Params, trial};
use crate::manifests::CHANGE;

/// Confirms just what this identifier names. With `dryRun` it says what that is, and confirms nothing.
pub(super) async fn confirm(Authored(state): Authored, params: Params, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let Some(id) = request["id"].as_str() else {
        let fault = Fault::bad_request("a confirmation is `{ \"id\": \"…\" }`");
        return Err(fault.help("see `held` and `trial` in /plan"));
    };
    let dry_run = params.dry_run()?;
    if id.starts_with(CHANGE) { change(&state, id, dry_run).await } else { removals(&state, id, dry_run).await }
}

/// Lets a change stay.
async fn change(state: &State, id: &str, dry_run: bool) -> Result<Json<Value>, Fault> {
    let Some(pending) = state.manifests.trial().filter(|trial| trial.id == id) else {
        let detail = format!("no change `{id}` is on trial");
        return Err(Fault::new(StatusCode::NOT_FOUND, "NotFound", detail)
            .help("it was confirmed or put back before; see `piccolo history`"));
    };
    if !dry_run {
        state.manifests.confirm(id).await?;
    }
    Ok(Json(json!({ "change": id, "files": trial::show(&pending)["files"] })))
}

async fn removals(state: &State, id: &str, dry_run: bool) -> Result<Json<Value>, Fault> {
    let plans = state.store.plans();
    let held: Vec<_> = plans.iter().filter_map(|(kind, plan)| Some((*kind, plan.held.as_ref()?))).collect();
    let Some((kind, held)) = held.iter().find(|(_, held)| held.id == id) else {
        let ids: Vec<_> = held.iter().map(|(_, held)| held.id.as_str()).collect();
        let fault = Fault::new(StatusCode::NOT_FOUND, "NotFound", format!("nothing is held under `{id}`"));
        return Err(match ids.is_empty() {
            true => fault.help("nothing is held at present"),
            false => fault.help(format!("held are: {}", ids.join(", "))),
        });
    };
    if !dry_run {
        state.manifests.consent(held.names.iter().map(|name| (*kind, name.clone())).collect()).await;
    }
    Ok(Json(json!({ "kind": kind, "confirmed": held.names })))
}

//! Consent to removals that are held because they are many.

use axum::{Json, extract::State as Extract, http::StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{State, body, fault::Fault};

/// Confirms just the removals that this identifier names.
pub(super) async fn confirm(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let Some(id) = request["id"].as_str() else {
        return Err(Fault::bad_request("a confirmation is `{ \"id\": \"…\" }`").help("see `held` in /plan"));
    };
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
    state.manifests.consent(held.names.iter().map(|name| (*kind, name.clone())).collect()).await;
    Ok(Json(json!({ "kind": kind, "confirmed": held.names })))
}

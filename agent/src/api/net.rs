//! Links of the machine, and a change of them that waits to be confirmed.

use axum::{Json, extract::State as Extract, http::StatusCode};
use serde_json::{Value, json};

use super::{State, fault::Fault};

/// Shows links, addresses, routes and name servers, and which manifest each is from.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.nets.show().await.map(Json).map_err(unable)
}

/// Lets a change of links stay. That this request came is the proof that the machine is reached.
pub(super) async fn confirm(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.nets.confirm().await.map(|()| Json(json!({ "confirmed": true }))).map_err(unable)
}

/// Has a change that was put back be tried again.
pub(super) async fn retry(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.nets.retry().await.map(|()| Json(json!({ "retried": true }))).map_err(unable)
}

fn unable(sentence: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "NotPossible", sentence)
}

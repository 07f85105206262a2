//! Whom to encrypt for.

use axum::{Json, extract::State as Extract};
use serde_json::{Value, json};

use super::State;

/// Answers with the public half of the machine's key. What is encrypted for it, only this machine can read.
pub(super) async fn show(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({ "recipient": &*state.recipient }))
}

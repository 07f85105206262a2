//! Whom to encrypt for.

use axum::{Json, extract::State as Extract, http::StatusCode};
use serde_json::{Value, json};

use super::{State, fault::Fault};

/// Answers with the public half of the machine's key. What is encrypted for it, only this machine can read.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let unusable = || {
        let detail = "this machine has no key that can be used, so nothing can be encrypted for it";
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "KeyUnusable", detail)
            .help("see `piccolo status`, and mend the key file")
    };
    let recipient = state.recipient.as_deref().ok_or_else(unusable)?;
    Ok(Json(json!({ "recipient": recipient })))
}

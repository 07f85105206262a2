//! Consent to an update, bound to one digest.

use axum::{Json, extract::State as Extract};
use bytes::Bytes;
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{State, body, fault::Fault};

/// Approves the update of a container to the digest that a person has seen.
pub(super) async fn approve(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let (Some(container), Some(digest)) = (request["container"].as_str(), request["digest"].as_str()) else {
        let fault = Fault::bad_request("an approval is `{ \"container\": \"…\", \"digest\": \"sha256:…\" }`");
        return Err(fault.help("see `updateAvailable` in the status of the container"));
    };
    let snapshot = state.manifests.snapshot();
    if !snapshot.declared.contains_key(&(Kind::Container, container.to_owned())) {
        return Err(Fault::not_found(Kind::Container, container));
    }
    state.updates.approve(container, digest).await.map_err(Fault::conflict)?;
    Ok(Json(json!({ "container": container, "approved": digest })))
}

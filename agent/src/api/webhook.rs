//! Word that a repository has something new, as forges send it.

use axum::{
    Json,
    extract::{Path, State as Extract},
    http::StatusCode,
};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{State, fault::Fault};

/// Has a repository asked. What the request says counts for nothing: the repository itself tells what it has, and is asked
/// only so often, however many words come.
pub(super) async fn hear(
    Extract(state): Extract<State>,
    Path(source): Path<String>,
) -> Result<(StatusCode, Json<Value>), Fault> {
    if state.sources.wake(&source) {
        Ok((StatusCode::ACCEPTED, Json(json!({ "source": source }))))
    } else {
        Err(Fault::not_found(Kind::ConfigSource, &source))
    }
}

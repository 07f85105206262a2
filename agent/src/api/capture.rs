//! What others run, as manifests.

use axum::{Json, extract::State as Extract, http::StatusCode};
use serde_json::{Value, json};

use super::{State, fault::Fault};

/// Answers with manifests of everything that runs and is not ours, and what became of each key. Changes nothing.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let unavailable = |why: String| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "EngineUnavailable", why);
    let capture = state.strangers.capture().await.map_err(unavailable)?;
    let (items, report) = (capture.manifests, capture.report);
    Ok(Json(json!({ "items": items, "report": report.rows, "lossy": report.is_lossy() })))
}

//! The history of the manifests.

use axum::{
    Json,
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use piccolo_schema::API_VERSION;
use serde_json::{Value, json};

use super::{State, authored::Authored, body, fault::Fault, params::Params, plan};
use crate::history::HistoryError;

/// How many revisions are told when nobody says how many.
const FEW: u32 = 20;
/// The most revisions that are told.
const MOST: u32 = 1000;

/// Answers with the latest revisions.
pub(super) async fn log(Extract(state): Extract<State>, params: Params) -> Result<Json<Value>, Fault> {
    let limit = params.number("limit")?.unwrap_or(FEW).min(MOST);
    let items = state.history.log(limit).await?;
    Ok(Json(json!({ "apiVersion": API_VERSION, "kind": "RevisionList", "items": items })))
}

/// Answers with what changed between two revisions.
pub(super) async fn diff(Extract(state): Extract<State>, params: Params) -> Result<Response, Fault> {
    let Some(from) = params.text("from") else {
        return Err(Fault::bad_request("`from` is missing").help("see /history for revisions"));
    };
    let diff = state.history.diff(from, params.text("to").unwrap_or("main")).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], diff).into_response())
}

/// Writes what a revision held, as a new change, or with `dryRun` says what that would do.
pub(super) async fn rollback(Authored(state): Authored, params: Params, bytes: Bytes) -> Result<Response, Fault> {
    let request = body::json(&bytes)?;
    let Some(revision) = request["revision"].as_str() else {
        return Err(Fault::bad_request("a rollback is `{ \"revision\": \"…\" }`").help("see /history for revisions"));
    };
    let (revision, texts) = state.history.texts(revision).await?;
    let base = state.manifests.snapshot();
    let wanted = base.replaced(&texts)?;
    if params.dry_run()? {
        return Ok(plan::preview(&state, &wanted));
    }
    state.manifests.replace(texts, base).await?;
    Ok(Json(json!({ "revision": revision, "manifests": wanted.declared.len() })).into_response())
}

impl From<HistoryError> for Fault {
    fn from(error: HistoryError) -> Self {
        let detail = error.to_string();
        match error {
            HistoryError::NoSuch(_) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", detail).help("see `piccolo history`")
            }
            HistoryError::Git(_) | HistoryError::Garbled(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", detail)
            }
        }
    }
}

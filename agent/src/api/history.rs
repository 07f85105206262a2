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

use super::{State, authored::Authored, body, digests, fault::Fault, params::Params, plan, trial};
use crate::{history::HistoryError, manifests::CHANGE};

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

/// Writes what a revision held, as a new change, or with `dryRun` says what that would do. A change on trial is put back.
pub(super) async fn rollback(Authored(state): Authored, params: Params, bytes: Bytes) -> Result<Response, Fault> {
    let request = body::json(&bytes)?;
    let Some(revision) = request["revision"].as_str() else {
        return Err(Fault::bad_request("a rollback is `{ \"revision\": \"…\" }`").help("see /history for revisions"));
    };
    let (dry_run, within) = (params.dry_run()?, params.confirm_within()?);
    if revision.starts_with(CHANGE) {
        if dry_run || within.is_some() {
            return Err(Fault::bad_request("a change on trial is put back at once and for good"));
        }
        state.manifests.put_back(revision).await?;
        return Ok(Json(json!({ "putBack": revision })).into_response());
    }
    let (revision, texts) = state.history.texts(revision).await?;
    let then = state.history.digests(&revision).await?;
    let base = state.manifests.snapshot();
    let wanted = base.replaced(&texts)?;
    let mut returns = digests::returns(&state, &wanted, &then, within.is_some());
    if dry_run {
        let mut plan = plan::document(&state.preview.plan(&wanted), &wanted);
        plan["digests"] = digests::show(&returns);
        return Ok(Json(plan).into_response());
    }
    let links = trial::links(&state, &wanted);
    trial::writer(&state, within).replace(texts, base).await?;
    // After the manifests: until they are in force, it would be said of other images.
    digests::take_down(&state, &mut returns).await;
    let manifests = wanted.declared.len();
    let answer = Json(json!({ "revision": revision, "manifests": manifests, "digests": digests::show(&returns) }));
    Ok(trial::with_links(trial::named(answer.into_response(), &state, within), &links))
}

impl From<HistoryError> for Fault {
    fn from(error: HistoryError) -> Self {
        let detail = error.to_string();
        match error {
            HistoryError::NoSuch(_) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", detail).help("see `piccolo history`")
            }
            HistoryError::Git(_)
            | HistoryError::Garbled(_)
            | HistoryError::Behind
            | HistoryError::Stopping
            | HistoryError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", detail),
        }
    }
}

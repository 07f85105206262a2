//! Tokens: made, listed and taken back.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State as Extract},
    http::HeaderMap,
    response::Response,
};
use bytes::Bytes;
use piccolo_schema::{API_VERSION, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{State, body, claim, fault::Fault};
use crate::{
    access::{Caller, Scope, Token, Wish},
    clock,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a new token shall be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    label: String,
    role: Role,
    #[serde(default)]
    scope: Scope,
    /// How many days it holds; for ever when null.
    #[serde(default = "usual")]
    days: Option<u32>,
}

/// Tells a client who it is here.
pub(super) async fn whoami(Extension(caller): Extension<Caller>) -> Json<Value> {
    Json(json!({ "name": &*caller.name, "role": caller.role, "scope": caller.scope }))
}

pub(super) async fn list(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({ "apiVersion": API_VERSION, "kind": "TokenList", "items": state.access.list() }))
}

pub(super) async fn create(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let Asked { label, role, scope, days } = body::parsed(&headers, &bytes)?;
    if days == Some(0) {
        return Err(Fault::bad_request("a token holds for a day at least"));
    }
    let wish = Wish { label, role, scope, lifetime: days.map(|days| DAY * days) };
    let access = Arc::clone(&state.access);
    let made = spawn_blocking(move || access.mint(&wish, clock::now())).await.map_err(|_| Fault::stopping())??;
    Ok(claim::told(&made.0, &made.1))
}

/// Takes a token back. What goes on in its name ends with it.
pub(super) async fn revoke(Extract(state): Extract<State>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    let access = Arc::clone(&state.access);
    let gone = spawn_blocking(move || access.revoke(Token::id_in(&id))).await.map_err(|_| Fault::stopping())??;
    Ok(Json(json!({ "revoked": gone })))
}

#[allow(clippy::unnecessary_wraps, reason = "null is for ever")]
const fn usual() -> Option<u32> {
    Some(90)
}

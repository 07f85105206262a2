//! Users: made, listed, changed and removed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State as Extract},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use piccolo_schema::{API_VERSION, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{State, audit::Told, body, fault::Fault};
use crate::{
    access::{Access, AccessError, User},
    clock,
};

/// What a new user shall be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    role: Role,
    password: Zeroizing<String>,
}

/// What of a user shall be another.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    role: Option<Role>,
    password: Option<Zeroizing<String>>,
}

pub(super) async fn list(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({ "apiVersion": API_VERSION, "kind": "UserList", "items": state.access.users() }))
}

pub(super) async fn create(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let Asked { name, role, password } = body::parsed_secret(&headers, &bytes)?;
    let digest = state.access.digest(password).await?;
    let user = written(&state, move |access| access.add_user(&name, role, digest, clock::now())).await?;
    let told = Told { who: None, object: Some(format!("user/{}", user.name)) };
    let mut response = (StatusCode::CREATED, Json(json!(user))).into_response();
    response.extensions_mut().insert(told);
    Ok(response)
}

/// Gives a user another password or role. Its sessions end.
pub(super) async fn change(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<User>, Fault> {
    let Change { role, password } = body::parsed_secret(&headers, &bytes)?;
    if role.is_none() && password.is_none() {
        return Err(Fault::bad_request("a user can be given another role or password, and neither is here"));
    }
    let digest = match password {
        Some(password) => Some(state.access.digest(password).await?),
        None => None,
    };
    written(&state, move |access| access.change_user(&name, role, digest, clock::now())).await.map(Json)
}

/// Removes a user. What goes on in its name ends with it.
pub(super) async fn remove(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Value>, Fault> {
    let gone = written(&state, move |access| access.remove_user(&name)).await?;
    Ok(Json(json!({ "removed": gone })))
}

/// Does what writes to the disk. Once begun it ends, even if nobody waits.
async fn written<T: Send + 'static>(
    state: &State,
    change: impl FnOnce(&Access) -> Result<T, AccessError> + Send + 'static,
) -> Result<T, Fault> {
    let access = Arc::clone(&state.access);
    Ok(spawn_blocking(move || change(&access)).await.map_err(|_| Fault::stopping())??)
}

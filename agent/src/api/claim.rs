//! How a machine becomes somebody's.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{State, audit::Told, body, fault::Fault, gate::From};
use crate::{
    access::{AccessError, Listed, Proof, Token},
    clock,
};

/// A code, and what the first token shall be called.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    code: String,
    label: String,
}

/// What somebody shows who owns the key that the machine waits for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByKey {
    challenge: String,
    label: String,
    signature: String,
}

/// Tells whether the machine is somebody's, and by what people know it.
pub(super) async fn show(Extract(state): Extract<State>) -> Json<Value> {
    Json(json!({ "claimed": state.access.is_claimed(), "name": state.plate.name(), "fingerprint": print(&state) }))
}

/// Gives the first token to whoever knows the code.
pub(super) async fn claim(
    Extract(state): Extract<State>,
    From(address): From,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let Claim { code, label } = body::parsed_secret(&headers, &bytes)?;
    let access = Arc::clone(&state.access);
    // Once begun it ends, even if nobody waits: then the token is there and nobody has it, and the console helps.
    let claimed = spawn_blocking(move || access.claim(&code, &label, address, (Instant::now(), clock::now())));
    let (listed, token) = claimed.await.map_err(|_| Fault::stopping())??;
    Ok(first(&listed, &token))
}

/// Tells what the owner of the key that the machine waits for has to sign.
pub(super) async fn challenge(Extract(state): Extract<State>) -> Result<Response, Fault> {
    let challenge = state.access.challenge(Instant::now())?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "challenge": challenge }))).into_response())
}

/// Gives the first token to whoever owns the key that the machine waits for.
pub(super) async fn claim_by_key(
    Extract(state): Extract<State>,
    From(address): From,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let ByKey { challenge, label, signature } = body::parsed_secret(&headers, &bytes)?;
    let (access, proof) = (Arc::clone(&state.access), Proof { challenge, label, signature });
    let authority = state.plate.print.ok_or_else(|| Fault::of_status(StatusCode::SERVICE_UNAVAILABLE))?;
    let claimed =
        spawn_blocking(move || access.claim_by_key(&proof, &authority, address, (Instant::now(), clock::now())));
    let (listed, token) = claimed.await.map_err(|_| Fault::stopping())??;
    Ok(first(&listed, &token))
}

/// Shows the code to root, as the screen does.
pub(super) async fn pairing(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let code = state.access.code(Instant::now())?;
    let seconds = |until: Instant| until.saturating_duration_since(Instant::now()).as_secs();
    Ok(Json(json!({
        "claimed": code.is_none(), "name": state.plate.name(), "fingerprint": print(&state),
        "urls": state.plate.urls(), "authority": &*state.plate.pem, "code": code.as_ref().map(|(code, _)| code.as_str()),
        "secondsLeft": code.as_ref().map(|(_, until)| seconds(*until)),
    })))
}

/// Takes back every token, so that the machine can be claimed anew.
pub(super) async fn reset(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let access = Arc::clone(&state.access);
    spawn_blocking(move || access.reset(Instant::now())).await.map_err(|_| Fault::stopping())??;
    Ok(Json(json!({ "claimed": false })))
}

fn print(state: &State) -> Option<String> {
    state.plate.print.map(|it| it.to_string())
}

/// Tells the first token, and the audit whose it is.
fn first(listed: &Listed, token: &Token) -> Response {
    let mut response = told(listed, token);
    let told = Told { who: Some((listed.label.clone(), listed.role)), object: Some(format!("token/{}", listed.id)) };
    response.extensions_mut().insert(told);
    response
}

/// Tells a token, this once.
pub(super) fn told(listed: &Listed, token: &Token) -> Response {
    let mut answer = json!(listed);
    answer["token"] = json!(token.text().as_str());
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

impl std::convert::From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        let detail = error.to_string();
        match error {
            AccessError::Claimed => Self::new(StatusCode::CONFLICT, "Claimed", detail)
                .help("whoever has an admin's token makes you one; on its console: `piccolo claim --reset`"),
            AccessError::WrongCode => Self::new(StatusCode::FORBIDDEN, "WrongCode", detail)
                .help("it is another one every 15 minutes, and after ten wrong tries"),
            AccessError::NoKey => Self::new(StatusCode::NOT_FOUND, "NotFound", detail)
                .help("a seed names one: `piccolo token seed --key FILE`; else its screen shows a code"),
            AccessError::NotSigned => Self::new(StatusCode::FORBIDDEN, "NotSigned", detail)
                .help("`piccolo claim HOST --key FILE` signs with the key whose public half is in the seed"),
            AccessError::TooMany(wait) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", detail).wait(wait.as_secs() + 1)
            }
            AccessError::Label | AccessError::Lifetime | AccessError::Name | AccessError::Password => {
                Self::bad_request(detail)
            }
            AccessError::WrongLogin => Self::new(StatusCode::FORBIDDEN, "WrongLogin", detail)
                .help("`piccolo user list` shows who there is, `piccolo user passwd NAME` sets another password"),
            AccessError::Shut => Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", detail),
            AccessError::Full | AccessError::FullOfUsers | AccessError::UserThere(_) => Self::conflict(detail),
            AccessError::NoUser(_) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", detail).help("`piccolo user list` shows them")
            }
            AccessError::NoToken(_) => {
                Self::new(StatusCode::NOT_FOUND, "NotFound", detail).help("`piccolo token list` shows them")
            }
            AccessError::Credentials(_) => {
                tracing::error!(error = %detail, "who may come in can't be remembered");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "WriteFailed", detail)
            }
            AccessError::Random(_) | AccessError::Hash(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", detail)
            }
        }
    }
}

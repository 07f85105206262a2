//! Sessions of browsers: begun with a password, and ended.

use axum::{
    Extension, Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{State, audit::Told, body, fault::Fault, gate::From, proof};
use crate::access::{Caller, Opened};

/// Who wants to come in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    name: String,
    password: Zeroizing<String>,
}

/// Begins a session for whoever knows a user's password. The cookie is one half of it, the key in the answer the other.
pub(super) async fn log_in(
    Extract(state): Extract<State>,
    From(address): From,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let Login { name, password } = match body::parsed_secret(&headers, &bytes) {
        Ok(login) => login,
        Err(fault) => return fault.into_response(),
    };
    let mut told = Told::default();
    // What is no user's name may be a password in the wrong place: it is written down nowhere.
    if state.access.is_user(&name) {
        told.object = Some(format!("user/{}", name.trim().to_ascii_lowercase()));
    }
    let answer = state.access.log_in(&name, password, address).await.map_err(Fault::from).and_then(|opened| {
        told.who = Some((opened.name.clone(), opened.role));
        begun(&opened)
    });
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    response.extensions_mut().insert(told);
    response
}

fn begun(opened: &Opened) -> Result<Response, Fault> {
    let cookie = proof::cookie(&opened.session);
    let cookie = cookie.ok_or_else(|| Fault::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    let answer = json!({ "name": opened.name, "role": opened.role, "key": opened.session.key.as_str() });
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Ends the session that this is asked in.
pub(super) async fn log_out(
    Extract(state): Extract<State>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let session = proof::session(&headers).filter(|_| caller.is_session);
    let session = session.ok_or_else(|| {
        Fault::bad_request("only a session can be ended so").help("`piccolo token revoke ID` takes a token back")
    })?;
    state.access.log_out(&session.cookie);
    Ok(([(header::SET_COOKIE, proof::no_cookie())], StatusCode::NO_CONTENT).into_response())
}

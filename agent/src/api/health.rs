//! Whether the agent lives and does its work.

use std::fmt::Write;

use axum::{
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{State, fault::Fault, params::Params};

/// Answers as long as the server runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Answers 200 when every part works and 503 otherwise; `?verbose` names the parts.
pub(super) async fn ready(Extract(state): Extract<State>, params: Params) -> Result<Response, Fault> {
    let healths = state.store.healths();
    let ok = healths.values().all(|health| health.ok);
    let mut text = String::new();
    if params.flag("verbose")? {
        for (component, health) in &healths {
            let sign = if health.ok { "[+]" } else { "[-]" };
            // Writing to a string can't fail.
            let _ = writeln!(text, "{sign}{component}: {}", health.message);
        }
    }
    text.push_str(if ok { "ok\n" } else { "not ready\n" });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

//! Whether the agent lives and does its work.

use std::fmt::Write;

use axum::{
    Extension,
    extract::State as Extract,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{State, fault::Fault, params::Params};
use crate::access::Caller;

/// Answers as long as the server runs.
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Answers 200 when every part works and 503 otherwise; `?verbose` names the parts.
pub(super) async fn ready(
    Extract(state): Extract<State>,
    caller: Option<Extension<Caller>>,
    params: Params,
) -> Result<Response, Fault> {
    // What the parts say is for those who may read.
    let is_told = params.flag("verbose")? && caller.is_some();
    let healths = state.store.healths();
    let ok = healths.values().all(|health| health.ok);
    let mut text = String::new();
    if is_told {
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

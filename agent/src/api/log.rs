//! What a container prints.

use std::{pin::Pin, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State as Extract},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, TryStreamExt, stream::Peekable};
use piccolo_schema::Kind;

use super::{State, fault::Fault, lookup, params::Params, stream::Ending};

/// How long an engine may take to refuse before the answer begins.
const REFUSAL: Duration = Duration::from_millis(300);

pub(super) async fn read(
    Extract(state): Extract<State>,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    ending: Ending,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    if kind != Kind::Container {
        let detail = format!("a {} prints nothing", kind.singular());
        return Err(Fault::new(StatusCode::NOT_FOUND, "NotFound", detail));
    }
    let object = state.store.get(kind, &name).ok_or_else(|| lookup::no_such(&state, kind, &name))?;
    // By identifier: another's container may have the name.
    let Some(id) = object["status"]["containerId"].as_str() else {
        return Err(
            Fault::new(StatusCode::BAD_GATEWAY, "LogUnavailable", "it has no container at present").about(kind, name)
        );
    };
    let tail = params.number("tail")?;
    let mut printed = state.logs.follow(id, params.flag("follow")?, tail).peekable();
    if let Some(refusal) = refusal(&mut printed).await {
        let fault = Fault::new(StatusCode::BAD_GATEWAY, "LogUnavailable", refusal);
        return Err(fault.about(kind, name));
    }
    let printed = printed.map_err(std::io::Error::other).take_until(ending.0.cancelled_owned());
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(printed)).into_response())
}

/// Returns the error that the stream begins with, if it does so at once.
async fn refusal<T>(
    printed: &mut Peekable<impl futures_util::Stream<Item = Result<T, String>> + Unpin>,
) -> Option<String> {
    let first = tokio::time::timeout(REFUSAL, Pin::new(printed).peek()).await;
    first.ok().flatten().and_then(|first| first.as_ref().err().cloned())
}

//! What a container prints.

mod follow;

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
use crate::{clock, console::Excerpt};

/// How long an engine may take to refuse before the answer begins.
const REFUSAL: Duration = Duration::from_millis(300);

pub(super) async fn read(
    Extract(state): Extract<State>,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    ending: Ending,
) -> Result<Response, Fault> {
    let id = lookup::container(&state, &plural, &name)?;
    let excerpt = excerpt(&params)?;
    let asked = if excerpt.follow { follow::dated(&excerpt) } else { excerpt.clone() };
    let mut printed = state.logs.read(&id, &asked).peekable();
    if let Some(refusal) = refusal(&mut printed).await {
        let fault = Fault::new(StatusCode::BAD_GATEWAY, "LogUnavailable", refusal);
        return Err(fault.about(Kind::Container, name));
    }
    let printed = match excerpt.follow {
        true => follow::follow(state, name, id, printed.boxed(), &excerpt).boxed(),
        false => printed.boxed(),
    };
    let printed = printed.map_err(std::io::Error::other).take_until(ending.stopped());
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(printed)).into_response())
}

fn excerpt(params: &Params) -> Result<Excerpt, Fault> {
    let now = clock::now();
    let moment = |key| {
        let read = params.text(key).map(|text| clock::moment(text, now)).transpose();
        read.map_err(|wrong| Fault::bad_request(format!("{key}: {wrong}")))
    };
    let (since, until) = (moment("since")?, moment("until")?);
    if since.zip(until).is_some_and(|(since, until)| since > until) {
        return Err(Fault::bad_request("since is later than until"));
    }
    let (follow, timestamps) = (params.flag("follow")?, params.flag("timestamps")?);
    Ok(Excerpt { follow, tail: params.number("tail")?, since, until, timestamps })
}

/// Returns the error that the stream begins with, if it does so at once.
async fn refusal<T>(
    printed: &mut Peekable<impl futures_util::Stream<Item = Result<T, String>> + Unpin>,
) -> Option<String> {
    let first = tokio::time::timeout(REFUSAL, Pin::new(printed).peek()).await;
    first.ok().flatten().and_then(|first| first.as_ref().err().cloned())
}

//! Fetch and push: git's own server answers, over CGI. What a push brings the hooks of the repository ask about.

use std::{io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State as Extract},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::Limited;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    process::ChildStdin,
    time::timeout,
};
use tokio_util::{
    io::{ReaderStream, StreamReader},
    task::AbortOnDropHandle,
};

use super::{State, fault::Fault, serve::Peer, stream::Ending};
use crate::access::{Caller, PUSHER_NAME, PUSHER_ROLE};

/// Where the repository is found.
pub(super) const REPOSITORY: &str = "/git/config.git";
/// The largest request. Of the pack in it the repository itself takes 64 MiB.
const LARGEST: usize = 65 << 20;
/// How long a request may take.
const TIME: Duration = Duration::from_secs(120);
/// The most bytes of the head of an answer.
const LARGEST_HEAD: u64 = 8 << 10;

/// Returns the three routes that git's protocol has.
pub(super) fn routes() -> Router<State> {
    Router::new()
        .route(&format!("{REPOSITORY}/info/refs"), get(refs))
        .route(&format!("{REPOSITORY}/git-upload-pack"), post(serve))
        .route(&format!("{REPOSITORY}/git-receive-pack"), post(serve))
}

/// Answers with the refs as they are once every change is recorded that a look finds.
async fn refs(Extract(state): Extract<State>, ending: Ending, request: Request) -> Result<Response, Fault> {
    // Old clients, who would have every file given to them, are told to go on with the protocol of today.
    if !request.uri().query().is_some_and(|query| query.starts_with("service=git-")) {
        return Err(Fault::new(StatusCode::FORBIDDEN, "Forbidden", "git before 1.6.6 is not served"));
    }
    state.manifests.look().await?;
    state.history.settled().await?;
    serve(Extract(state), ending, request).await
}

async fn serve(Extract(state): Extract<State>, ending: Ending, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().filter(|_| matches!(parts.extensions.get(), Some(Peer::Remote(_))));
    let text = |name: HeaderName| parts.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let mut environment = vec![
        ("PATH_INFO", parts.uri.path().strip_prefix(REPOSITORY).unwrap_or_default()),
        ("QUERY_STRING", parts.uri.query().unwrap_or_default()),
        ("REQUEST_METHOD", parts.method.as_str()),
        ("CONTENT_TYPE", text(header::CONTENT_TYPE)),
        ("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING)),
        ("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol"))),
    ];
    if let Some(caller) = caller {
        environment.extend([(PUSHER_NAME, &*caller.name), (PUSHER_ROLE, caller.role.as_str())]);
    }
    let length = text(header::CONTENT_LENGTH);
    if !length.is_empty() {
        environment.push(("CONTENT_LENGTH", length));
    }
    let mut served = state.history.serve(&environment).await?;
    let (Some(stdin), Some(stdout)) = (served.child.stdin.take(), served.child.stdout.take()) else {
        return Err(failed("it has no pipes"));
    };
    let feeding = AbortOnDropHandle::new(tokio::spawn(feed(body, stdin)));
    let mut stdout = BufReader::new(stdout);
    let head = timeout(TIME, head(&mut stdout)).await.map_err(|_| failed("it does not answer"))?;
    let (status, headers) = head.map_err(|error| failed(&error.to_string()))?;
    let over = async move {
        drop(timeout(TIME, ending.stopped()).await);
    };
    let flow = ReaderStream::new(stdout).take_until(Box::pin(over)).map(move |part| {
        // Both live as long as the answer.
        let _ = (&feeding, &served);
        part
    });
    let mut response = Response::new(Body::from_stream(flow));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// Passes the body on, as far as it is not too large. A program that has heard enough says itself what became of it.
async fn feed(body: Body, mut stdin: ChildStdin) {
    let body = Body::new(Limited::new(body, LARGEST)).into_data_stream().map_err(io::Error::other);
    if let Err(error) = tokio::io::copy(&mut StreamReader::new(body), &mut stdin).await {
        tracing::debug!(%error, "a request to git was not heard to its end");
    }
}

/// Reads the head of an answer: lines up to an empty one. Of what it says only the status and how to read it counts.
async fn head(answer: &mut (impl AsyncBufRead + Unpin)) -> io::Result<(StatusCode, HeaderMap)> {
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    let mut answer = answer.take(LARGEST_HEAD);
    loop {
        let mut line = String::new();
        answer.read_line(&mut line).await?;
        let garbled = || io::Error::other("its answer can't be understood");
        let line = line.strip_suffix('\n').ok_or_else(garbled)?.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(": ").ok_or_else(garbled)?;
        match name.to_ascii_lowercase().as_str() {
            "status" => {
                let code = value.split(' ').next().and_then(|code| code.parse().ok());
                status = code.ok_or_else(garbled)?;
            }
            "content-type" => drop(headers.insert(header::CONTENT_TYPE, word(value).ok_or_else(garbled)?)),
            "cache-control" => drop(headers.insert(header::CACHE_CONTROL, word(value).ok_or_else(garbled)?)),
            _ => {}
        }
    }
}

fn word(value: &str) -> Option<HeaderValue> {
    value.parse().ok()
}

fn failed(why: &str) -> Fault {
    Fault::new(StatusCode::BAD_GATEWAY, "GitFailed", format!("`git http-backend` failed: {why}"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, not_text, often};

    #[tokio::test]
    async fn heads_are_read() {
        let mut answer = &b"Status: 403 Forbidden\r\nExpires: x\r\nContent-Type: text/plain\r\n\r\nrest"[..];
        let (status, headers) = head(&mut answer).await.unwrap();
        assert_eq!((status.as_u16(), headers.len()), (403, 1));
        assert_eq!(answer, b"rest");
        for wrong in ["", "Content-Type: a", "Status: x\n\n", "no colon\n\n", &"a: b\n".repeat(3000)] {
            assert!(head(&mut wrong.as_bytes()).await.is_err(), "{wrong}");
        }
    }

    const HEAD: &str =
        "Status: 403 Forbidden\r\nExpires: x\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\n\r\nrest";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(text in malformed(HEAD), bytes in not_text(HEAD)) {
            for mut answer in [text.as_bytes(), &bytes] {
                // All of it is there, so the answer is too.
                let read = head(&mut answer).now_or_never();
                prop_assert!(read.is_some_and(|it| it.is_err() || it.is_ok_and(|(_, headers)| headers.len() <= 2)));
            }
        }
    }
}

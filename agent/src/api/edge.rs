//! What every request passes through on its way in and out.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::fault::{Dialect, Fault};

/// The largest body that is read.
const LARGEST_BODY: usize = 1 << 20;
/// Who may make use of an answer.
const OWN_PAGES: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Renders every refusal in the form that the client reads.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let mut response = next.run(request).await;
    let status = response.status();
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = in_words(&fault, dialect, response.headers());
    } else if is_foreign_error(status, response.headers()) {
        response = in_words(&Fault::of_status(status), dialect, response.headers());
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page on another port of this host counts as a neighbour to browsers. It may not even show what is answered here.
    response.headers_mut().insert(OWN_PAGES, HeaderValue::from_static("same-origin"));
    response
}

/// Renders a refusal, with those headers that say how to ask.
fn in_words(fault: &Fault, dialect: Dialect, headers: &HeaderMap) -> Response {
    let mut response = fault.render(dialect);
    for name in [header::ALLOW, header::WWW_AUTHENTICATE] {
        for value in headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

/// Reads the whole body, so that no handler waits for a slow or endless one.
pub(super) async fn take_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect()).await;
    let bytes = match whole {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Fault::of_status(StatusCode::PAYLOAD_TOO_LARGE).into_response();
        }
        Ok(Err(_)) => return Fault::bad_request("the body ended before it was complete").into_response(),
        Err(_) => {
            return Fault::new(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body took longer than 30 s")
                .into_response();
        }
    };
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

impl Dialect {
    /// Returns the form that this client reads: whoever asks the Kubernetes API for `application/json` by name, or says
    /// nothing of what it takes, as client libraries do, gets a `Status`; everybody else a problem document.
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let kubernetes = path == "/api" || path == "/apis" || path.starts_with("/api/") || path.starts_with("/apis/");
        let is_library = accept.is_empty() || accept.contains("application/json");
        if kubernetes && is_library && !accept.contains("problem+json") { Self::Kubernetes } else { Self::Problem }
    }
}

/// Returns true for an error that no handler of ours put into words.
fn is_foreign_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().ends_with(b"json"));
    let is_plain_answer = status == StatusCode::SERVICE_UNAVAILABLE;
    (status.is_client_error() || status.is_server_error()) && !is_json && !is_plain_answer
}

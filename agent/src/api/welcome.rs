//! The page for people who ask with a browser: how to claim the machine, or how everything stands.
//!
//! It is one document with its own style and script in it, asks for nothing else, and a browser runs no other script in
//! it than this one.

use std::sync::LazyLock;

use axum::{
    extract::State as Extract,
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::State;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// What the page may do: run this script, look like this, and ask this very place.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let only = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        only(SCRIPT),
        only(STYLE)
    );
    // All of it is plain; a page that may do nothing is the safe end of a mistake.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Answers with the page.
pub(super) async fn page(Extract(state): Extract<State>) -> impl IntoResponse {
    let print = state.plate.print.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let claimed = state.access.is_claimed().to_string();
    // What varies first: neither style nor script is looked through for it.
    let page = PAGE
        .replace("{{name}}", &escaped(&state.plate.name()))
        .replace("{{print}}", &print)
        .replace("{{claimed}}", &claimed)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Html(page))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! The page for people who ask with a browser what this machine is.

use axum::{
    extract::State as Extract,
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse},
};

use super::State;

/// The page can do nothing: it holds no script, asks for nothing and is shown in no other page.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Tells what this machine is, and how to make it one's own.
pub(super) async fn page(Extract(state): Extract<State>) -> impl IntoResponse {
    let print = state.plate.print.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let name = state.plate.name();
    let (what, how) = match state.access.is_claimed() {
        true => ("This machine is somebody's.", "piccolo context add HOST --token-file FILE"),
        false => ("Nobody has claimed this machine yet. Its screen shows a code.", "piccolo claim HOST"),
    };
    // A name of a host holds nothing that means something in HTML.
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
         <style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem}}code{{font-size:1.1em}}</style>\n\
         <h1>{name}</h1>\n<p>{what}\n<p>On your computer:\n<pre><code>{how}</code></pre>\n\
         <p>Compare this fingerprint with what the machine's own screen shows:\n<pre><code>{print}</code></pre>\n</html>\n"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers.map(|(name, value)| (name, HeaderValue::from_static(value))), Html(text))
}

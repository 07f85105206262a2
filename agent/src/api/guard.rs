//! Keeps web pages of others out, until there is authentication.
//!
//! A browser on this machine reaches the loopback address for any page that it shows. Such a page betrays itself: by its
//! own name in `Host` when its name was made to point here, by its `Origin` when it sends something.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::fault::{Dialect, Fault};

/// Refuses requests that are meant for another host. For TCP only: a unix socket has no name that could be stolen.
pub(super) async fn loopback_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().is_ok_and(is_loopback));
    let uri = request.uri().authority().map(|authority| is_loopback(authority.as_str()));
    let named = [host, uri].into_iter().flatten().collect::<Vec<_>>();
    if !named.is_empty() && named.iter().all(|loopback| *loopback) {
        return next.run(request).await;
    }
    let fault =
        Fault::new(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequest", "this door answers to localhost only");
    let dialect = Dialect::of(request.uri().path(), request.headers());
    fault.help("ask for 127.0.0.1, [::1] or localhost; from afar, use an ssh tunnel").render(dialect)
}

/// Refuses changes that a page of another origin asks for.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if safe || !is_foreign(request.headers()) {
        return next.run(request).await;
    }
    Fault::new(StatusCode::FORBIDDEN, "Forbidden", "pages of other origins may not change this machine").into_response()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let is_foreign_site = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    // Another port is another program, whose pages are no friends of ours.
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_foreign_origin = headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        origin.is_none() || origin != own
    });
    is_foreign_site || is_foreign_origin
}

/// Returns true for a host, with or without a port, that is this machine's own loopback.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for yes in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.8.9.1:1", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in [
            "",
            "piccolo.lan",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "127.1",
            "a@localhost",
            "10.0.0.1",
            "[::2]",
            "0.0.0.0",
            "localhost/",
            ":80",
        ] {
            assert!(!is_loopback(no), "{no}");
        }
    }
}

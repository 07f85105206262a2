//! Keeps web pages of others out.
//!
//! A browser sends requests for any page that it shows. Such a page betrays itself: by its own name in `Host` when its name
//! was made to point here, by its `Origin` when it sends something.

use std::sync::Arc;

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::watch;

use super::{
    body,
    fault::{Dialect, Fault},
    serve::Peer,
};
use crate::access::Names;

/// Refuses requests that are meant for another host. For networks only: a unix socket has no name that could be stolen.
pub(super) async fn addressed(
    Extract(names): Extract<watch::Receiver<Arc<Names>>>,
    request: Request,
    next: Next,
) -> Response {
    if is_addressed(&request, &Arc::clone(&names.borrow())) {
        return next.run(request).await;
    }
    let fault = Fault::new(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequest", "this machine is not called so");
    let dialect = Dialect::of(request.uri().path(), request.headers());
    fault.help("ask for its name or address; other names that it has: piccolod --name NAME").render(dialect)
}

fn is_addressed(request: &Request, names: &Names) -> bool {
    let holds = |value: &header::HeaderValue| value.to_str().is_ok_and(|host| names.holds(host));
    let mut hosts = request.headers().get_all(header::HOST).iter().map(holds);
    // With two of them, whoever stands between may have read the other one.
    let is_one = hosts.next() == Some(true) && hosts.next().is_none();
    let uri = request.uri().authority().is_none_or(|authority| names.holds(authority.as_str()));
    is_one && uri
}

/// Refuses changes that a page of another origin asks for. A browser opens web sockets to any origin and lets the page
/// read and write them, so none is safe.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let safe = reads && !request.headers().contains_key(header::UPGRADE);
    let scheme = if matches!(request.extensions().get(), Some(Peer::Remote(_))) { "https://" } else { "http://" };
    if safe || !is_foreign(request.headers(), scheme) {
        return next.run(request).await;
    }
    Fault::new(StatusCode::FORBIDDEN, "Forbidden", "pages of other origins may not change this machine").into_response()
}

/// Refuses a change in the name of a browser's session that does not prove to come from our own page, and to be what no
/// form sends: JSON. Elsewhere it is enough not to be caught; a session goes along unasked, so it has to be better.
pub(super) fn of_own_page(request: &Request) -> Result<(), Fault> {
    let headers = request.headers();
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if reads && !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    let says = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    if is_foreign(headers, "https://") || !(says || headers.contains_key(header::ORIGIN)) {
        let detail = "with a session only this machine's own page may change it";
        return Err(Fault::new(StatusCode::FORBIDDEN, "Forbidden", detail).help("programs use a token"));
    }
    let media = body::media(headers);
    if !reads && media != "application/json" && !media.ends_with("+json") {
        let detail = "with a session changes are sent as application/json";
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", detail));
    }
    Ok(())
}

fn is_foreign(headers: &HeaderMap, scheme: &str) -> bool {
    let is_foreign_site = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    // Another port is another program, whose pages are no friends of ours.
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_foreign_origin = headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix(scheme));
        origin.is_none() || origin != own
    });
    is_foreign_site || is_foreign_origin
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        for host in hosts {
            request.headers_mut().append(header::HOST, host.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_request_is_addressed_to_this_machine_and_no_other() {
        let names = Names::new("attic", [], &[]);
        assert!(is_addressed(&request("/", &["attic:8080"]), &names));
        assert!(is_addressed(&request("https://attic/", &["attic"]), &names));
        for (uri, hosts) in [
            ("/", &[][..]),
            ("/", &["evil.example"]),
            ("/", &["attic", "evil.example"]),
            ("/", &["evil.example", "attic"]),
            ("/", &["attic", "attic"]),
            ("https://evil.example/", &["attic"]),
            ("https://attic/", &["evil.example"]),
            ("https://attic/", &[]),
            ("https://attic@evil.example/", &["attic"]),
        ] {
            assert!(!is_addressed(&request(uri, hosts), &names), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_session_changes_things_from_our_own_page_alone() {
        let met = |method: Method, lines: &[(&'static str, &str)]| {
            let mut request = request("/logout", &["attic:8080"]);
            *request.method_mut() = method;
            for (name, value) in lines {
                request.headers_mut().append(*name, value.parse().unwrap());
            }
            of_own_page(&request).map_or_else(|fault| fault.status.as_u16(), |()| 200)
        };
        let (own, json) = (("sec-fetch-site", "same-origin"), ("content-type", "application/json"));
        assert_eq!(met(Method::GET, &[]), 200);
        assert_eq!(met(Method::POST, &[own, json]), 200);
        assert_eq!(met(Method::POST, &[("origin", "https://attic:8080"), json]), 200);
        assert_eq!(met(Method::PATCH, &[own, ("content-type", "application/merge-patch+json")]), 200);
        assert_eq!(met(Method::GET, &[own, ("upgrade", "websocket")]), 200);
        for wrong in [
            &[json][..],
            &[json, ("sec-fetch-site", "none")],
            &[json, ("sec-fetch-site", "same-site")],
            &[json, own, ("origin", "https://attic:8443")],
            &[json, ("origin", "http://attic:8080")],
            &[json, ("origin", "null"), own],
        ] {
            assert_eq!(met(Method::POST, wrong), 403, "{wrong:?}");
        }
        for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            assert_eq!(met(Method::DELETE, &[own, ("content-type", media)]), 415, "{media}");
        }
        assert_eq!(met(Method::GET, &[("upgrade", "websocket")]), 403);
    }
}

//! Whom a proxy asks for. Only those count that are listed; what others write of themselves is not read.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName},
    middleware::Next,
    response::Response,
};

use super::Peer;

/// Where a proxy says who asked it. What it says of names and of TLS counts for nothing.
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Takes the word of a listed proxy for who asks, so that the tries and the audit are not all its own.
pub(super) async fn behind(State(listed): State<Arc<[IpAddr]>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().copied();
    if let Some(Peer::Remote(address)) = peer
        && listed.contains(&address)
        && let Some(meant) = meant(request.headers(), &listed)
    {
        request.extensions_mut().insert(Peer::Remote(meant));
    }
    next.run(request).await
}

/// Returns the last address that is no listed proxy's: what stands before it could be written by anybody.
fn meant(headers: &HeaderMap, listed: &[IpAddr]) -> Option<IpAddr> {
    let lines: Option<Vec<_>> = headers.get_all(FOR).iter().map(|it| it.to_str().ok()).collect();
    for word in lines?.iter().rev().flat_map(|line| line.rsplit(',')) {
        let address = word.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !listed.contains(&address) {
            return Some(address);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(lines: &[&str]) -> Option<String> {
        let headers = HeaderMap::from_iter(lines.iter().map(|it| (FOR, it.parse().unwrap())));
        let listed = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        meant(&headers, &listed).map(|it| it.to_string())
    }

    #[test]
    fn the_last_one_counts_that_is_no_proxy() {
        assert_eq!(met(&["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(met(&["203.0.113.9, 198.51.100.7"]).as_deref(), Some("198.51.100.7"), "the first is anybody's word");
        assert_eq!(met(&["198.51.100.7, 192.0.2.2"]).as_deref(), Some("198.51.100.7"), "through two of them");
        assert_eq!(met(&["203.0.113.9", "2001:db8::7 ,192.0.2.2"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(met(&["::ffff:198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        for odd in
            [&[][..], &[""], &["unknown"], &["192.0.2.1"], &["198.51.100.7, "], &["198.51.100.7:80"], &["\u{e9}"]]
        {
            assert_eq!(met(odd), None, "{odd:?}");
        }
    }
}

//! What a request over a network shows to prove who asks: a token, or a browser's session.

use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    access::{Access, Caller, Session},
    clock,
};

/// The cookie of a session. With this beginning of its name, browsers take it from this very host over TLS alone.
pub(super) const COOKIE: &str = "__Host-piccolo";
/// The header with the other half: cookies go to every port of a host, and a container may listen there.
pub(super) const KEY: HeaderName = HeaderName::from_static("piccolo-key");

/// Tells who asks; none if nobody whom the machine knows. Git takes tokens alone.
pub(super) fn caller(headers: &HeaderMap, route: Option<&str>, access: &Access) -> Option<Caller> {
    if headers.contains_key(header::AUTHORIZATION) {
        return access.know(&token(headers)?, clock::now());
    }
    if route.is_some_and(|it| it.starts_with("/git/")) {
        return None;
    }
    access.know_session(&session(headers)?, Instant::now())
}

/// Returns whether a page of ours asks, which knows what to do when it is refused.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY)
}

/// Returns the cookie that is set for a session.
pub(super) fn cookie(session: &Session) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict", *session.cookie));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes the cookie of a session away.
pub(super) fn no_cookie() -> HeaderValue {
    HeaderValue::from_static("__Host-piccolo=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Returns the session that a request shows. With two cookies of the name, or two keys, it shows none.
pub(super) fn session(headers: &HeaderMap) -> Option<Session> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookie = only(pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value))?;
    let key = only(headers.get_all(KEY).iter().filter_map(|it| it.to_str().ok()))?;
    Some(Session { cookie: Zeroizing::new(cookie.to_owned()), key: Zeroizing::new(key.to_owned()) })
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}

/// Returns the token that a request shows, as `Bearer`, or as the password of `Basic`.
fn token(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest.trim()).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        token(&headers).map(|it| it.to_string())
    }

    #[test]
    fn a_token_is_shown_in_two_ways() {
        assert_eq!(shown("Bearer pic_a").as_deref(), Some("pic_a"));
        assert_eq!(shown("bearer  pic_a ").as_deref(), Some("pic_a"));
        // `anna:pic_a` and `:pic_a`
        assert_eq!(shown("Basic YW5uYTpwaWNfYQ==").as_deref(), Some("pic_a"));
        assert_eq!(shown("BASIC OnBpY19h").as_deref(), Some("pic_a"));
        for none in ["", "Bearer", "pic_a", "Basic pic_a", "Basic cGljX2E=", "Digest x", "Basic /w=="] {
            assert_eq!(shown(none), None, "{none}");
        }
        assert!(token(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_session_is_shown_in_two_halves() {
        let shown = |lines: &[(HeaderName, &str)]| {
            let headers =
                HeaderMap::from_iter(lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())));
            session(&headers).map(|it| (it.cookie.to_string(), it.key.to_string()))
        };
        let (cookie, key) = ((header::COOKIE, "a=b; __Host-piccolo=c;d=e"), (KEY, "k"));
        assert_eq!(shown(&[cookie.clone(), key.clone()]), Some(("c".to_owned(), "k".to_owned())));
        for lines in [vec![cookie.clone()], vec![key.clone()], vec![(header::COOKIE, "__host-piccolo=c"), key.clone()]]
        {
            assert_eq!(shown(&lines), None);
        }
        let mut twice = HeaderMap::new();
        twice.append(header::COOKIE, "__Host-piccolo=a; __Host-piccolo=b".parse().unwrap());
        twice.append(KEY, "k".parse().unwrap());
        assert!(session(&twice).is_none());
    }

    #[test]
    fn the_cookie_is_for_this_host_over_tls_and_no_script() {
        let session = Session { cookie: Zeroizing::new("c".to_owned()), key: Zeroizing::new("k".to_owned()) };
        let cookie = cookie(&session).unwrap();
        assert_eq!(cookie, "__Host-piccolo=c; Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(cookie.is_sensitive() && no_cookie().to_str().unwrap().starts_with(COOKIE));
    }
}

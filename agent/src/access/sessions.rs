//! Sessions of browsers: two random secrets each, of which the machine keeps digests, in memory alone.
//!
//! A browser sends a cookie to every port of a host, and on another port of this one a container may answer. So a cookie
//! alone opens nothing: each request also shows a key in a header, which only a page of this very port has.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use piccolo_schema::Role;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{AccessError, Caller, Fingerprint, Scope, random};

/// How long a session lasts that nobody uses.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long one lasts at most.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// The most sessions of a user; the oldest gives way.
const EACH: usize = 16;
/// Bytes of each secret.
const SECRET: usize = 32;

/// What a browser shows.
#[derive(Clone)]
pub struct Session {
    /// What the cookie holds.
    pub cookie: Zeroizing<String>,
    /// What the header holds.
    pub key: Zeroizing<String>,
}

/// A session that was just begun.
#[derive(Clone)]
pub struct Opened {
    /// Who began it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What their browser is given, this once.
    pub session: Session,
}

/// The sessions that there are, by the digest of their cookie.
#[derive(Default)]
pub(super) struct Sessions(HashMap<Fingerprint, Entry>);

struct Entry {
    name: Arc<str>,
    key: Fingerprint,
    began: Instant,
    used: Instant,
    ended: CancellationToken,
}

impl Session {
    fn generate() -> std::io::Result<Self> {
        Ok(Self { cookie: secret()?, key: secret()? })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({})", self.name)
    }
}

impl Sessions {
    /// Begins one.
    pub(super) fn open(&mut self, name: &str, now: Instant) -> Result<Session, AccessError> {
        self.tidy(now);
        let of_user = self.0.iter().filter(|(_, it)| &*it.name == name);
        if of_user.clone().count() >= EACH {
            let oldest = of_user.min_by_key(|(_, it)| it.used).map(|(cookie, _)| *cookie);
            self.end_one(oldest);
        }
        let session = Session::generate().map_err(AccessError::Random)?;
        let entry = Entry {
            name: name.into(),
            key: digest(&session.key),
            began: now,
            used: now,
            ended: CancellationToken::new(),
        };
        self.0.insert(digest(&session.cookie), entry);
        Ok(session)
    }

    /// Tells whose session this is; none if nobody's, or nobody's any more.
    pub(super) fn know(
        &mut self,
        shown: &Session,
        role: impl Fn(&str) -> Option<Role>,
        now: Instant,
    ) -> Option<Caller> {
        let entry = self.0.get_mut(&digest(&shown.cookie))?;
        if !bool::from(entry.key.ct_eq(&digest(&shown.key))) || entry.is_over(now) {
            return None;
        }
        let role = role(&entry.name)?;
        entry.used = now;
        let (name, ended) = (Arc::clone(&entry.name), entry.ended.clone());
        Some(Caller { name, role, scope: Scope::All, is_session: true, ended })
    }

    /// Ends the one with this cookie.
    pub(super) fn close(&mut self, cookie: &str) {
        self.end_one(Some(digest(cookie)));
    }

    /// Ends those of the users that are meant, with all that goes on in them.
    pub(super) fn end(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.retain(|it| !is_meant(&it.name));
    }

    /// Ends those that are over.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.retain(|it| !it.is_over(now));
    }

    /// Returns how many a user has.
    pub(super) fn count(&self, name: &str) -> usize {
        self.0.values().filter(|it| &*it.name == name).count()
    }

    fn end_one(&mut self, cookie: Option<Fingerprint>) {
        if let Some(entry) = cookie.and_then(|it| self.0.remove(&it)) {
            entry.ended.cancel();
        }
    }

    fn retain(&mut self, stays: impl Fn(&Entry) -> bool) {
        self.0.retain(|_, it| {
            let stays = stays(it);
            if !stays {
                it.ended.cancel();
            }
            stays
        });
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        since(self.used) >= IDLE || since(self.began) >= LONGEST
    }
}

fn secret() -> std::io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; SECRET]);
    random(&mut *bytes)?;
    Ok(Zeroizing::new(HEXLOWER.encode(&*bytes)))
}

fn digest(secret: &str) -> Fingerprint {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn anybody(_: &str) -> Option<Role> {
        Some(Role::Reader)
    }

    #[test]
    fn a_cookie_without_its_key_opens_nothing() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (one, two) = (sessions.open("anna", now).unwrap(), sessions.open("anna", now).unwrap());
        assert_eq!(one.cookie.len(), 64);
        assert_eq!(&*sessions.know(&one, anybody, now).unwrap().name, "anna");
        let mixed = Session { cookie: one.cookie.clone(), key: two.key.clone() };
        let empty = Session { cookie: one.cookie.clone(), key: Zeroizing::default() };
        let turned = Session { cookie: one.key.clone(), key: one.cookie.clone() };
        for wrong in [mixed, empty, turned] {
            assert!(sessions.know(&wrong, anybody, now).is_none());
        }
        assert!(sessions.know(&one, |_| None, now).is_none(), "the user is gone");
        assert!(!format!("{one:?}").contains(&one.cookie[..8]));
    }

    #[test]
    fn a_session_ends_unused_and_after_half_a_day_at_the_latest() {
        let (mut sessions, began) = (Sessions::default(), Instant::now());
        let session = sessions.open("anna", began).unwrap();
        let mut now = began;
        while now + 29 * MINUTE < began + LONGEST {
            now += 29 * MINUTE;
            assert!(sessions.know(&session, anybody, now).is_some());
        }
        let ended = sessions.know(&session, anybody, now).unwrap().ended;
        assert!(sessions.know(&session, anybody, began + LONGEST).is_none());
        sessions.tidy(began + LONGEST);
        assert!(ended.is_cancelled() && sessions.0.is_empty());
        let unused = sessions.open("anna", began).unwrap();
        assert!(sessions.know(&unused, anybody, began + IDLE).is_none());
    }

    #[test]
    fn a_user_has_few_sessions_and_the_least_used_gives_way() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.open("anna", now).unwrap();
        let ended = sessions.know(&first, anybody, now).unwrap().ended;
        let other = sessions.open("ben", now).unwrap();
        for second in 1..=EACH as u64 {
            sessions.open("anna", now + Duration::from_secs(second)).unwrap();
        }
        assert_eq!((sessions.count("anna"), sessions.count("ben")), (EACH, 1));
        assert!(ended.is_cancelled() && sessions.know(&first, anybody, now).is_none());
        assert!(sessions.know(&other, anybody, now).is_some());
        sessions.close(&other.cookie);
        assert!(sessions.know(&other, anybody, now).is_none());
    }
}

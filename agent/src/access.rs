//! Who may come in over a network, and as what: the machine's authority, its pairing code, its tokens, and its users with
//! the sessions of their browsers.
//!
//! A machine that nobody has claimed lets nobody in. Whoever reads its screen can claim it, and gets the first token.

mod authority;
mod challenge;
mod claimant;
mod credentials;
mod error;
mod keys;
mod limits;
mod names;
mod pairing;
mod password;
mod print;
mod seed;
mod sessions;
mod shown;
mod signature;
mod token;
mod users;

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use governor::clock::DefaultClock;
use jiff::{SignedDuration, Timestamp};
use piccolo_schema::Role;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use self::{
    authority::{Authority, AuthorityError},
    claimant::{PURPOSE, Proof, vow},
    credentials::{CredentialsError, Scope},
    error::AccessError,
    names::Names,
    password::Digest,
    print::Print,
    seed::{Planted, Seed, SeedError},
    sessions::{Opened, Session},
    shown::Shown,
    signature::{NoKey, PublicKey},
    token::{Fingerprint, Token},
    users::User,
};
use self::{
    challenge::Challenges,
    credentials::{Credentials, Entry, MOST},
    keys::Keys,
    limits::Limits,
    pairing::Pairing,
    password::Passwords,
    sessions::Sessions,
};

/// How long a token holds if nothing else is said.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// What tells the hooks of the repository who pushes over the API.
pub const PUSHER_NAME: &str = "PICCOLO_PUSHER_NAME";
/// What tells them what the pusher may do.
pub const PUSHER_ROLE: &str = "PICCOLO_PUSHER_ROLE";
/// How exactly it is remembered when a token was used.
const USED: SignedDuration = SignedDuration::from_mins(1);
/// The longest label.
const LABEL: usize = 64;
const FILE: &str = "credentials.json";

/// Who may come in. One for a machine.
pub struct Access {
    path: PathBuf,
    inner: Mutex<Inner>,
    limits: Limits<DefaultClock>,
    keys: Keys,
    passwords: Passwords,
    /// Whether nobody is let in, and nothing written.
    is_shut: bool,
    /// Says that the pairing code is another one, or that the machine was claimed.
    changed: watch::Sender<()>,
}

struct Inner {
    credentials: Credentials,
    pairing: Pairing,
    challenges: Challenges,
    /// What ends when a token does.
    ends: HashMap<String, CancellationToken>,
    sessions: Sessions,
    /// Whether something is remembered that the file does not say yet.
    is_ahead: bool,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What they are called in the history.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// To what that is narrowed.
    pub scope: Scope,
    /// Whether a browser's session was shown, and no token.
    pub is_session: bool,
    /// Is cancelled once they may no more.
    pub ended: CancellationToken,
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The part of it that may be shown.
    pub id: String,
    /// What people call it.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// To what that is narrowed.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it holds; none if for ever.
    pub expires: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used: Option<Timestamp>,
}

/// What a new token shall be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What people shall call it.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// To what that is narrowed.
    pub scope: Scope,
    /// How long it holds; none if for ever.
    pub lifetime: Option<Duration>,
}

impl Access {
    /// Reads who may come in, from this directory.
    ///
    /// # Errors
    /// When what is remembered can't be read: then nobody can be let in, and nobody may claim the machine anew.
    pub fn open(directory: &Path, now: Instant) -> Result<Self, AccessError> {
        let path = directory.join(FILE);
        let credentials = Credentials::read(&path)?;
        Self::new(path, credentials, false, now)
    }

    /// Lets nobody in, for when what is remembered can't be used. Nothing of it is written over.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn shut(directory: &Path, now: Instant) -> Result<Self, AccessError> {
        Self::new(directory.join(FILE), Credentials::default(), true, now)
    }

    fn new(path: PathBuf, credentials: Credentials, is_shut: bool, now: Instant) -> Result<Self, AccessError> {
        let pairing = Pairing::new(now).map_err(AccessError::Random)?;
        let challenges = Challenges::new(now).map_err(AccessError::Random)?;
        let (ends, sessions) = (HashMap::new(), Sessions::default());
        let inner = Inner { credentials, pairing, challenges, ends, sessions, is_ahead: false };
        let (limits, changed) = (Limits::new(DefaultClock::default()), watch::Sender::new(()));
        let passwords = Passwords::new().map_err(AccessError::Random)?;
        Ok(Self { path, inner: Mutex::new(inner), limits, keys: Keys::default(), passwords, is_shut, changed })
    }

    /// Returns whether nobody can make this machine theirs any more.
    pub fn is_claimed(&self) -> bool {
        self.is_shut || self.inner().credentials.claimed.is_some()
    }

    /// Hears when the code is another one, or the machine is claimed.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the code that is to be shown on the machine itself, and until when it holds; none if it is claimed.
    ///
    /// # Errors
    /// When there is no randomness for another one.
    pub fn code(&self, now: Instant) -> Result<Option<(Zeroizing<String>, Instant)>, AccessError> {
        let mut inner = self.inner();
        if self.is_shut || inner.credentials.claimed.is_some() {
            return Ok(None);
        }
        inner.pairing.refresh(now).map_err(AccessError::Random)?;
        Ok(Some((inner.pairing.shown(), inner.pairing.until())))
    }

    /// Makes the machine the one's who knows the code, and returns the first token, an admin's. Blocks.
    ///
    /// # Errors
    /// When the code is wrong, the machine is claimed or too many tried.
    pub fn claim(
        &self,
        code: &str,
        label: &str,
        from: Option<IpAddr>,
        now: (Instant, Timestamp),
    ) -> Result<(Listed, Token), AccessError> {
        self.limits.count(from, "claim").map_err(AccessError::TooMany)?;
        self.claim_unlimited(code, label, now)
    }

    fn claim_unlimited(
        &self,
        code: &str,
        label: &str,
        now: (Instant, Timestamp),
    ) -> Result<(Listed, Token), AccessError> {
        let mut inner = self.inner();
        if self.is_shut || inner.credentials.claimed.is_some() {
            return Err(AccessError::Claimed);
        }
        let shown = inner.pairing.shown();
        let is_right = inner.pairing.check(code, now.0).map_err(AccessError::Random)?;
        if inner.pairing.shown() != shown {
            self.changed.send_replace(());
        }
        if !is_right {
            return Err(AccessError::WrongCode);
        }
        let wish = Wish { label: label.to_owned(), role: Role::Admin, scope: Scope::All, lifetime: Some(LIFETIME) };
        let made = self.make(&mut inner, &wish, now.1)?;
        // It is used up.
        inner.pairing = Pairing::new(now.0).map_err(AccessError::Random)?;
        Ok(made)
    }

    /// Makes a token. With the first one the machine is claimed: root on it is as good as its screen. Blocks.
    ///
    /// # Errors
    /// When the wish can't be fulfilled or remembered.
    pub fn mint(&self, wish: &Wish, now: Timestamp) -> Result<(Listed, Token), AccessError> {
        self.make(&mut self.inner(), wish, now)
    }

    fn make(&self, inner: &mut Inner, wish: &Wish, now: Timestamp) -> Result<(Listed, Token), AccessError> {
        let expires = wish.lifetime.map(|it| now.checked_add(it)).transpose().map_err(|_| AccessError::Lifetime)?;
        if !is_label(&wish.label) {
            return Err(AccessError::Label);
        }
        let mut after = inner.credentials.clone();
        after.tokens.retain(|_, it| !it.is_over(now));
        if after.tokens.len() >= MOST {
            return Err(AccessError::Full);
        }
        let token = Token::generate().map_err(AccessError::Random)?;
        let entry = Entry {
            label: wish.label.clone(),
            role: wish.role,
            scope: wish.scope,
            sha256: token.fingerprint(),
            created: now,
            expires,
            last_used: None,
        };
        let listed = entry.listed(token.id());
        after.tokens.insert(token.id().to_owned(), entry);
        after.claimed = after.claimed.or(Some(now));
        after.key = None;
        self.keep(inner, after)?;
        Ok((listed, token))
    }

    /// Returns every token, the oldest first.
    pub fn list(&self) -> Vec<Listed> {
        let mut all: Vec<_> = self.inner().credentials.tokens.iter().map(|(id, it)| it.listed(id)).collect();
        all.sort_by_key(|it| it.created);
        all
    }

    /// Ends a token, with all that goes on in its name. Blocks.
    ///
    /// # Errors
    /// When there is none, or that can't be remembered: then it still holds.
    pub fn revoke(&self, id: &str) -> Result<Listed, AccessError> {
        let mut inner = self.inner();
        let mut after = inner.credentials.clone();
        let entry = after.tokens.remove(id).ok_or_else(|| AccessError::NoToken(id.to_owned()))?;
        self.keep(&mut inner, after)?;
        if let Some(ends) = inner.ends.remove(id) {
            ends.cancel();
        }
        Ok(entry.listed(id))
    }

    /// Ends every token, user and session, so that the machine can be claimed anew. Its data stays. Blocks.
    ///
    /// # Errors
    /// When that can't be remembered: then all is as before.
    pub fn reset(&self, now: Instant) -> Result<(), AccessError> {
        let mut inner = self.inner();
        inner.pairing = Pairing::new(now).map_err(AccessError::Random)?;
        inner.challenges = Challenges::new(now).map_err(AccessError::Random)?;
        let after = inner.credentials.nobodys();
        self.keep(&mut inner, after)?;
        inner.ends.drain().for_each(|(_, it)| it.cancel());
        inner.sessions.end(|_| true);
        Ok(())
    }

    /// Tells whose token this is; none if nobody's, or nobody's any more.
    pub fn know(&self, presented: &str, now: Timestamp) -> Option<Caller> {
        let token = Token::parse(presented)?;
        let mut inner = self.inner();
        let entry = inner.credentials.tokens.get_mut(token.id())?;
        if !bool::from(entry.sha256.ct_eq(&token.fingerprint())) || entry.is_over(now) {
            return None;
        }
        let is_news = entry.last_used.is_none_or(|it| now.duration_since(it).abs() >= USED);
        if is_news {
            entry.last_used = Some(now);
        }
        let (name, role, scope) = (entry.label.as_str().into(), entry.role, entry.scope);
        inner.is_ahead |= is_news;
        let ended = inner.ends.entry(token.id().to_owned()).or_default().clone();
        Some(Caller { name, role, scope, is_session: false, ended })
    }

    /// Ends what goes on in the name of tokens and sessions that are over, and writes down when tokens were used. Blocks.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn tidy(&self, now: (Instant, Timestamp)) -> Result<(), AccessError> {
        let mut inner = self.inner();
        let Inner { credentials, ends, sessions, is_ahead, .. } = &mut *inner;
        let (instant, now) = now;
        sessions.tidy(instant);
        ends.retain(|id, end| {
            let holds = credentials.tokens.get(id).is_some_and(|it| !it.is_over(now));
            if !holds {
                end.cancel();
            }
            holds
        });
        if std::mem::take(is_ahead) {
            credentials.write(&self.path)?;
        }
        Ok(())
    }

    /// Writes it down, and only then lets it hold.
    fn keep(&self, inner: &mut Inner, after: Credentials) -> Result<(), AccessError> {
        if self.is_shut {
            return Err(AccessError::Shut);
        }
        after.write(&self.path)?;
        inner.credentials = after;
        self.changed.send_replace(());
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|it| it <= now)
    }

    fn listed(&self, id: &str) -> Listed {
        Listed {
            id: id.to_owned(),
            label: self.label.clone(),
            role: self.role,
            scope: self.scope,
            created: self.created,
            expires: self.expires,
            last_used: self.last_used,
        }
    }
}

fn is_label(text: &str) -> bool {
    (1..=LABEL).contains(&text.chars().count()) && !text.contains(char::is_control)
}

/// Fills a buffer from the kernel.
fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;

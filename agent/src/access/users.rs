//! Users with passwords. A password begins a session of a browser, and opens nothing else.

use std::{net::IpAddr, time::Instant};

use jiff::Timestamp;
use piccolo_schema::Role;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Access, AccessError, Caller, Digest, Inner, Opened, Session,
    credentials::{Account, Credentials},
};

/// The most users that a machine keeps.
pub(super) const MOST_USERS: usize = 100;
/// The longest name.
const NAME: usize = 32;

/// A user as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// When its password was set last.
    pub changed: Timestamp,
    /// How many sessions it has at present.
    pub sessions: usize,
}

impl Access {
    /// Returns what is kept of a password.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub async fn digest(&self, password: Zeroizing<String>) -> Result<Digest, AccessError> {
        self.passwords.digest(password).await
    }

    /// Makes a user. With the first one the machine is claimed: root on it is as good as its screen. Blocks.
    ///
    /// # Errors
    /// When the name can't be or is taken, there are too many, or that can't be remembered.
    pub fn add_user(&self, name: &str, role: Role, password: Digest, now: Timestamp) -> Result<User, AccessError> {
        if !is_name(name) {
            return Err(AccessError::Name);
        }
        let mut inner = self.inner();
        let mut after = inner.credentials.clone();
        if after.users.contains_key(name) {
            return Err(AccessError::UserThere(name.to_owned()));
        }
        if after.users.len() >= MOST_USERS {
            return Err(AccessError::FullOfUsers);
        }
        let account = Account { role, password, created: now, changed: now };
        let listed = account.listed(name, 0);
        after.users.insert(name.to_owned(), account);
        after.claimed = after.claimed.or(Some(now));
        self.keep(&mut inner, after)?;
        Ok(listed)
    }

    /// Gives a user another password or role, and ends its sessions. Blocks.
    ///
    /// # Errors
    /// When there is none, or that can't be remembered: then all is as before.
    pub fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        password: Option<Digest>,
        now: Timestamp,
    ) -> Result<User, AccessError> {
        self.alter(name, |after| {
            let account = after.users.get_mut(name)?;
            account.role = role.unwrap_or(account.role);
            if let Some(password) = password {
                (account.password, account.changed) = (password, now);
            }
            Some(account.listed(name, 0))
        })
    }

    /// Removes a user, and ends its sessions. Blocks.
    ///
    /// # Errors
    /// When there is none, or that can't be remembered: then it is still there.
    pub fn remove_user(&self, name: &str) -> Result<User, AccessError> {
        self.alter(name, |after| after.users.remove(name).map(|it| it.listed(name, 0)))
    }

    /// Returns every user.
    pub fn users(&self) -> Vec<User> {
        let Inner { credentials, sessions, .. } = &*self.inner();
        credentials.users.iter().map(|(name, it)| it.listed(name, sessions.count(name))).collect()
    }

    /// Begins a session for whoever knows the password. Who is unknown is told the same, after the same time.
    ///
    /// # Errors
    /// When name and password don't belong together, or too many tried.
    pub async fn log_in(
        &self,
        name: &str,
        password: Zeroizing<String>,
        from: Option<IpAddr>,
    ) -> Result<Opened, AccessError> {
        // A telephone begins words with a capital.
        let name = name.trim().to_ascii_lowercase();
        // What is no name is one account, so that nobody fills the memory with them.
        let account = if is_name(&name) { format!("user {name}") } else { "user".to_owned() };
        self.limits.count(from, &account).map_err(AccessError::TooMany)?;
        let digest = self.inner().credentials.users.get(&name).map(|it| it.password.clone());
        if !self.passwords.is(digest.clone(), password).await? {
            return Err(AccessError::WrongLogin);
        }
        let mut inner = self.inner();
        // It may have been removed, or given another password, meanwhile.
        let account = inner.credentials.users.get(&name).filter(|it| Some(&it.password) == digest.as_ref());
        let role = account.ok_or(AccessError::WrongLogin)?.role;
        let session = inner.sessions.open(&name, Instant::now())?;
        Ok(Opened { name, role, session })
    }

    /// Returns whether there is a user of this name, as people type it.
    pub fn is_user(&self, name: &str) -> bool {
        self.inner().credentials.users.contains_key(&name.trim().to_ascii_lowercase())
    }

    /// Tells whose session this is; none if nobody's, or nobody's any more.
    pub fn know_session(&self, shown: &Session, now: Instant) -> Option<Caller> {
        let Inner { credentials, sessions, .. } = &mut *self.inner();
        sessions.know(shown, |name| credentials.users.get(name).map(|it| it.role), now)
    }

    /// Ends the session with this cookie.
    pub fn log_out(&self, cookie: &str) {
        self.inner().sessions.close(cookie);
    }

    /// Changes a user, writes it down and ends its sessions.
    fn alter(&self, name: &str, change: impl FnOnce(&mut Credentials) -> Option<User>) -> Result<User, AccessError> {
        let mut inner = self.inner();
        let mut after = inner.credentials.clone();
        let user = change(&mut after).ok_or_else(|| AccessError::NoUser(name.to_owned()))?;
        self.keep(&mut inner, after)?;
        inner.sessions.end(|it| it == name);
        Ok(user)
    }
}

impl Account {
    fn listed(&self, name: &str, sessions: usize) -> User {
        User { name: name.to_owned(), role: self.role, created: self.created, changed: self.changed, sessions }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=NAME).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || ['.', '_', '-'].contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "correct horse battery";

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    async fn open(room: &tempfile::TempDir) -> Access {
        let access = Access::open(room.path(), Instant::now()).unwrap();
        let digest = access.digest(secret(GOOD)).await.unwrap();
        access.add_user("anna", Role::Operator, digest, now()).unwrap();
        access
    }

    #[tokio::test]
    async fn a_password_begins_a_session_and_is_kept_nowhere() {
        let room = tempfile::tempdir().unwrap();
        drop(open(&room).await);
        let access = Access::open(room.path(), Instant::now()).unwrap();
        assert!(access.is_claimed(), "root made a user, so it is somebody's");
        let opened = access.log_in(" Anna ", secret(GOOD), None).await.unwrap();
        let caller = access.know_session(&opened.session, Instant::now()).unwrap();
        assert_eq!((&*caller.name, caller.role, caller.is_session), ("anna", Role::Operator, true));
        assert!(access.know(&opened.session.cookie, now()).is_none(), "a cookie is no token");
        assert!(access.know(GOOD, now()).is_none(), "neither is a password");
        assert_eq!(access.users()[0].sessions, 1);
        let kept = std::fs::read_to_string(room.path().join("credentials.json")).unwrap();
        assert!(kept.contains("$argon2id$") && !kept.contains(GOOD) && !kept.contains(&*opened.session.cookie));
        access.log_out(&opened.session.cookie);
        assert!(caller.ended.is_cancelled() && access.know_session(&opened.session, Instant::now()).is_none());
    }

    #[tokio::test]
    async fn who_is_unknown_is_told_the_same() {
        let room = tempfile::tempdir().unwrap();
        let access = open(&room).await;
        let mut told = Vec::new();
        for (name, password) in [("anna", "correct horse batterx"), ("ben", GOOD), ("", GOOD), ("\u{0}", "")] {
            told.push(access.log_in(name, secret(password), None).await.unwrap_err().to_string());
        }
        assert!(told.windows(2).all(|it| it[0] == it[1]), "{told:?}");
    }

    #[tokio::test]
    async fn tries_are_counted_for_each_user() {
        let room = tempfile::tempdir().unwrap();
        let access = open(&room).await;
        let from = |number: u8| Some(IpAddr::from([192, 0, 2, number]));
        let mut heard = 0;
        for number in 0..20 {
            let tried = access.log_in("anna", secret("wrong"), from(number)).await;
            heard += usize::from(matches!(tried, Err(AccessError::WrongLogin)));
        }
        assert_eq!(heard, 5);
        assert!(matches!(access.log_in("anna", secret(GOOD), from(99)).await, Err(AccessError::TooMany(_))));
    }

    #[tokio::test]
    async fn a_session_ends_with_its_user_its_password_and_its_role() {
        let room = tempfile::tempdir().unwrap();
        let access = open(&room).await;
        let session = async |password| {
            let opened = access.log_in("anna", secret(password), None).await.unwrap();
            access.know_session(&opened.session, Instant::now()).unwrap()
        };
        let one = session(GOOD).await;
        access.change_user("anna", Some(Role::Reader), None, now()).unwrap();
        assert!(one.ended.is_cancelled());
        let two = session(GOOD).await;
        assert_eq!(two.role, Role::Reader);
        let other = "another horse battery";
        let digest = access.digest(secret(other)).await.unwrap();
        access.change_user("anna", None, Some(digest), now()).unwrap();
        assert!(two.ended.is_cancelled());
        assert!(access.log_in("anna", secret(GOOD), None).await.is_err());
        let three = session(other).await;
        access.remove_user("anna").unwrap();
        assert!(three.ended.is_cancelled() && access.users().is_empty());
        assert!(matches!(access.remove_user("anna"), Err(AccessError::NoUser(_))));
    }

    #[tokio::test]
    async fn names_have_bounds() {
        let room = tempfile::tempdir().unwrap();
        let access = open(&room).await;
        let digest = access.digest(secret(GOOD)).await.unwrap();
        for name in ["", "Anna", "a b", "-a", "ä", "a/b", &"x".repeat(33)] {
            let made = access.add_user(name, Role::Reader, digest.clone(), now());
            assert!(matches!(made, Err(AccessError::Name)), "{name}");
        }
        let made = access.add_user("anna", Role::Admin, digest.clone(), now());
        assert!(matches!(made, Err(AccessError::UserThere(_))));
        assert_eq!(access.users()[0].role, Role::Operator);
        for number in 1..MOST_USERS {
            access.add_user(&format!("user{number}"), Role::Reader, digest.clone(), now()).unwrap();
        }
        let made = access.add_user("one-more", Role::Reader, digest, now());
        assert!(matches!(made, Err(AccessError::FullOfUsers)));
    }
}

//! A machine without a screen is claimed by a file: the seed, which whoever installs it puts there before the first start.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER_PERMISSIVE;
use jiff::Timestamp;
use piccolo_schema::Role;
use serde::Deserialize;

use super::{
    Access, AccessError, Listed, PublicKey, Token,
    claimant::Claimant,
    credentials::{Entry, Scope},
    is_label,
    names::is_name,
    token::Fingerprint,
};

/// The largest seed that is read.
const LARGEST: u64 = 16 << 10;
/// The most names that one gives.
const NAMES: usize = 16;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a machine is given before its first start.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Further names by which it is reached.
    #[serde(default)]
    names: Vec<String>,
    /// The token of its first admin.
    token: Option<Seedling>,
    /// The key of whoever will claim it.
    key: Option<Claimant>,
}

/// What became of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planted {
    /// It says nothing new of who owns the machine, or somebody does already.
    Nothing,
    /// The machine belongs to whoever has this token.
    Token(Listed),
    /// It waits for the owner of the key with this fingerprint.
    Key(String),
}

/// What the machine keeps of a token that was made elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seedling {
    label: String,
    id: String,
    sha256: String,
    /// How long it holds; until it is revoked when left out, as the clock of a new machine may be years behind.
    days: Option<u32>,
}

/// Why a seed is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// It can't be read.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// Others than root could have written it.
    #[error("{} is not a file that root alone can write to; chown root it, and chmod 600 it", .0.display())]
    Unsafe(PathBuf),
    /// It is too large.
    #[error("{} is larger than 16 KiB", .0.display())]
    TooLarge(PathBuf),
    /// It is no seed.
    #[error("line {} of {} is not what a seed holds; `piccolo token seed` writes one", .1, .0.display())]
    Damaged(PathBuf, usize),
    /// It holds something that can't be.
    #[error("{}: {}", .0.display(), .1)]
    Wrong(PathBuf, &'static str),
}

impl Seed {
    /// Reads a seed; none if there is none. Blocks.
    ///
    /// # Errors
    /// When it can't be read, is not root's alone, or makes no sense. None of its words is told.
    pub fn read(path: &Path) -> Result<Option<Self>, SeedError> {
        let unread = |error| SeedError::Read(path.to_owned(), error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unread(error)),
        };
        let told = file.metadata().map_err(unread)?;
        // The daemon's own user, where that is not root.
        let own = fs::metadata("/proc/self").map_err(unread)?.uid();
        if !told.is_file() || ![0, own].contains(&told.uid()) || told.mode() & 0o022 != 0 {
            return Err(SeedError::Unsafe(path.to_owned()));
        }
        let mut text = String::new();
        file.take(LARGEST + 1).read_to_string(&mut text).map_err(unread)?;
        if text.len() as u64 > LARGEST {
            return Err(SeedError::TooLarge(path.to_owned()));
        }
        let seed: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|it| text.get(..it.start)).unwrap_or_default();
            SeedError::Damaged(path.to_owned(), before.matches('\n').count() + 1)
        })?;
        seed.check().map_err(|why| SeedError::Wrong(path.to_owned(), why))?;
        Ok(Some(seed))
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.names.len() > NAMES || !self.names.iter().all(|it| is_name(it)) {
            return Err("`names` has at most 16 names of hosts, without a port");
        }
        let key = self.key.as_ref();
        if self.token.is_some() && key.is_some() {
            return Err("a machine is claimed by `token` or by `key`, not by both");
        }
        // None has as many as the calendar.
        if key.and_then(|it| it.days).is_some_and(|days| ends(days, Timestamp::UNIX_EPOCH).is_err()) {
            return Err("`days` is too long");
        }
        match &self.token {
            Some(token) => token.entry(Timestamp::UNIX_EPOCH).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the words by which a machine waits for the owner of a key.
    pub fn of_key(key: &PublicKey, names: &[String]) -> String {
        format!("{}[key]\npublic = \"{key}\"\n", named(names))
    }

    /// Returns the words by which a machine is seeded with a token.
    pub fn text(token: &Token, label: &str, names: &[String]) -> String {
        let sha256 = data_encoding::HEXLOWER.encode(&token.fingerprint());
        let (names, label, id) = (named(names), quoted(label), token.id());
        format!("{names}[token]\nlabel = {label}\nid = \"{id}\"\nsha256 = \"{sha256}\"\n")
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn named(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|it| quoted(it)).collect();
    if names.is_empty() { String::new() } else { format!("names = [{}]\n\n", names.join(", ")) }
}

fn ends(days: u32, now: Timestamp) -> Result<Timestamp, jiff::Error> {
    now.checked_add(DAY * days)
}

impl Seedling {
    fn entry(&self, now: Timestamp) -> Result<Entry, &'static str> {
        let sha256 = HEXLOWER_PERMISSIVE.decode(self.sha256.as_bytes()).ok();
        let sha256: Option<Fingerprint> = sha256.and_then(|it| it.try_into().ok());
        let sha256 = sha256.ok_or("`sha256` has 64 hexadecimal digits")?;
        if !Token::is_id(&self.id) {
            return Err("`id` is the part of a token between its first two `_`");
        }
        if !is_label(&self.label) {
            return Err("`label` has 1 to 64 characters, none of them a control character");
        }
        let expires = self.days.map(|days| ends(days, now)).transpose();
        let expires = expires.map_err(|_| "`days` is too long")?;
        Ok(Entry {
            label: self.label.clone(),
            role: Role::Admin,
            scope: Scope::All,
            sha256,
            created: now,
            expires,
            last_used: None,
        })
    }
}

impl Access {
    /// Takes a seed: the machine belongs to whoever has its token, or waits for the owner of its key. One that is claimed
    /// takes none. Blocks.
    ///
    /// # Errors
    /// When that can't be remembered, so that it does not hold.
    pub fn plant(&self, seed: &Seed, now: Timestamp) -> Result<Planted, AccessError> {
        let mut inner = self.inner();
        if self.is_shut || inner.credentials.claimed.is_some() {
            return Ok(Planted::Nothing);
        }
        let mut after = inner.credentials.clone();
        after.names.clone_from(&seed.names);
        after.key.clone_from(&seed.key);
        let is_news = after.key != inner.credentials.key;
        let key = after.key.as_ref().filter(|_| is_news);
        let mut planted = key.map_or(Planted::Nothing, |it| Planted::Key(it.public.fingerprint()));
        // What can't be was found when it was read.
        let entry = seed.token.as_ref().and_then(|it| Some((it.id.to_ascii_lowercase(), it.entry(now).ok()?)));
        if let Some((id, entry)) = entry {
            planted = Planted::Token(entry.listed(&id));
            after.tokens.insert(id, entry);
            after.claimed = Some(now);
        }
        if after != inner.credentials {
            self.keep(&mut inner, after)?;
        }
        Ok(planted)
    }

    /// Returns further names that the machine was given by its seed.
    pub fn names(&self) -> Vec<String> {
        self.inner().credentials.names.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Instant};

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn read(text: &str, mode: u32) -> Result<Option<Seed>, SeedError> {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("seed.toml");
        crate::file::replace(&path, text.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Seed::read(&path)
    }

    #[test]
    fn a_machine_belongs_to_whoever_has_the_token_of_its_seed() {
        let room = tempfile::tempdir().unwrap();
        let token = Token::generate().unwrap();
        let text = Seed::text(&token, "anna's \"laptop\"", &["home.example.org".to_owned()]);
        assert!(!text.contains(&token.text()[13..40]), "{text}");
        let seed = read(&text, 0o600).unwrap().unwrap();
        let access = Access::open(room.path(), Instant::now()).unwrap();
        let Planted::Token(listed) = access.plant(&seed, now()).unwrap() else { panic!("it takes no seed") };
        assert_eq!((listed.role, listed.label.as_str(), listed.expires), (Role::Admin, "anna's \"laptop\"", None));
        assert!(access.is_claimed() && access.code(Instant::now()).unwrap().is_none());
        // All of it survives, also without the seed.
        let access = Access::open(room.path(), Instant::now()).unwrap();
        assert_eq!(access.names(), ["home.example.org"]);
        assert_eq!(access.know(&token.text(), now()).unwrap().role, Role::Admin);
        // A machine that is somebody's takes no other.
        let other = Token::generate().unwrap();
        let seed = read(&Seed::text(&other, "thief", &["evil.example".to_owned()]), 0o600).unwrap().unwrap();
        assert_eq!(access.plant(&seed, now()).unwrap(), Planted::Nothing);
        assert!(access.know(&other.text(), now()).is_none() && access.names() == ["home.example.org"]);
        // Root took all back: then it is anybody's who is there, but keeps its names.
        access.reset(Instant::now()).unwrap();
        assert_eq!(access.names(), ["home.example.org"]);
        assert!(matches!(access.plant(&seed, now()).unwrap(), Planted::Token(_)));
    }

    #[test]
    fn names_alone_claim_nothing() {
        let room = tempfile::tempdir().unwrap();
        let access = Access::open(room.path(), Instant::now()).unwrap();
        let seed = read("names = [\"attic.example.org\"]\n", 0o644).unwrap().unwrap();
        assert!(access.plant(&seed, now()).unwrap() == Planted::Nothing && !access.is_claimed());
        assert_eq!(access.names(), ["attic.example.org"]);
    }

    #[test]
    fn a_seed_that_is_not_roots_or_makes_no_sense_is_refused_without_its_words() {
        assert!(Seed::read(Path::new("/nowhere/seed.toml")).unwrap().is_none());
        let good = Seed::text(&Token::generate().unwrap(), "anna", &[]);
        for mode in [0o620, 0o602, 0o666] {
            assert!(matches!(read(&good, mode), Err(SeedError::Unsafe(_))), "{mode:o}");
        }
        assert!(matches!(Seed::read(Path::new("/dev")), Err(SeedError::Unsafe(_))));
        assert!(matches!(read(&"#".repeat(17 << 10), 0o600), Err(SeedError::TooLarge(_))));
        let canary = good.replace("label", "canary");
        for wrong in [&canary, "token = \"canary\"", "canary", "names = [\"canary canary\"]", "names = [\"canary:80\"]"]
        {
            let error = read(wrong, 0o600).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPSsnwtLxCMXqNn5GfwS3bbI7ghNPy14EV6uuLQ4gkPD";
        let by_key = format!("[key]\npublic = \"{key} anna's laptop\"\n");
        assert!(read(&by_key, 0o600).unwrap().is_some());
        for wrong in [by_key.replace("AAAAC3", "canary"), by_key.replace("public", "canary")] {
            let error = read(&wrong, 0o600).unwrap_err();
            assert!(matches!(error, SeedError::Damaged(..)) && !error.to_string().contains("canary"), "{error}");
        }
        assert!(matches!(read(&format!("{by_key}days = 4000000000\n"), 0o600), Err(SeedError::Wrong(..))));
        assert!(matches!(read(&format!("{good}{by_key}"), 0o600), Err(SeedError::Wrong(..))));
        for (from, to) in [
            ("id = \"", "id = \"x"),
            ("sha256 = \"", "sha256 = \"0"),
            ("\"anna\"", "\"\""),
            ("[token]", "[token]\ndays = 4000000000"),
        ] {
            let read = read(&good.replace(from, to), 0o600);
            assert!(matches!(read, Err(SeedError::Wrong(..))), "{to}: {read:?}");
        }
    }
}

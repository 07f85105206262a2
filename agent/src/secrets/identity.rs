use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use age::{secrecy::ExposeSecret, x25519};
use zeroize::Zeroizing;

use super::{
    DigestKey, Plain,
    seal::{OpenError, Recipient, open},
};

/// The most bytes of a key file: a key and some comments.
const LARGEST: usize = 16 << 10;

/// The key by which this machine reads what is encrypted for it.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

/// A key file that can't be used. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It can't be read.
    #[error("can't read the key file {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It can't be made.
    #[error("can't make the key file {}", .0.display())]
    Make(PathBuf, #[source] io::Error),
    /// It holds no key.
    #[error("{} holds no key (AGE-SECRET-KEY-1…); put the right file back, for without it no secret can be read", .0.display())]
    NoKey(PathBuf),
    /// Others may read it.
    #[error("others may read the key file {}; run: chmod 600 {}", .0.display(), .0.display())]
    Open(PathBuf),
}

impl Identity {
    /// Reads the key from its file, or makes both on the first start. A file that is there is never written.
    ///
    /// # Errors
    /// When the file can't be read or made, holds no key, or may be read by others.
    pub fn read_or_make(path: &Path) -> Result<Self, IdentityError> {
        match Self::read(path) {
            Err(IdentityError::Read(_, error)) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            other => other,
        }
    }

    /// Reads the key from its file, as `age-keygen` writes it: a line with the key, and perhaps comments.
    ///
    /// # Errors
    /// When the file can't be read, holds no key, or may be read by others.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let unreadable = |error| IdentityError::Read(path.to_owned(), error);
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
            return Err(IdentityError::Open(path.to_owned()));
        }
        Self::parse(&Plain::read(file, LARGEST).map_err(unreadable)?)
            .ok_or_else(|| IdentityError::NoKey(path.to_owned()))
    }

    /// Reads the key from what stands in its file; none if that is no key, or more than one.
    pub fn parse(text: &Plain) -> Option<Self> {
        let lines = std::str::from_utf8(text.expose()).unwrap_or_default().lines().map(str::trim);
        let mut keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (keys.next().and_then(|line| line.parse().ok()), keys.next()) {
            (Some(key), None) => Some(Self(key)),
            _ => None,
        }
    }

    /// Returns the key itself, `AGE-SECRET-KEY-1…`, for whoever has to keep it.
    pub fn text(&self) -> Plain {
        Plain::new(self.0.to_string().expose_secret().as_bytes().to_vec())
    }

    /// Makes a key that is kept nowhere.
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// Returns whom to encrypt for so that this key can read it.
    pub fn recipient(&self) -> Recipient {
        Recipient::new(self.0.to_public())
    }

    /// Decrypts a value.
    ///
    /// # Errors
    /// When it is for others, damaged or too large.
    pub fn open(&self, armour: &str) -> Result<Plain, OpenError> {
        open(armour, &self.0)
    }

    /// Returns the key of digests that are compared on this machine only.
    pub fn digest_key(&self) -> DigestKey {
        DigestKey::derive(self.0.to_string().expose_secret().as_bytes())
    }

    fn make(path: &Path) -> Result<Self, IdentityError> {
        let made = Self::generate();
        let text = Zeroizing::new(format!(
            "# The key of this machine. Without it no secret can be read: keep a copy where it is safe.\n\
             # public key: {}\n{}\n",
            made.recipient(),
            made.0.to_string().expose_secret(),
        ));
        match made.keep(path, &text) {
            Ok(()) => Ok(made),
            // Another start was quicker; there is one key, and it is the one in the file.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(IdentityError::Make(path.to_owned(), error)),
        }
    }

    /// Writes the key so that a loss of power leaves all of it or nothing, and never over another one.
    fn keep(&self, path: &Path, text: &str) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}", fastrand::u64(..)));
        let temporary = path.with_file_name(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            // Unlike a renaming, a link never takes the place of what is there.
            .and_then(|()| fs::hard_link(&temporary, path));
        // What is left of a failed try is a key that nothing is encrypted for.
        let removed = fs::remove_file(&temporary);
        written.and(removed)?;
        File::open(directory)?.sync_all()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

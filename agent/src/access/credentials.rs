//! What is remembered of those who may come in: one file, which must survive anything.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use piccolo_schema::Role;
use serde::{Deserialize, Serialize};

use super::{claimant::Claimant, password::Digest, token::Fingerprint};
use crate::file;

/// The most tokens that a machine keeps, so that its file and its list stay small.
pub(super) const MOST: usize = 1000;

/// Everybody who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Credentials {
    /// The form of the file.
    version: Version,
    /// When somebody made this machine theirs; none if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claimed: Option<Timestamp>,
    /// The tokens, by identifier.
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, Entry>,
    /// The users, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) users: BTreeMap<String, Account>,
    /// Further names of the machine, from its seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    /// Whose the machine will be, from its seed, as long as nobody has claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Claimant>,
}

/// The one form that there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "1")]
    One,
}

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    /// What people call it.
    pub(super) label: String,
    /// What it may do.
    pub(super) role: Role,
    /// To what that is narrowed.
    #[serde(default)]
    pub(super) scope: Scope,
    /// The SHA-256 of its secret.
    #[serde(with = "hex")]
    pub(super) sha256: Fingerprint,
    /// When it was made.
    pub(super) created: Timestamp,
    /// Until when it holds; none if for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    /// When it was used last, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_used: Option<Timestamp>,
}

/// One user, without the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Account {
    /// What it may do.
    pub(super) role: Role,
    /// What is kept of its password.
    pub(super) password: Digest,
    /// When it was made.
    pub(super) created: Timestamp,
    /// When its password was set last.
    pub(super) changed: Timestamp,
}

/// To what a token is narrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To nothing.
    #[default]
    All,
    /// To reading figures.
    Metrics,
}

/// Why what is remembered can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It can't be read.
    #[error("can't read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It can't be written.
    #[error("can't write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// It holds something else. It is never written over.
    #[error("{} can't be understood; put the right file back, or remove it: then the machine can be claimed anew", .0.display())]
    Damaged(PathBuf, #[source] serde_json::Error),
}

impl Credentials {
    /// Reads the file; one that is missing holds nobody.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|it| CredentialsError::Damaged(path.to_owned(), it)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(CredentialsError::Read(path.to_owned(), error)),
        }
    }

    /// Returns what is left once nobody may come in any more.
    pub(super) fn nobodys(&self) -> Self {
        Self { names: self.names.clone(), ..Self::default() }
    }

    /// Writes the file, whole, and returns when it will survive a loss of power. Blocks.
    pub(super) fn write(&self, path: &Path) -> Result<(), CredentialsError> {
        let written = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        let written = written.and_then(|bytes| file::replace(path, &bytes));
        written.map_err(|error| CredentialsError::Write(path.to_owned(), error))
    }
}

/// Digests as people compare them.
mod hex {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::access::token::Fingerprint;

    pub(super) fn serialize<S: Serializer>(bytes: &Fingerprint, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Fingerprint, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)?;
        bytes.try_into().map_err(|_| D::Error::custom("a SHA-256 has 64 digits"))
    }
}

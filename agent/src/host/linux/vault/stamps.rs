//! What each value was made from.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::files;

/// What one value was made from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    /// The digest of the value.
    pub(super) digest: String,
    /// The encrypted text.
    pub(super) sealed: String,
}

/// The stamps of all secrets.
pub(super) struct Stamps(PathBuf);

impl Stamps {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Returns the stamp of a secret by key. One that is not there, or can't be read, says nothing.
    pub(super) fn get(&self, name: &str) -> BTreeMap<String, Made> {
        let text = fs::read(self.path(name)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(super) fn put(&self, name: &str, stamp: &BTreeMap<String, Made>) -> io::Result<()> {
        files::make(&self.0, 0o700)?;
        files::put(&self.path(name), &serde_json::to_vec(stamp)?, 0o400, None)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        files::remove_all(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

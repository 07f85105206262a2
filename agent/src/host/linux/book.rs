//! A book: a small file for each thing of which something is written down that must survive anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    sync::Mutex,
};

use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use super::docker::lock;
use crate::{
    file,
    host::{HostError, Reason},
};

const ENDING: &str = ".json";

/// What is written down of each thing, by its name.
#[derive(Debug)]
pub struct Book<T> {
    home: PathBuf,
    pages: Mutex<Pages<T>>,
}

#[derive(Debug)]
struct Pages<T> {
    records: BTreeMap<String, T>,
    /// Files that can't be read. They are never written to: what they say would be lost.
    damaged: BTreeSet<String>,
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned> Book<T> {
    /// Reads all that is in this directory, which is made when it is first needed.
    pub fn open(home: PathBuf) -> io::Result<Self> {
        let mut pages = Pages { records: BTreeMap::new(), damaged: BTreeSet::new() };
        let entries = match fs::read_dir(&home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
            let Some(name) = name.map(str::to_owned) else { continue };
            match fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| read(&bytes)) {
                Ok(record) => drop(pages.records.insert(name, record)),
                Err(error) => {
                    warn!(path = %path.display(), %error, "can't be read, and is left as it is");
                    pages.damaged.insert(name);
                }
            }
        }
        Ok(Self { home, pages: Mutex::new(pages) })
    }

    /// Returns everything.
    pub fn records(&self) -> BTreeMap<String, T> {
        lock(&self.pages).records.clone()
    }

    /// Changes what is written of one thing, and returns when that will survive a loss of power.
    pub fn change(&self, subject: &str, change: impl FnOnce(&mut T)) -> Result<(), HostError> {
        let mut pages = lock(&self.pages);
        let path = self.home.join(format!("{subject}{ENDING}"));
        if pages.damaged.contains(subject) {
            let message = format!("`{}` can't be read; remove it to begin anew", path.display());
            return Err(HostError::new(Reason::Failed, message));
        }
        let before = pages.records.get(subject);
        let mut after = before.cloned().unwrap_or_default();
        change(&mut after);
        if before == Some(&after) {
            return Ok(());
        }
        let written = serde_json::to_vec_pretty(&after).map_err(io::Error::from);
        written.and_then(|bytes| file::replace(&path, &bytes)).map_err(|error| {
            let reason = if error.kind() == io::ErrorKind::StorageFull { Reason::DiskFull } else { Reason::Failed };
            HostError::new(reason, format!("`{}` can't be written ({error})", path.display()))
        })?;
        pages.records.insert(subject.to_owned(), after);
        Ok(())
    }

    /// Forgets what is written of one thing.
    pub fn forget(&self, subject: &str) -> Result<(), HostError> {
        let mut pages = lock(&self.pages);
        if pages.records.remove(subject).is_none() {
            return Ok(());
        }
        let path = self.home.join(format!("{subject}{ENDING}"));
        let trouble =
            |error| HostError::new(Reason::Failed, format!("`{}` can't be removed ({error})", path.display()));
        file::gone(fs::remove_file(&path)).map_err(trouble)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;
    use crate::host::Record;

    #[test]
    fn a_failure_outlives_the_daemon_and_another_image() {
        let room = tempfile::tempdir().unwrap();
        let book: Book<Record> = Book::open(room.path().join("updates")).unwrap();
        book.change("db", |record| record.condemn("sha256:bad", "it ended")).unwrap();
        book.change("db", |record| record.offer("db:2", "sha256:new", jiff::Timestamp::UNIX_EPOCH)).unwrap();
        let again: Book<Record> = Book::open(room.path().join("updates")).unwrap();
        let record = &again.records()["db"];
        assert_eq!((record.failed["sha256:bad"].as_str(), record.offered.as_deref()), ("it ended", Some("sha256:new")));
    }

    #[test]
    fn a_damaged_file_is_left_as_it_is() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("db.json"), "{").unwrap();
        fs::write(room.path().join("db.writing"), "half").unwrap();
        let book: Book<Record> = Book::open(room.path().to_owned()).unwrap();
        assert!(book.records().is_empty());
        assert!(book.change("db", |record| record.commit("sha256:new", None)).is_err());
        assert_eq!(fs::read_to_string(room.path().join("db.json")).unwrap(), "{");
    }
}

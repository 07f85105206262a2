//! The stamps of containers that were adopted. The labels of a container that runs can't be changed, so its stamp is kept
//! beside it: a small file a container.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use super::{book::Book, docker::lock, volumes::blocking};
use crate::host::{HostError, Stamp};

/// How long the stamp of a container that is not seen is kept. An engine whose disk is not mounted shows none at all.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The stamps of containers that were adopted, by identifier.
#[derive(Clone, Debug)]
pub(super) struct Adopted(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    book: Book<Stamp>,
    /// Since when containers with a stamp have not been seen.
    unseen: Mutex<HashMap<String, Instant>>,
}

impl Adopted {
    /// Reads the stamps below `home`.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) fn open(home: &Path) -> io::Result<Self> {
        let book = Book::open(home.join("adopted"))?;
        Ok(Self(Arc::new(Inner { book, unseen: Mutex::default() })))
    }

    /// Returns all stamps.
    pub(super) fn stamps(&self) -> BTreeMap<String, Stamp> {
        self.0.book.records()
    }

    /// Writes down that a container is ours, and returns when that will survive a loss of power.
    pub(super) async fn put(&self, id: &str, stamp: Stamp) -> Result<(), HostError> {
        let (inner, id) = (Arc::clone(&self.0), id.to_owned());
        blocking(move || inner.book.change(&id, |written| *written = stamp)).await
    }

    /// Forgets the stamp of a container that is gone.
    pub(super) fn forget(&self, id: &str) {
        lock(&self.0.unseen).remove(id);
        // A file that stays behind is about a container that never comes again.
        if let Err(error) = self.0.book.forget(id) {
            warn!(%error, "can't forget an adopted container that is gone");
        }
    }

    /// Forgets stamps whose containers have not been seen for long: nobody tells of what goes while nobody listens.
    pub(super) fn keep(&self, here: &BTreeSet<&str>) {
        let now = Instant::now();
        let mut unseen = lock(&self.0.unseen);
        unseen.retain(|id, _| !here.contains(id.as_str()));
        let stamps = self.stamps();
        let missing: Vec<&String> = stamps.keys().filter(|id| !here.contains(id.as_str())).collect();
        let gone = missing.into_iter().filter(|id| now - *unseen.entry((*id).clone()).or_insert(now) >= KEPT);
        let gone: Vec<&String> = gone.collect();
        drop(unseen);
        gone.into_iter().for_each(|id| self.forget(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { subject: "web".to_owned(), ..Stamp::default() }
    }

    #[tokio::test]
    async fn a_stamp_outlives_the_daemon_and_ends_with_its_container() {
        let room = tempfile::tempdir().unwrap();
        Adopted::open(room.path()).unwrap().put("1f", stamp()).await.unwrap();
        let again = Adopted::open(room.path()).unwrap();
        assert_eq!(again.stamps(), [("1f".to_owned(), stamp())].into());
        again.forget("1f");
        assert!(Adopted::open(room.path()).unwrap().stamps().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_is_not_seen_for_a_while_is_still_ours() {
        let room = tempfile::tempdir().unwrap();
        let adopted = Adopted::open(room.path()).unwrap();
        for id in ["1f", "2e"] {
            adopted.put(id, stamp()).await.unwrap();
        }
        adopted.keep(&BTreeSet::new());
        tokio::time::advance(KEPT / 2).await;
        adopted.keep(&BTreeSet::from(["1f"]));
        tokio::time::advance(KEPT / 2).await;
        adopted.keep(&BTreeSet::new());
        assert_eq!(adopted.stamps().into_keys().collect::<Vec<_>>(), ["1f"]);
    }
}

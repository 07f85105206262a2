//! The directory of manifests: the only truth about what is wanted. Nobody else touches it.

mod error;
mod snapshot;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use piccolo_schema::Kind;
use serde_json::Value;
use tokio::sync::watch;

pub use self::{
    error::{Expect, WriteError, Written},
    snapshot::{Declaration, Identity, Problem, Snapshot, reason},
};

/// The directory of manifests, watched.
///
/// Clones are handles to the same directory; the watch ends with the last of them.
#[derive(Clone)]
pub struct Manifests {
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Manifests {
    /// Reads the directory and begins to watch it. A directory that is missing or unreadable is a problem in the
    /// snapshot, and looked for again.
    pub async fn open(_root: PathBuf) -> Self {
        Self { snapshots: watch::Sender::new(Arc::default()) }
    }

    /// Returns what the directory says now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Follows what the directory says.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Makes or changes a manifest. Of an existing file only what differs is rewritten; comments, order and blank lines
    /// stay. The snapshot shows it before this returns. Dropped half-way, the file is either as before or as asked.
    pub async fn put(&self, _manifest: &Value, _expect: impl Into<Expect>) -> Result<Written, WriteError> {
        Err(WriteError::Stopping)
    }

    /// Makes or replaces a manifest by this very text. Otherwise as [`Manifests::put`].
    pub async fn put_text(
        &self,
        _kind: Kind,
        _name: &str,
        _toml: &str,
        _expect: impl Into<Expect>,
    ) -> Result<Written, WriteError> {
        Err(WriteError::Stopping)
    }

    /// Removes a manifest. Whoever asks for this one by name has confirmed its removal.
    pub async fn delete(&self, _kind: Kind, _name: &str, _expect: impl Into<Expect>) -> Result<(), WriteError> {
        Err(WriteError::Stopping)
    }

    /// Confirms removals that are held.
    pub async fn consent(&self, _removals: BTreeSet<(Kind, String)>) {}
}

//! The directory of manifests: the only truth about what is wanted. Nobody else touches it.
//!
//! Events of the file system are hints. After each the whole tree is looked at, and only files whose stamp has changed are
//! read.

mod change;
mod edit;
mod endings;
mod error;
mod file;
mod limit;
mod merge;
mod put_back;
mod read;
mod set;
mod snapshot;
mod swap;
mod tree;
mod trial;
mod trials;
mod view;
mod walk;
mod watcher;
mod write;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use piccolo_schema::{Kind, Role};
use serde_json::Value;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::spawn_blocking,
};
use tokio_util::task::AbortOnDropHandle;

pub use self::{
    change::{By, Change, Door, Who},
    error::{Expect, WriteError, Written},
    file::save,
    read::etag,
    set::Texts,
    snapshot::{Declaration, Identity, Problem, Snapshot, reason},
    trial::{CHANGE, Ended, Trial, Trials},
};
use self::{edit::Content, tree::Tree, trial::Terms, watcher::Watcher};

/// The directory of manifests, watched.
///
/// Clones are handles to the same directory; the watch ends with the last of them.
#[derive(Clone)]
pub struct Manifests {
    shared: Shared,
    by: By,
    /// How long writes wait for a confirmation; none if they need none.
    within: Option<Duration>,
    /// What its writes may change.
    limit: Role,
    _watch: Arc<AbortOnDropHandle<()>>,
}

/// The tree, and the way to tell others about it. Only who holds the tree tells.
#[derive(Clone)]
struct Shared {
    tree: Arc<Mutex<Tree>>,
    teller: Teller,
}

/// Who hears of a new snapshot.
#[derive(Clone)]
struct Teller {
    snapshots: watch::Sender<Arc<Snapshot>>,
    changes: Option<mpsc::Sender<Change>>,
    trials: watch::Sender<Trials>,
}

impl Manifests {
    /// Reads the directory and begins to watch it. A directory that is missing or unreadable is a problem in the
    /// snapshot, and looked for again.
    pub async fn open(root: PathBuf) -> Self {
        Self::open_with(root, None).await
    }

    /// Opens it as [`Manifests::open`] does, and sends each change here, one by one and with its author. Whoever listens
    /// must go on listening: while the queue is full, nothing is read and nothing written.
    pub async fn open_recorded(root: PathBuf, changes: mpsc::Sender<Change>) -> Self {
        Self::open_with(root, Some(changes)).await
    }

    async fn open_with(root: PathBuf, changes: Option<mpsc::Sender<Change>>) -> Self {
        let root = std::path::absolute(&root).unwrap_or(root);
        let tree = Tree::new(root.clone());
        let teller = Teller { snapshots: watch::Sender::default(), changes, trials: watch::Sender::default() };
        let shared = Shared { tree: Arc::new(Mutex::new(tree)), teller };
        // The watch comes first, so that no change falls between it and the first look.
        let watcher = spawn_blocking(move || Watcher::new(root)).await;
        let begin = |tree: &mut Tree| {
            tree.tidy();
            tree.resume_trial();
        };
        let _ = shared.work(By::default(), begin).await;
        // What nobody confirmed while the agent was down is put back before anybody reads it.
        let _ = shared.put_back_if_due().await;
        let watching = shared.clone();
        let watch = tokio::spawn(async move {
            let follow = async {
                if let Ok(watcher) = watcher {
                    watching.follow(watcher).await;
                }
            };
            tokio::join!(follow, watching.end_trials());
        });
        Self {
            shared,
            by: By::default(),
            within: None,
            limit: Role::Admin,
            _watch: Arc::new(AbortOnDropHandle::new(watch)),
        }
    }

    /// Returns a handle whose writes are this author's.
    pub fn by(&self, by: By) -> Self {
        Self { by, ..self.clone() }
    }

    /// Returns a handle that writes no more than this role may, and no more than this one does.
    pub fn limited(&self, role: Role) -> Self {
        Self { limit: self.limit.min(role), ..self.clone() }
    }

    /// Returns a handle whose writes are put back unless they are confirmed within this time, at most a day; all of them
    /// together, also those that join a trial which others began. Meanwhile every other write is refused, but a hand's.
    pub fn on_trial(&self, within: Duration) -> Self {
        Self { within: Some(within), ..self.clone() }
    }

    /// Returns what the directory says now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.teller.snapshots.borrow())
    }

    /// Follows what the directory says.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.teller.snapshots.subscribe()
    }

    /// Looks at the directory now, and returns what it says.
    pub async fn look(&self) -> Result<Arc<Snapshot>, WriteError> {
        self.shared.work(By::default(), |_| ()).await?;
        Ok(self.snapshot())
    }

    /// Returns the text of a manifest's file and its fingerprint, to be changed by a person and put back.
    pub async fn text(&self, kind: Kind, name: &str) -> Result<(String, String), WriteError> {
        let name = name.to_owned();
        self.shared.work(By::default(), move |tree| tree.text(kind, &name)).await?
    }

    /// Makes or changes a manifest. Of an existing file only what differs is rewritten; comments, order and blank lines
    /// stay. The snapshot shows it before this returns. Dropped half-way, the file is either as before or as asked.
    pub async fn put(&self, manifest: &Value, expect: impl Into<Expect>) -> Result<Written, WriteError> {
        let (content, expect) = (Content::from_value(manifest)?, expect.into());
        self.write(move |tree| tree.put(&content, &expect)).await
    }

    /// Makes or replaces a manifest by this very text. Otherwise as [`Manifests::put`].
    pub async fn put_text(
        &self,
        kind: Kind,
        name: &str,
        toml: &str,
        expect: impl Into<Expect>,
    ) -> Result<Written, WriteError> {
        let (content, expect) = (Content::from_text(kind, name, toml)?, expect.into());
        self.write(move |tree| tree.put(&content, &expect)).await
    }

    /// Removes a manifest. Whoever asks for this one by name has confirmed its removal. Dropped half-way, the file is
    /// there or gone.
    pub async fn delete(&self, kind: Kind, name: &str, expect: impl Into<Expect>) -> Result<(), WriteError> {
        let (name, expect) = (name.to_owned(), expect.into());
        self.write(move |tree| tree.delete(kind, &name, &expect)).await
    }

    /// Puts these texts in place of all that is declared, if that is still what `base` says. Nobody sees a mixture: killed
    /// at any moment, all is as before or as asked. Files that can't be understood stay, and are not written over.
    pub async fn replace(&self, texts: Texts, base: Arc<Snapshot>) -> Result<(), WriteError> {
        self.write(move |tree| tree.replace(&texts, &base)).await
    }

    /// Tells whether a write of this handle may make one of the other.
    ///
    /// # Errors
    /// Names the first manifest that it may not.
    pub fn permits(&self, before: &Snapshot, after: &Snapshot) -> Result<(), WriteError> {
        limit::changed(before, after).try_for_each(|it| limit::check(self.limit, it))
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Tree) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (terms, limit) = (self.within.map(|within| Terms { within, door: self.by.door }), self.limit);
        self.shared.work(self.by.clone(), move |tree| tree.on_terms(terms, limit, write)).await?
    }

    /// Confirms removals that are held. A confirmation ends when its manifest is declared again.
    pub async fn consent(&self, removals: BTreeSet<(Kind, String)>) {
        // Nothing is lost when the agent is shutting down: a confirmation lives in memory only.
        let _ = self.shared.work(By::default(), move |tree| tree.consented.extend(removals)).await;
    }
}

impl Shared {
    /// Works on the tree alone, looks at all of it and tells what it says. Once begun it ends, even if nobody waits.
    async fn work<T: Send + 'static>(
        &self,
        by: By,
        work: impl FnOnce(&mut Tree) -> T + Send + 'static,
    ) -> Result<T, WriteError> {
        let mut tree = Arc::clone(&self.tree).lock_owned().await;
        let teller = self.teller.clone();
        let working = spawn_blocking(move || {
            let done = work(&mut tree);
            // What a write found there was not changed by the writer.
            if let Some(found) = tree.found.take() {
                teller.tell(found, By::default());
            }
            teller.tell(tree.rescan(), by);
            teller.tell_trials(&tree.trials);
            done
        });
        working.await.map_err(|_| WriteError::Stopping)
    }

    /// Looks again whenever something may have changed. Ends when it is dropped.
    async fn follow(&self, mut watcher: Watcher) {
        loop {
            if watcher.changed().await {
                let rewatched = spawn_blocking(move || watcher.anew()).await;
                let Ok(rewatched) = rewatched else { return };
                watcher = rewatched;
            }
            if self.work(By::default(), |_| ()).await.is_err() {
                tracing::error!("the manifests could not be read");
            }
        }
    }
}

impl Teller {
    /// Tells of a snapshot, if it is a new one. Blocks.
    fn tell(&self, snapshot: Arc<Snapshot>, by: By) {
        let is_new = self.snapshots.send_if_modified(|shown| {
            let is_new = !Arc::ptr_eq(shown, &snapshot);
            shown.clone_from(&snapshot);
            is_new
        });
        if let (true, Some(changes)) = (is_new, &self.changes) {
            // Nobody listens any more when the agent is shutting down.
            let _ = changes.blocking_send(Change { snapshot, by });
        }
    }
}

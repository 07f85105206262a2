//! Hints that something changed, and when it has settled.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

/// How long the tree must be quiet after a change that is whole in itself.
const QUIET: Duration = Duration::from_millis(30);
/// How long it must be quiet while a writer has not closed its file yet.
const WRITING: Duration = Duration::from_millis(500);
/// The longest that a storm of changes is waited out.
const STORM: Duration = Duration::from_secs(1);
/// How often the tree is read although nothing was heard, in case something was missed.
const SAFETY: Duration = Duration::from_secs(300);
/// The same while it can't be watched.
const BLIND: Duration = Duration::from_secs(60);

/// What notify's thread leaves for the task: one hint, however many events there were.
#[derive(Default)]
struct Mailbox {
    hint: Mutex<Option<Hint>>,
    arrived: Notify,
}

#[derive(Clone, Copy)]
struct Hint {
    settle: Duration,
    /// Directories have changed, or events were lost: the watch itself may have holes.
    rewatch: bool,
}

/// Watches the tree and the directory that it stands in.
pub(super) struct Watcher {
    root: PathBuf,
    mailbox: Arc<Mailbox>,
    watch: Option<RecommendedWatcher>,
    /// Device and inode of the directory that is watched.
    watched: Option<(u64, u64)>,
}

impl Watcher {
    /// Watches from now on. Blocks.
    pub(super) fn new(root: PathBuf) -> Self {
        let mut watcher = Self { root, mailbox: Arc::default(), watch: None, watched: None };
        watcher.rewatch();
        watcher
    }

    /// Waits until something may have changed and the writers are done. Returns true if the watch has to be made anew.
    /// Dropped half-way it forgets no hint that is not older than the wait.
    pub(super) async fn changed(&self) -> bool {
        let idle = if self.watch.is_some() { SAFETY } else { BLIND };
        if time::timeout(idle, self.mailbox.arrived.notified()).await.is_err() {
            return self.needs_rewatch();
        }
        let (mut rewatch, limit) = (false, Instant::now() + STORM);
        while let Some(hint) = self.mailbox.take() {
            rewatch |= hint.rewatch;
            let quiet = (Instant::now() + hint.settle).min(limit);
            if time::timeout_at(quiet, self.mailbox.arrived.notified()).await.is_err() {
                break;
            }
        }
        rewatch || self.needs_rewatch()
    }

    /// Returns true if the directory at the root is not the one that is watched.
    fn needs_rewatch(&self) -> bool {
        self.watch.is_none() || self.watched != place(&self.root)
    }

    /// Returns it with its watch begun anew. Blocks.
    pub(super) fn anew(mut self) -> Self {
        self.rewatch();
        self
    }

    fn rewatch(&mut self) {
        match self.begin() {
            Ok((watch, watched)) => (self.watch, self.watched) = (Some(watch), watched),
            Err(error) => {
                let seconds = BLIND.as_secs();
                tracing::warn!(%error, seconds, "can't watch the manifests' directory; it is read again and again");
                (self.watch, self.watched) = (None, None);
            }
        }
    }

    fn begin(&self) -> notify::Result<(RecommendedWatcher, Option<(u64, u64)>)> {
        let (mailbox, root) = (Arc::clone(&self.mailbox), self.root.clone());
        let real = fs::canonicalize(&self.root).ok();
        let target = real.clone();
        let listener = move |event| mailbox.put(event, &root, target.as_deref());
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut watch = RecommendedWatcher::new(listener, config)?;
        // The way to the root tells when the root itself is swapped.
        for directory in [Some(&self.root), real.as_ref()].into_iter().flatten() {
            if let Some(above) = directory.ancestors().skip(1).find(|above| above.is_dir()) {
                watch.watch(above, RecursiveMode::NonRecursive)?;
            }
        }
        let watched = place(&self.root);
        if let (Some(real), Some(_)) = (&real, watched) {
            watch.watch(real, RecursiveMode::Recursive)?;
        }
        Ok((watch, watched))
    }
}

impl Mailbox {
    fn take(&self) -> Option<Hint> {
        self.hint.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Called on notify's thread.
    fn put(&self, event: notify::Result<Event>, root: &Path, real: Option<&Path>) {
        let hint = match event {
            Ok(event) if !concerns(&event, root, real) => return,
            Ok(event) => weigh(&event),
            Err(_) => Some(Hint { settle: QUIET, rewatch: true }),
        };
        let Some(mut hint) = hint else { return };
        let mut waiting = self.hint.lock().unwrap_or_else(PoisonError::into_inner);
        hint.rewatch |= waiting.is_some_and(|waiting| waiting.rewatch);
        *waiting = Some(hint);
        self.arrived.notify_one();
    }
}

/// Returns true if the event is about the tree, not about its neighbours.
fn concerns(event: &Event, root: &Path, real: Option<&Path>) -> bool {
    let near = |path: &Path, root: &Path| path.starts_with(root) || root.starts_with(path);
    event.paths.is_empty()
        || event.paths.iter().any(|path| near(path, root) || real.is_some_and(|real| near(path, real)))
}

/// Returns what an event hints at, none for reading.
fn weigh(event: &Event) -> Option<Hint> {
    if event.need_rescan() {
        return Some(Hint { settle: QUIET, rewatch: true });
    }
    let (settle, rewatch) = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => (QUIET, false),
        EventKind::Access(_) => return None,
        EventKind::Modify(ModifyKind::Data(_)) => (WRITING, false),
        EventKind::Create(CreateKind::Folder) => (QUIET, true),
        // A rename does not say what was renamed.
        EventKind::Modify(ModifyKind::Name(_)) => (QUIET, event.paths.iter().any(|path| path.is_dir())),
        _ => (QUIET, false),
    };
    Some(Hint { settle, rewatch })
}

fn place(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

//! What the agent remembers: the latest status of everything, and the journal of what happened.
//!
//! A cache and a history, nothing more: it can be deleted without harm. Readers read memory; a task writes to disk what
//! changed, one batch and one sync for a whole burst. A store that does not check out to the last record is set aside
//! and begun anew.

mod codec;
mod disk;
mod history;
mod journal;
mod ledger;
mod mirror;
mod object;
mod open;
mod persist;
mod view;

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use piccolo_schema::Kind;
use serde_json::Value;
use tokio::{
    sync::{Notify, broadcast, oneshot},
    task::JoinHandle,
};

pub use self::view::{
    Change, ChangeType, Counters, Declared, Event, EventQuery, Health, HeldView, PlanView, Severity, StepView,
    WaitingView,
};
use self::{
    disk::{Contents, DiskError},
    journal::Journal,
    mirror::Mirror,
    open::Opened,
    persist::Persist,
};
use crate::clock;

/// A store that can't be used at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent uses it.
    #[error("another piccolod uses the store in {}", .0.display())]
    Busy(PathBuf),
    /// Its directory can't be made or locked.
    #[error("can't use {} as the store's directory", dir.display())]
    Open {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// The pen: the controller's side of the store. There is one. What is not closed is written all the same, but nobody
/// can wait for it.
pub struct Writer {
    shared: Arc<Shared>,
    persist: Mutex<Option<Persisting>>,
}

/// The glasses: everybody else's side of the store.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

struct Shared {
    mirror: Mutex<Mirror>,
    /// Wakes the task that writes to disk.
    wake: Notify,
}

struct Persisting {
    close: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Opens the store in this directory, or begins a new one there. Beside it stand its lock and damaged stores.
///
/// Files that can't be used at present, on a full disk for instance, are no error: everything is then kept in memory and
/// tried again. Dropped half-way it leaves no store open for longer than it takes to open.
pub async fn open(dir: &Path) -> Result<(Writer, Reader), StoreError> {
    let lock = open::lock(dir).await?;
    let (disk, contents, trouble) = match open::open(dir).await {
        Opened::Good(disk, contents) => (Some(disk), contents, None),
        Opened::Rebuilt(disk, aside, cause) => {
            (Some(disk), Contents::default(), Some(Trouble::Rebuilt(persist::rebuilt(&aside, &cause))))
        }
        Opened::Unavailable(error) => (None, Contents::default(), Some(Trouble::Unavailable(error))),
    };
    let shared = Arc::new(Shared::new(contents));
    shared.health("store", true, "what is remembered is on disk");
    match trouble {
        None => {}
        Some(Trouble::Rebuilt(event)) => shared.mirror().event(event),
        Some(Trouble::Unavailable(error)) => shared.unavailable(&error),
    }
    // A new store must reserve its versions, and what could not be opened must be tried again.
    shared.wake.notify_one();
    let (close, closed) = oneshot::channel();
    let persist = Persist { shared: Arc::clone(&shared), dir: dir.to_owned(), disk, _lock: lock };
    let task = tokio::spawn(persist.run(closed));
    let writer = Writer { shared: Arc::clone(&shared), persist: Mutex::new(Some(Persisting { close, task })) };
    Ok((writer, Reader { shared }))
}

enum Trouble {
    Rebuilt(Event),
    Unavailable(DiskError),
}

impl Shared {
    fn new(contents: Contents) -> Self {
        // A new store begins where no older one can have come to, so that no version is ever given twice.
        let fresh = || u64::try_from(clock::now().as_microsecond()).unwrap_or(1);
        let reserved = contents.reserved.unwrap_or_else(fresh);
        let journal = Journal::new(contents.first_event, contents.events);
        let mirror = Mutex::new(Mirror::new(contents.objects, journal, reserved));
        Self { mirror, wake: Notify::new() }
    }

    /// Every change of the mirror is complete before anything in it can panic, so a poisoned lock is still good.
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self, component: &'static str, ok: bool, message: impl Into<String>) {
        self.mirror().healths.insert(component, Health { ok, message: message.into() });
    }

    fn unavailable(&self, error: &DiskError) {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        tracing::warn!(error = cause, "nothing can be written to the store; everything is kept in memory");
        self.health("store", false, format!("kept in memory only, tried again each minute: {cause}"));
    }
}

impl Writer {
    /// Takes in a manifest: a new object, a new generation when its spec changed, nothing when it did not.
    pub fn declare(&self, kind: Kind, name: &str, manifest: &Value) -> Declared {
        let declared = self.shared.mirror().declare(kind, name, manifest);
        self.shared.wake.notify_one();
        declared
    }

    /// Takes an object out; watchers see it deleted.
    pub fn undeclare(&self, kind: Kind, name: &str) {
        if self.shared.mirror().undeclare(kind, name) {
            self.shared.wake.notify_one();
        }
    }

    /// Remembers how a thing stands. Does nothing when it stands as before, or when nobody declared it.
    pub fn report(&self, kind: Kind, name: &str, status: Value) {
        if self.shared.mirror().report(kind, name, status) {
            self.shared.wake.notify_one();
        }
    }

    /// Remembers that this generation was settled once, so that later work on it is drift.
    pub fn settled(&self, kind: Kind, name: &str, generation: i64) {
        if self.shared.mirror().settled(kind, name, generation) {
            self.shared.wake.notify_one();
        }
    }

    /// Appends to the journal. The store gives the event its number and time.
    pub fn event(&self, event: Event) {
        self.shared.mirror().event(event);
        self.shared.wake.notify_one();
    }

    /// Shows the plan of a kind. In memory only.
    pub fn plan(&self, kind: Kind, plan: PlanView) {
        self.shared.mirror().plans.insert(kind, Arc::new(plan));
    }

    /// Counts a pass over a kind. In memory only.
    pub fn passed(&self, kind: Kind) {
        self.shared.mirror().work.entry(kind).or_default().passes += 1;
    }

    /// Counts a step that was applied, or failed. In memory only.
    pub fn stepped(&self, kind: Kind, applied: bool) {
        let mut mirror = self.shared.mirror();
        let work = mirror.work.entry(kind).or_default();
        if applied {
            work.applied += 1;
        } else {
            work.failed += 1;
        }
    }

    /// Shows how a part of the agent stands. In memory only.
    pub fn health(&self, component: &'static str, ok: bool, message: impl Into<String>) {
        self.shared.health(component, ok, message);
    }

    /// Returns the status that was reported last, by whichever run of the agent.
    pub fn status(&self, kind: Kind, name: &str) -> Option<Value> {
        self.shared.mirror().objects.get(&(kind, name.to_owned()))?.object.get("status").cloned()
    }

    /// Returns the identity of every object.
    pub fn declared(&self) -> Vec<(Kind, String)> {
        self.shared.mirror().objects.keys().cloned().collect()
    }

    /// Writes what is left and closes the files. Later changes stay in memory. Dropped half-way, the rest is written
    /// all the same while the runtime lives.
    pub async fn close(&self) {
        let persisting = self.persist.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Persisting { close, task }) = persisting {
            // The task has already ended when nobody hears this.
            let _ = close.send(());
            let _ = task.await;
        }
    }
}

impl Reader {
    /// Returns one object: apiVersion, kind, metadata, spec and status.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.shared.mirror().objects.get(&(kind, name.to_owned())).map(|record| Arc::clone(&record.object))
    }

    /// Returns all objects of a kind by name, and the version of that list.
    pub fn list(&self, kind: Kind) -> (u64, Vec<Arc<Value>>) {
        let mirror = self.shared.mirror();
        (mirror.version(), mirror.list(kind))
    }

    /// Returns the changes after this version, and those to come without a gap. None when the version is too old, or
    /// not one of this store's: list again.
    pub fn since(&self, version: u64) -> Option<(Vec<Change>, broadcast::Receiver<Change>)> {
        let mirror = self.shared.mirror();
        mirror.history.since(version, mirror.version())
    }

    /// Reads the journal, the newest event last.
    pub fn events(&self, query: &EventQuery) -> Vec<Event> {
        self.shared.mirror().journal.read(query)
    }

    /// Reads the journal and follows it without a gap. The query's filter is not applied to what follows.
    pub fn follow_events(&self, query: &EventQuery) -> (Vec<Event>, broadcast::Receiver<Arc<Event>>) {
        let mirror = self.shared.mirror();
        (mirror.journal.read(query), mirror.journal.follow())
    }

    /// Returns the latest plan of each kind.
    pub fn plans(&self) -> BTreeMap<Kind, Arc<PlanView>> {
        self.shared.mirror().plans.clone()
    }

    /// Returns how each part of the agent stands.
    pub fn healths(&self) -> BTreeMap<&'static str, Health> {
        self.shared.mirror().healths.clone()
    }

    /// Returns the store's figures.
    pub fn counters(&self) -> Counters {
        self.shared.mirror().counters()
    }
}

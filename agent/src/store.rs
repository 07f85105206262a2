//! What the agent remembers: the latest status of everything, and the journal of what happened.
//!
//! A cache and a history, nothing more: it can be deleted without harm. Readers read memory; a task writes to disk what
//! changed, one batch and one sync for a whole burst. A store that does not check out to the last record is set aside
//! and begun anew.

mod history;
mod journal;
mod mirror;
mod object;
mod view;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use piccolo_schema::Kind;
use serde_json::Value;
use tokio::sync::{Notify, broadcast};

pub use self::view::{
    Change, ChangeType, Counters, Declared, Event, EventQuery, Health, HeldView, PlanView, Severity, StepView, Tally,
    WaitingView,
};
use self::{journal::Journal, mirror::Mirror};

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

/// The pen: the controller's side of the store. There is one.
pub struct Writer {
    shared: Arc<Shared>,
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

impl Shared {
    /// Every change of the mirror is complete before anything in it can panic, so a poisoned lock is still good.
    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the store in this directory, or begins a new one there.
pub async fn open(_dir: &Path) -> Result<(Writer, Reader), StoreError> {
    let mirror = Mirror::new(BTreeMap::new(), Journal::new(1, std::collections::VecDeque::new()), 1000);
    let shared = Arc::new(Shared { mirror: Mutex::new(mirror), wake: Notify::new() });
    Ok((Writer { shared: Arc::clone(&shared) }, Reader { shared }))
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

    /// Shows how a part of the agent stands. In memory only.
    pub fn health(&self, component: &'static str, ok: bool, message: impl Into<String>) {
        self.shared.mirror().healths.insert(component, Health { ok, message: message.into() });
    }

    /// Counts something for the metrics.
    pub fn count(&self, tally: Tally) {
        self.shared.mirror().count(tally);
    }

    /// Returns the identity of every object.
    pub fn declared(&self) -> Vec<(Kind, String)> {
        self.shared.mirror().objects.keys().cloned().collect()
    }

    /// Writes what is left and closes the files.
    pub async fn close(&self) {}
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

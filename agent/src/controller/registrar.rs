//! From manifests to objects: gives each manifest its identity and generation before a controller sees it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use piccolo_schema::{Kind, Manifest};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::journal;
use crate::{
    manifests::{Declaration, Problem, Snapshot, reason},
    store::{Declared, Writer},
};

/// A snapshot of the manifests with the generation of each.
#[derive(Debug, Default)]
pub struct Registered {
    /// The manifests.
    pub snapshot: Arc<Snapshot>,
    generations: BTreeMap<Kind, BTreeMap<String, Declared>>,
}

impl Registered {
    /// Returns the generation of a manifest.
    pub(super) fn declared(&self, kind: Kind, name: &str) -> Option<&Declared> {
        self.generations.get(&kind)?.get(name)
    }

    /// Returns why the file of a manifest is not understood any more, if so.
    pub(super) fn stale(&self, kind: Kind, name: &str) -> Option<(&'static str, String)> {
        let declaration = self.snapshot.declared.get(&(kind, name.to_owned()))?;
        declaration.stale.as_ref().map(|problem| (problem.reason, problem.message.clone()))
    }
}

/// Carries manifests from the directory to the store and on to the controllers.
#[derive(Debug)]
pub struct Registrar {
    store: Arc<Writer>,
    manifests: watch::Receiver<Arc<Snapshot>>,
    registered: watch::Sender<Arc<Registered>>,
    problems: BTreeMap<PathBuf, Problem>,
}

impl Registrar {
    /// Makes a registrar, and the end at which controllers listen.
    pub fn new(
        store: Arc<Writer>,
        manifests: watch::Receiver<Arc<Snapshot>>,
    ) -> (Self, watch::Receiver<Arc<Registered>>) {
        let (registered, listen) = watch::channel(Arc::default());
        (Self { store, manifests, registered, problems: BTreeMap::new() }, listen)
    }

    /// Registers every snapshot until the shutdown. Dropping the future loses nothing: the next snapshot is whole.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let snapshot = self.manifests.borrow_and_update().clone();
            self.register(snapshot);
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.manifests.changed() => if changed.is_err() { return },
            }
        }
    }

    fn register(&mut self, snapshot: Arc<Snapshot>) {
        let before = self.registered.borrow().clone();
        let mut generations: BTreeMap<Kind, BTreeMap<String, Declared>> = BTreeMap::new();
        for ((kind, name), declaration) in &snapshot.declared {
            let known = before.snapshot.declared.get(&(*kind, name.clone())).filter(|it| same(it, declaration));
            let declared = known
                .and_then(|_| before.declared(*kind, name).cloned())
                .unwrap_or_else(|| self.store.declare(*kind, name, &value(&declaration.manifest)));
            generations.entry(*kind).or_default().insert(name.clone(), declared);
        }
        // What is missing may stand in a file that can't be read at present, unless it was deleted by name.
        let complete = |kind: &Kind| snapshot.complete.get(kind).copied().unwrap_or(false);
        let goes = |it: &(Kind, String)| complete(&it.0) || snapshot.consented.contains(it);
        let gone = self.store.declared().into_iter().filter(|it| goes(it) && !snapshot.declared.contains_key(it));
        for (kind, name) in gone {
            self.store.undeclare(kind, &name);
        }
        self.journal_problems(&snapshot);
        self.registered.send_replace(Arc::new(Registered { snapshot, generations }));
    }

    /// Says each new problem once, and once that it is gone.
    fn journal_problems(&mut self, snapshot: &Snapshot) {
        let now: BTreeMap<PathBuf, Problem> =
            snapshot.problems.iter().map(|it| (it.path.clone(), it.clone())).collect();
        for problem in now.values().filter(|it| self.problems.get(&it.path) != Some(it)) {
            journal::rejected(&self.store, problem);
        }
        for problem in self.problems.values().filter(|it| !now.contains_key(&it.path)) {
            journal::accepted(&self.store, problem);
        }
        let message = if now.is_empty() {
            "every file is understood".to_owned()
        } else {
            format!("{} file(s) can't be used", now.len())
        };
        // A mistake in a file is its writer's affair; the machine is unwell only when it can't read its manifests at all.
        let readable = now.values().all(|problem| problem.reason != reason::DIRECTORY_UNREADABLE);
        self.store.health("manifests", readable, message);
        self.problems = now;
    }
}

/// Returns the manifest as the API shows it.
fn value(manifest: &Manifest) -> Value {
    serde_json::to_value(manifest).unwrap_or_default()
}

fn same(before: &Declaration, now: &Declaration) -> bool {
    Arc::ptr_eq(&before.manifest, &now.manifest)
}

//! Manifests from git repositories: each is asked in the background, what it has is looked at, and what nothing speaks
//! against is put in force when the planner says so. Nothing is ever checked out.

mod ask;
mod offer;
mod prove;
mod ssh;
mod taken;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use piccolo_schema::{ConfigSourceSpec, Manifest};
use tokio::{
    sync::{Notify, Semaphore},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use zeroize::Zeroizing;

pub use self::prove::{OnTrial, Trials};
use self::{
    ask::Question,
    offer::{Tip, present, seen, together, wanted},
    prove::removed,
    taken::{Record, Taken},
};
use crate::{
    clock,
    host::{HostError, Reason, SourceSeen, Sources, SourcesView, linux::Book},
    manifests::{By, Door, Manifests, Snapshot, Who, WriteError, etag},
};

/// How many repositories are asked at once.
const PLACES: usize = 2;
/// The least time between two questions to one repository, whoever wants it asked.
const LEAST: Duration = Duration::from_secs(10);
/// How soon one is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(60);
/// How long one question may take in all.
const PATIENCE: Duration = Duration::from_secs(180);

/// Gives logins for repositories.
pub trait Logins: Send + Sync {
    /// Returns the value of the header `Authorization` that a secret makes. An error is a sentence for people.
    fn authorization<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>>;
    /// Returns the file in memory that holds the private key of a secret. An error is a sentence for people.
    fn key<'a>(&'a self, secret: &'a str) -> BoxFuture<'a, Result<PathBuf, String>>;
}

/// What follows the repositories that manifests name.
pub struct Puller {
    /// Where repositories are fetched to, and where it is written down what came from them.
    directory: PathBuf,
    book: Book<Record>,
    manifests: Manifests,
    logins: Arc<dyn Logins>,
    known: Mutex<BTreeMap<String, Known>>,
    places: Semaphore,
    hint: Notify,
}

/// What is known of one source.
struct Known {
    spec: ConfigSourceSpec,
    wake: Arc<Notify>,
    checked: Option<String>,
    failure: Option<String>,
    tip: Option<Arc<Tip>>,
    /// What all of that means beside the manifests of this revision of the directory.
    seen: Option<(u64, SourceSeen)>,
    /// The Links that the last change from it removed.
    removed: BTreeSet<String>,
}

impl Puller {
    /// Reads what came from repositories so far, and settles what a kill left in between.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn open(directory: PathBuf, manifests: Manifests, logins: Arc<dyn Logins>) -> io::Result<Arc<Self>> {
        let book = Book::<Record>::open(directory.clone())?;
        let snapshot = manifests.snapshot();
        for source in book.records().keys() {
            let present = present(source, &snapshot);
            if let Err(error) = book.change(source, |record| record.settle(&present)) {
                tracing::warn!(%error, source, "what came from a repository can't be written down");
            }
        }
        let known = Mutex::default();
        let (places, hint) = (Semaphore::new(PLACES), Notify::new());
        Ok(Arc::new(Self { directory, book, manifests, logins, known, places, hint }))
    }

    /// Asks each repository that a manifest names, as often as that wants it, until the shutdown.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut snapshots = self.manifests.subscribe();
        let mut asking = BTreeMap::new();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.follow(&snapshot, &mut asking).await;
            self.hint.notify_one();
            match shutdown.run_until_cancelled(snapshots.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Has a repository asked soon. Returns false if there is no such source.
    pub fn wake(&self, source: &str) -> bool {
        let wake = self.lock().get(source).map(|known| Arc::clone(&known.wake));
        wake.map(|wake| wake.notify_one()).is_some()
    }

    /// Begins to ask what is new, and lets go of what is gone.
    async fn follow(self: &Arc<Self>, snapshot: &Snapshot, asking: &mut BTreeMap<String, Asking>) {
        let declared: BTreeMap<_, _> = snapshot.declared.values().filter_map(|it| source(&it.manifest)).collect();
        let gone: Vec<String> = asking.keys().filter(|name| !declared.contains_key(&***name)).cloned().collect();
        for name in gone {
            drop(asking.remove(&name));
            self.lock().remove(&name);
            self.forget(&name, snapshot).await;
        }
        for (name, spec) in declared {
            let entry = asking.entry(name.to_owned());
            if matches!(&entry, Entry::Occupied(asking) if asking.get().spec == *spec) {
                continue;
            }
            let wake = Arc::<Notify>::default();
            let (tip, seen, removed) = (None, None, BTreeSet::new());
            let known = Known { spec: spec.clone(), wake, checked: None, failure: None, tip, seen, removed };
            let wake = Arc::clone(&known.wake);
            self.lock().insert(name.to_owned(), known);
            let task = Arc::clone(self).keep_asking(name.to_owned(), spec.clone(), wake);
            let asking = Asking { spec: spec.clone(), _task: AbortOnDropHandle::new(tokio::spawn(task)) };
            // The one before it ends with its entry.
            match entry {
                Entry::Occupied(mut entry) => drop(entry.insert(asking)),
                Entry::Vacant(entry) => drop(entry.insert(asking)),
            }
        }
    }

    /// Removes what was fetched, and what was written down if no manifest is left that came with it.
    async fn forget(&self, source: &str, snapshot: &Snapshot) {
        let place = self.directory.join(source);
        let removed = spawn_blocking(move || {
            // What is secret goes first.
            for ending in ["hosts", "ssh"] {
                match fs::remove_file(place.with_extension(ending)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            for ending in ["signers", "new", "git"] {
                match fs::remove_dir_all(place.with_extension(ending)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(%error, source, "what was fetched can't be removed");
        }
        if present(source, snapshot).is_empty()
            && let Err(error) = self.book.forget(source)
        {
            tracing::warn!(%error, source, "what came from a repository can't be forgotten");
        }
    }

    /// Asks one repository again and again. Dropped half-way, the question is.
    async fn keep_asking(self: Arc<Self>, name: String, spec: ConfigSourceSpec, wake: Arc<Notify>) {
        loop {
            let begun = Instant::now();
            let answer = self.ask(&name, &spec).await;
            let rest = if answer.is_ok() { spec.interval().get() } else { spec.interval().get().min(RETRY) };
            self.hear(&name, answer);
            tokio::select! {
                () = sleep_until(begun + rest) => {}
                () = wake.notified() => sleep_until(begun + LEAST).await,
            }
        }
    }

    async fn ask(&self, name: &str, spec: &ConfigSourceSpec) -> Result<Option<Tip>, String> {
        let _place = self.places.acquire().await.map_err(|error| error.to_string())?;
        let (authorization, key) = self.login(spec).await?;
        let snapshot = self.manifests.snapshot();
        let revision = self.taken(name, &snapshot).map(|taken| taken.revision);
        let known = self.lock().get(name).and_then(|known| known.tip.clone());
        let question = Question { spec, directory: &self.directory, name, authorization, key, revision };
        let answer = timeout(PATIENCE, question.ask(known.as_deref())).await;
        answer.map_err(|_| format!("it took longer than {PATIENCE:?}"))?.map_err(|error| error.to_string())
    }

    /// Returns what a source is asked with: the header of a request, or the file of a key.
    async fn login(&self, spec: &ConfigSourceSpec) -> Result<(Option<Zeroizing<String>>, Option<PathBuf>), String> {
        Ok(match &spec.credentials {
            Some(login) if spec.is_ssh() => (None, Some(self.logins.key(&login.secret).await?)),
            Some(login) => (Some(self.logins.authorization(&login.secret).await?), None),
            None => (None, None),
        })
    }

    fn hear(&self, name: &str, answer: Result<Option<Tip>, String>) {
        if let Some(known) = self.lock().get_mut(name) {
            known.seen = None;
            match answer {
                Ok(tip) => {
                    known.checked = Some(clock::now_text());
                    known.failure = None;
                    known.tip = tip.map(Arc::new).or_else(|| known.tip.take());
                }
                Err(failure) => known.failure = Some(failure),
            }
        }
        self.hint.notify_one();
    }

    /// Returns what is in force of a source.
    fn taken(&self, source: &str, snapshot: &Snapshot) -> Option<Taken> {
        self.book.records().get(source)?.in_force(&present(source, snapshot)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources for Puller {
    async fn sources(&self) -> Result<SourcesView, HostError> {
        let snapshot = self.manifests.snapshot();
        let mut sources = BTreeMap::new();
        for (name, known) in &mut *self.lock() {
            let is_known = known.seen.as_ref().is_some_and(|(revision, _)| *revision == snapshot.revision);
            if !is_known {
                let taken = self.taken(name, &snapshot);
                let seen = seen(name, &known.spec, known.tip.as_deref(), taken.as_ref(), &snapshot);
                known.seen = Some((snapshot.revision, seen));
            }
            let seen = known.seen.as_ref().map(|(_, seen)| seen.clone()).unwrap_or_default();
            let (checked, failure) = (known.checked.clone(), known.failure.clone());
            sources.insert(name.clone(), SourceSeen { checked, failure, ..seen });
        }
        Ok(SourcesView { sources })
    }

    /// Dropped half-way, the manifests are replaced to the end or not at all, and which of the two its files tell.
    async fn take(&self, source: &str, revision: &str) -> Result<(), HostError> {
        let gone = || HostError::new(Reason::Gone, "The repository has another revision by now");
        let (spec, tip) = {
            let known = self.lock();
            let known = known.get(source).ok_or_else(gone)?;
            (known.spec.clone(), known.tip.clone().filter(|tip| tip.revision == revision).ok_or_else(gone)?)
        };
        if let Some(Err(why)) = &tip.signed {
            return Err(HostError::new(Reason::PermissionDenied, format!("Revision {revision} is not trusted: {why}")));
        }
        let base = self.manifests.look().await.map_err(|error| failed(&error))?;
        let wanted = wanted(&spec, &tip).map_err(|why| HostError::new(Reason::Refused, why.join(", ")))?;
        let texts = together(source, &wanted, &base);
        let files = wanted.iter().map(|(path, text)| (path.clone(), etag(text.as_bytes()))).collect();
        let taken = Taken { revision: revision.to_owned(), asked: spec, files };
        let before = present(source, &base);
        // What comes first survives a kill: the files tell afterwards which of the two is in force.
        self.book.change(source, |record| {
            record.settle(&before);
            record.begin(taken);
        })?;
        let named = format!("{source} {revision}").into();
        let who = Who::Committer { author: tip.author.as_str().into(), revision: named };
        let removed = base.replaced(&texts).map(|after| removed(source, &base, &after)).unwrap_or_default();
        if let Some(known) = self.lock().get_mut(source) {
            known.removed = removed;
        }
        let replaced = self.manifests.by(By { door: Door::Pull, who }).replace(texts, base).await;
        let present = present(source, &self.manifests.snapshot());
        self.book.change(source, |record| record.settle(&present))?;
        if let Some(known) = self.lock().get_mut(source) {
            known.seen = None;
        }
        self.hint.notify_one();
        replaced.map_err(|error| failed(&error))
    }

    async fn changed(&self) {
        self.hint.notified().await;
    }
}

/// A repository that is asked again and again.
struct Asking {
    spec: ConfigSourceSpec,
    _task: AbortOnDropHandle<()>,
}

fn source(manifest: &Manifest) -> Option<(&str, &ConfigSourceSpec)> {
    match manifest {
        Manifest::ConfigSource(it) => Some((manifest.name(), &it.spec)),
        _ => None,
    }
}

fn failed(error: &WriteError) -> HostError {
    let reason = match error {
        WriteError::Conflict { .. } => Reason::Gone,
        WriteError::OnTrial { .. } => Reason::InUse,
        WriteError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Reason::DiskFull,
        _ => Reason::Refused,
    };
    HostError::new(reason, format!("The manifests were not replaced: {error}"))
}

/// Writes a small file of ours anew.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

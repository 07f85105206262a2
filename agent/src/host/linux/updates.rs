//! What is known of updates on the real machine: registries are asked in the background, and a book is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    book::Book,
    docker::{Docker, lock},
    hint::Hint,
    snapshots::SnapshotStore,
    volumes::blocking,
};
use crate::{
    clock,
    host::{
        ContainerSeen, Copied, EngineView, Health, HostError, Previous, Record, SnapshotSeen, Snapshots, State,
        Updates, UpdatesSeen,
    },
};

/// The time between two looks while a container is on trial.
const WATCHED: Duration = Duration::from_secs(1);
/// The rest after a registry that did not answer, if registries are not asked more often anyway.
const RETRY: Duration = Duration::from_secs(60);
/// How the labels of snapshots of updates begin.
const LABEL: &str = "update.";

/// What the manifests say of updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The images whose tags are followed, by container.
    pub images: BTreeMap<String, String>,
    /// The images of the others, by container.
    pub fixed: BTreeMap<String, String>,
    /// The volumes of which a snapshot is to be taken.
    pub volumes: BTreeSet<String>,
}

/// Knows what updates there are, and what came of them.
#[derive(Debug)]
pub struct Updater {
    docker: Arc<Docker>,
    snapshots: SnapshotStore,
    /// Must survive anything: a digest that has failed is never to be tried again.
    book: Arc<Book<Record>>,
    followed: watch::Receiver<Followed>,
    /// Since when containers do well.
    well: Mutex<BTreeMap<String, Timestamp>>,
    hint: Hint,
}

impl Updater {
    /// Keeps book and snapshots below `home`.
    ///
    /// # Errors
    /// When the book can't be read.
    pub fn open(docker: Arc<Docker>, home: &Path, followed: watch::Receiver<Followed>) -> io::Result<Arc<Self>> {
        let updater = Arc::new(Self {
            snapshots: SnapshotStore::new(docker.clone(), home.join("snapshots")),
            docker,
            book: Arc::new(Book::open(home.join("updates"))?),
            followed,
            well: Mutex::default(),
            hint: Hint::default(),
        });
        updater.docker.keep_pins_of(&updater);
        Ok(updater)
    }

    /// Returns the names of the images that declared containers are made from, of those that were updated before.
    pub(super) fn pins(&self) -> BTreeSet<String> {
        let declared = self.followed.borrow();
        let is_declared = |(subject, record): &(&String, &Record)| {
            declared.images.get(*subject).or_else(|| declared.fixed.get(*subject)) == Some(&record.image)
        };
        let records = self.book.records();
        records.iter().filter(is_declared).filter_map(|(_, record)| record.pin()).collect()
    }

    /// Asks registries again and again, each image after `interval`, until the shutdown. May be dropped at any time.
    pub async fn run(self: Arc<Self>, interval: Duration, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.ask_all(interval)).await;
    }

    /// Writes down that a person wants this digest.
    ///
    /// # Errors
    /// When it is not the one that the registry has, or failed before.
    pub async fn approve(&self, subject: &str, digest: &str) -> Result<(), String> {
        let record = self.book.records().remove(subject).unwrap_or_default();
        if let Some(why) = record.failed.get(digest) {
            return Err(format!("{digest} was tried and failed ({why}); it is not tried again"));
        }
        if record.offered.as_deref() != Some(digest) {
            return Err(format!(
                "{digest} is not what the tag names by now; see `piccolo describe container/{subject}`"
            ));
        }
        let approved = digest.to_owned();
        let changed = self.change(subject, move |record| record.approved = Some(approved)).await;
        self.hint.now();
        changed.map_err(|error| error.message)
    }

    /// Writes down that a person wants a container to go back to what it ran before its last update, and returns the
    /// digest of that.
    ///
    /// # Errors
    /// When nothing is kept to go back to.
    pub async fn go_back(&self, subject: &str) -> Result<String, String> {
        let digest = self.book.records().remove(subject).unwrap_or_default().go_back()?;
        let changed = self.change(subject, |record| drop(record.go_back())).await;
        self.hint.now();
        changed.map(|()| digest).map_err(|error| error.message)
    }

    /// Writes down that a person wants a container to run just this digest of its image.
    ///
    /// # Errors
    /// When it failed before.
    pub async fn return_to(&self, subject: &str, image: &str, digest: &str) -> Result<(), String> {
        let follows = self.followed.borrow().images.contains_key(subject);
        self.book.records().remove(subject).unwrap_or_default().return_to(image, digest, follows)?;
        let (image, digest) = (image.to_owned(), digest.to_owned());
        let changed = self.change(subject, move |record| drop(record.return_to(&image, &digest, follows))).await;
        self.hint.now();
        changed.map_err(|error| error.message)
    }

    /// Forgets which digest a container was to have of an image that its manifest does not name any more.
    async fn leave(&self, fixed: BTreeMap<String, String>) {
        let records = self.book.records();
        for (subject, image) in fixed {
            let is_left = records.get(&subject).is_some_and(|record| record.image != image && record.current.is_some());
            if is_left && let Err(error) = self.change(&subject, move |record| record.leave(&image)).await {
                debug!(subject, %error, "what is known of another image stays");
            }
        }
    }

    async fn ask_all(&self, interval: Duration) {
        let mut followed = self.followed.clone();
        let mut due: BTreeMap<(String, String), Instant> = BTreeMap::new();
        loop {
            let Followed { images, fixed, .. } = followed.borrow_and_update().clone();
            self.leave(fixed).await;
            due.retain(|(subject, image), _| images.get(subject) == Some(image));
            for (subject, image) in images {
                let next = due.entry((subject.clone(), image.clone())).or_insert_with(Instant::now);
                if *next <= Instant::now() {
                    let answered = self.ask(&subject, &image).await;
                    let rest = if answered { interval } else { interval.min(RETRY) };
                    *next = Instant::now() + rest.mul_f64(0.9 + 0.2 * fastrand::f64());
                }
            }
            let next = due.values().min().copied();
            let rest = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = followed.changed() => if changed.is_err() { return },
                () = rest => {}
            }
        }
    }

    /// Asks which digest an image has, and writes it down. Returns false if there was no answer.
    async fn ask(&self, subject: &str, image: &str) -> bool {
        let digest = match self.docker.registry_digest(image).await {
            Ok(digest) => digest,
            Err(error) => {
                debug!(subject, image, %error, "the registry does not say what the image is");
                return false;
            }
        };
        let known = self.book.records().get(subject).and_then(|record| record.offered.clone());
        if known.as_deref() != Some(digest.as_str()) {
            info!(subject, image, digest, "the registry has this image");
        }
        let (image, now) = (image.to_owned(), clock::now());
        let noted = self.change(subject, move |record| record.offer(&image, &digest, now)).await;
        self.hint.now();
        noted.is_ok()
    }

    async fn change(&self, subject: &str, change: impl FnOnce(&mut Record) + Send + 'static) -> Result<(), HostError> {
        let (book, subject) = (self.book.clone(), subject.to_owned());
        blocking(move || book.change(&subject, change)).await
    }

    /// Returns since when each of these does well.
    fn well_since(&self, containers: &[ContainerSeen], now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut known = lock(&self.well);
        let since = |seen: &ContainerSeen| {
            let started = seen.since.unwrap_or(now);
            let since = match seen.health {
                None => started,
                Some(_) => known.get(&seen.id).copied().unwrap_or(now).max(started),
            };
            (seen.id.clone(), since)
        };
        let well = |seen: &&ContainerSeen| {
            seen.stamp.as_ref().is_some_and(|stamp| stamp.rollout.is_some())
                && seen.state == State::Running
                && matches!(seen.health, None | Some(Health::Healthy))
        };
        let all: BTreeMap<_, _> = containers.iter().filter(well).map(since).collect();
        known.clone_from(&all);
        all
    }
}

impl Updates for Updater {
    async fn known(&self, view: &EngineView) -> Result<UpdatesSeen, HostError> {
        let now = clock::now();
        let mut known = UpdatesSeen {
            now: Some(now),
            local: Some(clock::local(now)),
            records: self.book.records(),
            kept_volumes: self.followed.borrow().volumes.clone(),
            well_since: self.well_since(&view.containers, now),
            ..UpdatesSeen::default()
        };
        let subjects = on_trial(view);
        if subjects.is_empty() {
            return Ok(known);
        }
        self.hint.at(Instant::now() + WATCHED);
        for volume in volumes_of(&subjects, view) {
            match self.snapshots.snapshots(&volume).await {
                Ok(all) => known.snapshots.extend(
                    all.into_iter()
                        .filter(|it| it.label.starts_with(LABEL))
                        .map(|it| Copied { volume: volume.clone(), label: it.label }),
                ),
                Err(error) => drop(known.unseen.insert(volume, error.message)),
            }
        }
        Ok(known)
    }

    async fn news(&self) {
        self.hint.heard().await;
    }

    async fn commit(&self, subject: &str, digest: &str, previous: Option<&Previous>) -> Result<(), HostError> {
        let (digest, previous) = (digest.to_owned(), previous.cloned());
        self.change(subject, move |record| record.commit(&digest, previous.as_ref())).await
    }

    async fn condemn(&self, subject: &str, digest: &str, why: &str) -> Result<(), HostError> {
        let (digest, why) = (digest.to_owned(), why.to_owned());
        self.change(subject, move |record| record.condemn(&digest, &why)).await
    }
}

impl Snapshots for Updater {
    async fn snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.snapshots.snapshot(volume, label).await
    }

    async fn restore(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.snapshots.restore(volume, label).await
    }

    async fn drop_snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        self.snapshots.drop_snapshot(volume, label).await
    }

    async fn snapshots(&self, volume: &str) -> Result<Vec<SnapshotSeen>, HostError> {
        self.snapshots.snapshots(volume).await
    }
}

/// Returns the subjects with a container that is there beside the one that it is to take the place of.
fn on_trial(view: &EngineView) -> BTreeSet<&str> {
    let here: BTreeSet<&str> = view.containers.iter().map(|it| it.id.as_str()).collect();
    let replaces = |seen: &ContainerSeen| seen.stamp.as_ref().and_then(|it| it.rollout.as_ref()?.replaces.clone());
    let is_beside = |seen: &&ContainerSeen| replaces(seen).is_some_and(|old| here.contains(old.as_str()));
    view.containers.iter().filter(is_beside).filter_map(ContainerSeen::subject).collect()
}

/// Returns the volumes, of those that are here, of all containers of these subjects.
fn volumes_of(subjects: &BTreeSet<&str>, view: &EngineView) -> BTreeSet<String> {
    let ours = view.containers.iter().filter(|it| it.subject().is_some_and(|subject| subjects.contains(subject)));
    let specs = ours.filter_map(|it| it.stamp.as_ref()?.spec.as_deref());
    let volumes = specs.flat_map(|spec| spec.mounts.iter().filter_map(|mount| mount.volume.clone()));
    volumes.filter(|name| view.volumes.contains(name)).collect()
}

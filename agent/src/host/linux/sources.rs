//! What images are built from, looked at in the background so that no look at the engine waits for a disk or a network.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use piccolo_schema::image::Build;
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

use super::{
    context::Context,
    docker::{Docker, lock},
    git,
    volumes::blocking,
};
use crate::host::{ContextSeen, HostError, Trouble};

/// The time between two looks at a directory.
const DIRECTORY_REST: Duration = Duration::from_secs(15);
/// How many times longer than a look at a directory the rest after it is at least.
const SHARE: u32 = 100;
/// The time between two questions to a repository.
const REPOSITORY_REST: Duration = Duration::from_secs(300);
/// The time after which a repository is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(60);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looks side by side.
const LOOKS: usize = 4;

/// What was seen.
#[derive(Debug)]
pub(super) struct Sources {
    /// By place.
    known: Mutex<BTreeMap<String, Known>>,
    /// A disk that does not answer holds no more than these.
    places: Arc<Semaphore>,
    /// Somebody found that a place changed.
    doubted: Notify,
}

#[derive(Clone, Debug)]
struct Known {
    seen: ContextSeen,
    /// What changes with every change of a directory, so that files are read after a change only.
    mark: Option<String>,
    due: Instant,
}

/// Looks again and again at what declared images are built from, until nobody owns the engine any more.
pub(super) async fn follow(docker: Weak<Docker>) {
    let parts = docker.upgrade().map(|engine| (engine.declared.clone(), engine.sources.clone()));
    let Some((mut declared, sources)) = parts else { return };
    loop {
        let Some(engine) = docker.upgrade() else { return };
        sources.look(engine.builds(), || engine.images_hint.notify_one()).await;
        drop(engine);
        tokio::select! {
            changed = declared.changed() => if changed.is_err() { return },
            () = sources.due() => {}
        }
    }
}

impl Docker {
    fn builds(&self) -> Vec<Build> {
        self.declared.borrow().values().filter_map(|it| it.build.clone()).collect()
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self { known: Mutex::default(), places: Arc::new(Semaphore::new(LOOKS)), doubted: Notify::new() }
    }
}

impl Sources {
    /// Returns all that was seen.
    pub(super) fn seen(&self) -> BTreeMap<String, ContextSeen> {
        lock(&self.known).iter().map(|(place, known)| (place.clone(), known.seen.clone())).collect()
    }

    /// Has a place looked at soon, for whoever found that it changed.
    pub(super) fn doubt(&self, place: &str) {
        if let Some(known) = lock(&self.known).get_mut(place) {
            known.due = Instant::now();
        }
        self.doubted.notify_one();
    }

    /// Waits until a place is to be looked at.
    async fn due(&self) {
        let next = lock(&self.known).values().map(|known| known.due).min();
        // Whatever is declared later is told otherwise.
        let next = next.unwrap_or_else(|| Instant::now() + REPOSITORY_REST);
        tokio::select! {
            () = self.doubted.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }

    async fn look(&self, builds: Vec<Build>, tell: impl Fn()) {
        let places: BTreeSet<String> = builds.iter().map(Build::place).collect();
        lock(&self.known).retain(|place, _| places.contains(place));
        let builds: BTreeMap<String, Build> = builds.into_iter().map(|build| (build.place(), build)).collect();
        stream::iter(builds)
            .for_each_concurrent(LOOKS, async |(place, build)| {
                let known = lock(&self.known).get(&place).cloned();
                if known.as_ref().is_some_and(|known| known.due > Instant::now()) {
                    return;
                }
                let now = look_at(&build, known.clone(), self.places.clone()).await;
                let changed = known.is_none_or(|known| known.seen != now.seen);
                lock(&self.known).insert(place, now);
                if changed {
                    tell();
                }
            })
            .await;
    }
}

async fn look_at(build: &Build, known: Option<Known>, places: Arc<Semaphore>) -> Known {
    let begun = Instant::now();
    let before = known.as_ref().and_then(|known| known.seen.fingerprint.clone());
    if let Some(git) = &build.git {
        let asked = git::tip(git).await;
        let rest = if asked.is_ok() { REPOSITORY_REST } else { RETRY };
        return Known { seen: seen(asked, before), mark: None, due: Instant::now() + rest };
    }
    let mark = known.and_then(|known| known.mark);
    let (context, containerfile) = (build.context.clone().unwrap_or_default(), build.containerfile.clone());
    let look = async {
        let place = places.acquire_owned().await;
        blocking(move || {
            let _place = place;
            let context = Context::open(&piccolo_schema::volume::plain(&context), containerfile.as_deref())?;
            let now = context.mark();
            let same = before.filter(|_| mark.as_ref() == Some(&now));
            Ok((same.map_or_else(|| context.digest(), Ok)?, now))
        })
        .await
    };
    let looked = tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| Err(silent(build)));
    let (fingerprint, mark) = looked.map_or_else(|error| (Err(error), None), |(it, mark)| (Ok(it), Some(mark)));
    let due = Instant::now() + DIRECTORY_REST.max(begun.elapsed() * SHARE);
    Known { seen: seen(fingerprint, None), mark, due }
}

/// What a repository said before still holds while it does not answer.
fn seen(looked: Result<String, HostError>, before: Option<String>) -> ContextSeen {
    match looked {
        Ok(fingerprint) => ContextSeen { fingerprint: Some(fingerprint), trouble: None },
        Err(HostError { reason, message }) => {
            ContextSeen { fingerprint: before, trouble: Some(Trouble { reason, message }) }
        }
    }
}

fn silent(build: &Build) -> HostError {
    let message = format!("`{}` does not answer; is a disk broken, or gone from the network?", build.place());
    HostError::new(crate::host::Reason::TimedOut, message)
}

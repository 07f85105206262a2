//! A machine in memory: a container engine behind the same traits as the real one.
//!
//! It keeps the rules of an engine that matter to a planner: names are unique, a port is held by one, a frozen container
//! is neither stopped nor removed, an image has to be here before a container is made from it. Beside the verbs it has
//! the means to make life hard: hands that change things behind the daemon's back ([`FakeEngine::pause`] and its
//! neighbours), verbs that fail before or after they took effect, or never answer, looks that show an older machine, and
//! events that don't arrive. Every verb takes effect at once and whole, so it may be dropped at any time.

mod disks;
mod drift;
mod engine;
mod faults;
mod filter;
mod images;
mod installs;
mod links;
mod locks;
mod networks;
mod pairs;
mod parted;
mod power;
mod resets;
mod secrets;
mod settings;
mod snapshots;
mod sources;
mod strangers;
mod tpm;
mod updates;
mod volumes;
mod world;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::{EngineView, HostError};
use faults::{Faults, Outcome};
pub use faults::{Verb, When};
pub use installs::FakeStick;
pub use links::FakeLinks;
pub use resets::FakeRenewal;
pub use settings::FakeSettings;
pub use tpm::FakeTpm;
pub use updates::CORRUPT;
use world::World;

/// A container engine in memory.
#[derive(Default)]
pub struct FakeEngine {
    inner: Mutex<Inner>,
    containers_changed: Notify,
    filter_changed: Notify,
    disks_changed: Notify,
    images_changed: Notify,
    networks_changed: Notify,
    sources_changed: Notify,
    volumes_changed: Notify,
}

#[derive(Default)]
struct Inner {
    world: World,
    faults: Faults,
    /// An older machine, and how many looks still show it.
    stale: Option<(u32, World)>,
    muted: bool,
}

impl FakeEngine {
    /// Returns an engine with no containers and no images, whose registry has every image.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the `nth` use of a verb from now on, counted from 0, fail before or after it took effect. Without a verb any
    /// that changes something counts.
    pub fn fail(&self, verb: impl Into<Option<Verb>>, nth: u32, when: When, error: HostError) {
        self.lock().faults.add(verb.into(), nth, when, Outcome::Fail(error));
    }

    /// Makes the `nth` use of a verb from now on, counted from 0, never answer, before or after it took effect. Without a
    /// verb any that changes something counts.
    pub fn hang(&self, verb: impl Into<Option<Verb>>, nth: u32, when: When) {
        self.lock().faults.add(verb.into(), nth, when, Outcome::Hang);
    }

    /// Makes each changing verb fail with this probability, at random before or after it took effect.
    pub fn fail_at_random(&self, seed: u64, probability: f64) {
        self.lock().faults.at_random(seed, probability);
    }

    /// Makes each use of a verb take this long.
    pub fn delay(&self, verb: Verb, time: Duration) {
        self.lock().faults.delay(verb, time);
    }

    /// Makes the next looks show the machine as it is now.
    pub fn go_stale(&self, looks: u32) {
        let mut inner = self.lock();
        inner.stale = Some((looks, inner.world.clone()));
    }

    /// Keeps events back, or lets them through again.
    pub fn mute(&self, muted: bool) {
        self.lock().muted = muted;
    }

    /// Ends all faults, delays, stale looks and lost events.
    pub fn calm(&self) {
        let mut inner = self.lock();
        inner.faults = Faults::default();
        inner.stale = None;
        inner.muted = false;
    }

    /// Returns how many verbs have changed something since the beginning.
    pub fn mutations(&self) -> u64 {
        self.lock().world.mutations
    }

    /// Returns how often the containers of each subject were started or stopped by a verb.
    pub fn interruptions(&self) -> BTreeMap<String, u64> {
        self.lock().world.interruptions.clone()
    }

    /// Returns what was done to things that are not ours.
    pub fn trespasses(&self) -> Vec<String> {
        self.lock().world.trespasses.clone()
    }

    /// Returns the containers as they are, whatever is wrong with looks.
    pub fn truth(&self) -> EngineView {
        let inner = self.lock();
        EngineView { updates: inner.world.updates(), ..inner.world.view() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) -> World {
        let mut inner = self.lock();
        match inner.stale.take() {
            Some((looks, older)) if looks > 0 => {
                inner.stale = Some((looks - 1, older.clone()));
                older
            }
            _ => inner.world.clone(),
        }
    }

    /// Runs a verb with the faults that are due. Nothing is held across a wait.
    async fn verb<T>(
        &self,
        verb: Verb,
        effect: impl FnOnce(&mut World) -> Result<T, HostError> + Send,
    ) -> Result<T, HostError> {
        let order = self.lock().faults.order(verb);
        if let Some(time) = order.delay {
            tokio::time::sleep(time).await;
        }
        if let Some(outcome) = order.before {
            return Err(outcome.happen().await);
        }
        let done = effect(&mut self.lock().world)?;
        self.tell();
        match order.after {
            Some(outcome) => Err(outcome.happen().await),
            None => Ok(done),
        }
    }

    /// Answers a look with the faults that are due.
    async fn verb_of_looking<T: Send>(&self, verb: Verb, answer: T) -> Result<T, HostError> {
        let order = self.lock().faults.order(verb);
        if let Some(time) = order.delay {
            tokio::time::sleep(time).await;
        }
        match order.before.or(order.after) {
            Some(outcome) => Err(outcome.happen().await),
            None => Ok(answer),
        }
    }

    fn tell(&self) {
        if !self.lock().muted {
            self.containers_changed.notify_one();
            self.filter_changed.notify_one();
            self.disks_changed.notify_one();
            self.images_changed.notify_one();
            self.networks_changed.notify_one();
            self.sources_changed.notify_one();
            self.volumes_changed.notify_one();
        }
    }
}

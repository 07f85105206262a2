//! Ending changes on trial in time.

use std::{sync::Arc, time::Duration};

use piccolo_schema::duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    By, Manifests, Shared, Teller, WriteError,
    change::Who,
    trial::{Moment, Trial, Trials},
};

/// How often it is looked how much time is left: the clock of timers stands still while the machine sleeps.
const LOOK: Duration = Duration::from_secs(10);
/// How soon it is tried again to put a change back.
const RETRY: Duration = Duration::from_secs(5);

impl Manifests {
    /// Follows which change is on trial, and what became of the one before.
    pub fn trials(&self) -> watch::Receiver<Trials> {
        self.shared.teller.trials.subscribe()
    }

    /// Returns the change on trial.
    pub fn trial(&self) -> Option<Arc<Trial>> {
        self.shared.teller.trials.borrow().pending.clone()
    }

    /// Lets the change of this name stay.
    pub async fn confirm(&self, id: &str) -> Result<(), WriteError> {
        let id = id.to_owned();
        self.shared.work(By::default(), move |tree| tree.confirm(&id)).await?
    }

    /// Puts the change of this name back without waiting any longer.
    pub async fn put_back(&self, id: &str) -> Result<(), WriteError> {
        let id = id.to_owned();
        self.shared.work(self.by.clone(), move |tree| tree.put_back(&id)).await?
    }
}

impl Trial {
    /// Returns how long it may still wait.
    pub fn time_left(&self) -> Duration {
        self.left(&Moment::now())
    }
}

impl Shared {
    /// Puts changes back whose time has come. Ends when it is dropped.
    pub(super) async fn end_trials(&self) {
        let mut trials = self.teller.trials.subscribe();
        loop {
            let left = trials.borrow_and_update().pending.as_ref().map(|trial| trial.time_left());
            match left {
                None if trials.changed().await.is_err() => return,
                None => {}
                Some(Duration::ZERO) => {
                    if let Err(error) = self.put_back_if_due().await {
                        tracing::error!(%error, "a change that nobody confirmed can't be put back yet");
                        sleep(RETRY).await;
                    }
                }
                // Either is a reason to look again.
                Some(left) => drop(timeout(left.min(LOOK), trials.changed()).await),
            }
        }
    }

    /// Puts the change on trial back if its time has come.
    pub(super) async fn put_back_if_due(&self) -> Result<(), WriteError> {
        let Some(trial) = self.teller.trials.borrow().pending.clone() else { return Ok(()) };
        let within = duration::Duration::from_millis(u64::try_from(trial.within.as_millis()).unwrap_or(u64::MAX));
        let why = format!("{} was not confirmed within {within}", trial.id);
        let by = By { door: trial.door, who: Who::Agent(why.into()) };
        self.work(by, move |tree| tree.put_back_if_due(&trial.id)).await?
    }
}

impl Teller {
    /// Tells which change is on trial, if that is new.
    pub(super) fn tell_trials(&self, trials: &Trials) {
        self.trials.send_if_modified(|told| {
            let is_new = told != trials;
            told.clone_from(trials);
            is_new
        });
    }
}

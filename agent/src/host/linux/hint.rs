//! When to look at the containers again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long the death of a container is kept back. A forced removal is a death first, and a look between the two finds a
/// container that nothing can be done with.
const KEPT_BACK: Duration = Duration::from_millis(250);

/// A word that something may have changed, to be passed on now or soon.
#[derive(Debug, Default)]
pub(super) struct Hint {
    due: Mutex<Option<Instant>>,
    arrived: Notify,
}

impl Hint {
    /// Asks for a look.
    pub(super) fn now(&self) {
        self.at(Instant::now());
    }

    /// Asks for a look in a moment, unless one is asked for earlier.
    pub(super) fn soon(&self) {
        self.at(Instant::now() + KEPT_BACK);
    }

    /// Waits until a look is due. A wait that is dropped takes no hint with it.
    pub(super) async fn heard(&self) {
        loop {
            let due = *self.due.lock().unwrap_or_else(PoisonError::into_inner);
            match due {
                None => self.arrived.notified().await,
                Some(due) => tokio::select! {
                    () = self.arrived.notified() => {}
                    () = sleep_until(due) => break,
                },
            }
        }
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks for a look at this time, unless one is asked for earlier.
    pub(super) fn at(&self, asked: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = Some(due.map_or(asked, |due| due.min(asked)));
        drop(due);
        self.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_death_is_told_later_and_a_removal_at_once() {
        let (hint, start) = (Hint::default(), Instant::now());
        hint.soon();
        hint.heard().await;
        assert_eq!(start.elapsed(), KEPT_BACK);
        hint.soon();
        hint.now();
        hint.heard().await;
        assert_eq!(start.elapsed(), KEPT_BACK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_forgets_nothing() {
        let hint = Hint::default();
        hint.soon();
        assert!(tokio::time::timeout(KEPT_BACK / 2, hint.heard()).await.is_err());
        assert!(tokio::time::timeout(KEPT_BACK, hint.heard()).await.is_ok());
    }
}

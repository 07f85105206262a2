//! Who wants to know when a kind changed: a container that waits for a network looks again when a network was made.

use std::sync::{Arc, Mutex, PoisonError};

use piccolo_schema::Kind;
use tokio::sync::Notify;

/// One bell a kind, heard by the controllers whose reconcilers name that kind in `WAKES_ON`.
#[derive(Debug, Default)]
pub struct Bells(Mutex<Vec<(Kind, Arc<Notify>)>>);

impl Bells {
    /// Returns an ear that hears the bells of these kinds.
    pub(super) fn listen(&self, kinds: &[Kind]) -> Arc<Notify> {
        let ear = Arc::new(Notify::new());
        let mut ears = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ears.extend(kinds.iter().map(|kind| (*kind, ear.clone())));
        ear
    }

    /// Says that something of this kind changed.
    pub(super) fn ring(&self, kind: Kind) {
        let ears = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, ear) in ears.iter().filter(|(heard, _)| *heard == kind) {
            ear.notify_one();
        }
    }
}

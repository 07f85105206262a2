//! What the controller remembers of one subject between two passes.

use std::time::Duration;

use piccolo_schema::Condition;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use crate::{
    host::{HostError, Reason},
    store::Declared,
};

/// How long nothing has to be repaired for earlier repairs to be forgotten.
const CALM: Duration = Duration::from_secs(600);
/// How many repairs in a row are done at once.
const AT_ONCE: u32 = 10;

/// One subject between two passes. All of it can be forgotten: the next pass finds out again.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// The generation that the rest speaks of.
    pub(super) generation: i64,
    /// The generation in which it was last settled.
    pub(super) settled: Option<i64>,
    /// Whether anything was done for it since the daemon started.
    pub(super) acted: bool,
    /// The first of the steps under way.
    pub(super) under_way: Option<String>,
    /// Ends the steps under way where that disturbs nobody.
    pub(super) stop: CancellationToken,
    /// When the last steps ended. What was seen before then says nothing about this subject.
    pub(super) ended: Option<Instant>,
    /// The steps that were applied last without a settled pass after them.
    pub(super) repeated: Vec<String>,
    /// The step that failed last, and why.
    pub(super) failure: Option<(String, HostError)>,
    /// Failures in a row.
    pub(super) backoff: Backoff,
    /// No new try before then.
    pub(super) rests_until: Option<Instant>,
    /// Repairs in a row, each soon after the last.
    pub(super) repairs: Repairs,
    /// The reason that was journalled last, so that it is said once.
    pub(super) said: Option<String>,
    /// The conditions that were reported last.
    pub(super) conditions: Vec<Condition>,
}

/// How often something was repaired that nobody asked to change.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    count: u32,
    /// The rests after those that were done at once.
    rests: Backoff,
    last: Option<Instant>,
    /// The rest before the repair that is due has been taken.
    rested: bool,
}

impl Repairs {
    /// Returns how long to rest before a repair that is due now. The first few are done at once; one after the other for
    /// ever would be a fight with whatever undoes them.
    fn rest(&mut self, now: Instant) -> Option<Duration> {
        if std::mem::take(&mut self.rested) {
            return None;
        }
        if self.last.is_none_or(|last| now - last > CALM) {
            *self = Self::default();
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
        self.rested = self.count > AT_ONCE;
        self.rested.then(|| self.rests.failed(fastrand::f64()))
    }
}

impl Subject {
    /// Notes that it rests if it has been repaired again and again. Returns true if so.
    pub(super) fn tires(&mut self, step: Option<&String>, now: Instant) -> bool {
        if self.settled != Some(self.generation) {
            return false;
        }
        let Some(rest) = self.repairs.rest(now) else { return false };
        let message = "It is undone again and again as soon as it is done; something else works against it";
        self.failure = Some((step.cloned().unwrap_or_default(), HostError::new(Reason::Failed, message)));
        self.rests_until = Some(now + rest);
        true
    }

    /// Starts anew when the manifest changed: what failed before may work now.
    pub(super) fn meet(&mut self, declared: &Declared) {
        if self.generation != declared.generation {
            self.stop.cancel();
            self.generation = declared.generation;
            self.settled = self.settled.or(declared.settled_generation);
            self.settle();
        }
    }

    /// Forgets failures.
    pub(super) fn settle(&mut self) {
        self.failure = None;
        self.backoff = Backoff::default();
        self.rests_until = None;
        self.repeated.clear();
    }

    /// Notes a failure and how long the subject rests.
    pub(super) fn fail(&mut self, step: String, error: HostError, now: Instant) {
        self.rests_until = Some(now + self.backoff.failed(fastrand::f64()));
        self.failure = Some((step, error));
    }

    /// Returns true if new steps may start, given what was seen at `seen`.
    pub(super) fn is_free(&self, seen: Instant, now: Instant) -> bool {
        self.under_way.is_none()
            && self.ended.is_none_or(|ended| ended <= seen)
            && self.rests_until.is_none_or(|until| until <= now)
    }

    /// Takes up what was reported before the daemon was started, so that times of transitions outlive it.
    pub(super) fn remember(&mut self, status: Option<serde_json::Value>) {
        let conditions = status.and_then(|mut status| Some(status.get_mut("conditions")?.take()));
        self.conditions = conditions.and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
    }

    /// Returns the condition of this type that was reported last.
    pub(super) fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_is_slowed_down_and_calm_ends_it() {
        let (mut repairs, now) = (Repairs::default(), Instant::now());
        assert!((0..AT_ONCE).all(|_| repairs.rest(now).is_none()));
        let first = repairs.rest(now).unwrap_or_default();
        assert!(first > Duration::ZERO);
        assert_eq!(repairs.rest(now), None, "the repair that it rested before");
        assert!(repairs.rest(now).unwrap_or_default() > first);
        repairs.rest(now);
        assert_eq!(repairs.rest(now + CALM + first), None);
    }
}

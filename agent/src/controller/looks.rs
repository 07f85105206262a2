//! When to look at the machine again. Pure: instants in, instants out.

use std::time::Duration;

use tokio::time::Instant;

/// How long after a hint the looks follow. An engine may still show the old state right after it spoke of a change, so
/// one look is not enough.
const AFTER_HINT: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(150), Duration::from_secs(1)];
/// How long further hints may push the first look away: a removal is a handful of events, and a look in their midst
/// sees what is no more.
const AT_MOST: Duration = Duration::from_millis(100);
/// The least rest between two looks while nothing is under way.
const REST: Duration = Duration::from_millis(20);
/// The least rest before a look for what others may have waited for, while further steps are under way.
const STEP_REST: Duration = Duration::from_millis(250);
/// The least rest before a look for hints while steps are under way: most hints are of these very steps.
const BUSY_REST: Duration = Duration::from_secs(1);
/// The longest time without a look.
const RESYNC: Duration = Duration::from_secs(300);

/// The looks that are due.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    /// A look that nothing may delay: a manifest changed, or the last step is done.
    urgent: Option<Instant>,
    /// The look after steps of a subject ended while others are under way.
    step: Option<Instant>,
    /// The first hint that no look has followed yet.
    first_hint: Option<Instant>,
    /// The looks after the last hint.
    hinted: [Option<Instant>; AFTER_HINT.len()],
    /// The look after a failure's rest.
    retry: Option<Instant>,
    /// The end of the last look, and how long it took.
    last: Option<(Instant, Duration)>,
    /// The look that comes even if nothing is heard.
    resync: Instant,
}

impl Looks {
    /// Returns a schedule whose first look is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            urgent: Some(now),
            step: None,
            first_hint: None,
            hinted: Default::default(),
            retry: None,
            last: None,
            resync: now + RESYNC,
        }
    }

    /// Asks for a look at once.
    pub(super) fn urgent(&mut self, now: Instant) {
        self.urgent.get_or_insert(now);
    }

    /// Asks for looks after a hint. Hints in a row push the first look away, but not for long.
    pub(super) fn hint(&mut self, now: Instant) {
        self.hinted = AFTER_HINT.map(|after| Some(now + after));
        let first = *self.first_hint.get_or_insert(now);
        self.hinted[0] = Some((now + AFTER_HINT[0]).min(first + AT_MOST));
    }

    /// Asks for a look after the steps of one subject ended: others may have waited for it.
    pub(super) fn step_ended(&mut self, now: Instant) {
        self.step.get_or_insert(now);
    }

    /// Asks for a look when the rest of a failure is over. `None` when nothing rests.
    pub(super) fn retry(&mut self, at: Option<Instant>) {
        self.retry = at;
    }

    /// Returns when the next look is due. `busy` while steps are under way.
    pub(super) fn due(&self, busy: bool) -> Instant {
        // A look that takes long must not take all of the machine.
        let after = |rest: Duration| self.last.map(|(end, took)| end + rest.max(took * 2));
        let hinted = self.hinted.iter().flatten().copied().min();
        let patient = [hinted, self.retry].into_iter().flatten().chain([self.resync]).min().unwrap_or(self.resync);
        let patient = after(if busy { BUSY_REST } else { REST }).map_or(patient, |rest| patient.max(rest));
        let step = self.step.map(|step| after(STEP_REST).map_or(step, |rest| step.max(rest)));
        [self.urgent, step].into_iter().flatten().chain([patient]).min().unwrap_or(patient)
    }

    /// Notes that a look begins: what was due by now is done with it.
    pub(super) fn begun(&mut self, now: Instant) {
        self.urgent = None;
        self.step = None;
        self.first_hint = None;
        for look in &mut self.hinted {
            *look = look.filter(|due| *due > now);
        }
        self.resync = now + RESYNC;
    }

    /// Notes that the look that began at `begun` has ended.
    pub(super) fn ended(&mut self, begun: Instant, now: Instant) {
        self.last = Some((now, now - begun));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn rested() -> (Looks, Instant) {
        let start = Instant::now();
        let mut looks = Looks::new(start);
        assert_eq!(looks.due(false), start);
        looks.begun(start);
        looks.ended(start, start + MS);
        (looks, start + 1000 * MS)
    }

    #[test]
    fn quiet_means_no_look_for_minutes() {
        let (looks, now) = rested();
        assert!(looks.due(false) >= now + Duration::from_secs(60));
    }

    #[test]
    fn a_hint_brings_three_looks() {
        let (mut looks, mut now) = rested();
        looks.hint(now);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let due = looks.due(false);
            seen.push((due - now).as_millis());
            looks.begun(due);
            looks.ended(due, due + MS);
        }
        assert_eq!(seen, [10, 150, 1000]);
        now += Duration::from_secs(2);
        assert!(looks.due(false) > now + Duration::from_secs(60));
    }

    #[test]
    fn a_storm_of_hints_delays_nothing_and_floods_nothing() {
        let (mut looks, start) = rested();
        let mut count = 0;
        for ms in 0..1000 {
            let now = start + ms * MS;
            looks.hint(now);
            if looks.due(false) <= now {
                looks.begun(now);
                looks.ended(now, now + MS);
                count += 1;
            }
        }
        assert!((8..=12).contains(&count), "{count} looks in a second");
    }

    #[test]
    fn steps_under_way_make_looks_rarer_but_not_urgent_ones() {
        let (mut looks, _) = rested();
        let now = looks.last.map_or_else(Instant::now, |(end, _)| end);
        looks.hint(now);
        assert_eq!(looks.due(true), now + BUSY_REST);
        looks.urgent(now);
        assert_eq!(looks.due(true), now);
    }
}

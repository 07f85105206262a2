//! What the answers to a health check say together. Pure: instants in, health out.

use std::time::Duration;

use piccolo_schema::container::HealthCheck;
use tokio::time::Instant;

use crate::host::Health;

/// The time between two checks when the manifest does not say, and how long one may take, as with the engine's own.
const DEFAULT: Duration = Duration::from_secs(30);
/// The time between two checks until the first that passes, so that a start is soon known to have worked.
const EAGER: Duration = Duration::from_secs(1);

/// The health of one container, as far as it has been asked.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    interval: Duration,
    retries: u32,
    /// Until then failures don't count.
    grace: Instant,
    failures: u32,
    health: Health,
}

impl Pulse {
    /// Returns the pulse of a container that was just started.
    pub(super) fn new(check: &HealthCheck, now: Instant) -> Self {
        let interval = check.interval.map_or(DEFAULT, piccolo_schema::duration::Duration::get);
        let retries = u32::from(check.retries.unwrap_or(3));
        // A start is given as many intervals as a running container.
        let grace = check.start_period.map_or(Duration::ZERO, piccolo_schema::duration::Duration::get)
            + interval * retries.saturating_sub(1);
        Self { interval, retries, grace: now + grace, failures: 0, health: Health::Starting }
    }

    /// Returns how long one check may take.
    pub(super) fn timeout(check: &HealthCheck) -> Duration {
        check.timeout.map_or(DEFAULT, piccolo_schema::duration::Duration::get)
    }

    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// Returns when to ask again, from now on.
    pub(super) fn rest(&self) -> Duration {
        if self.health == Health::Starting { self.interval.min(EAGER) } else { self.interval }
    }

    /// Takes in an answer. Returns true if the health is another one now.
    pub(super) fn heard(&mut self, passed: bool, now: Instant) -> bool {
        let before = self.health;
        self.failures = if passed { 0 } else { self.failures.saturating_add(1) };
        self.health = match before {
            _ if passed => Health::Healthy,
            Health::Starting if now < self.grace => Health::Starting,
            Health::Starting => Health::Unhealthy,
            _ if self.failures >= self.retries => Health::Unhealthy,
            other => other,
        };
        self.health != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn pulse(spec: &str) -> (Pulse, Instant) {
        let check = serde_json::from_str(spec).unwrap_or_else(|error| unreachable!("{error}"));
        let now = Instant::now();
        (Pulse::new(&check, now), now)
    }

    #[test]
    fn a_start_is_asked_often_and_given_time() {
        let (mut pulse, now) = pulse(r#"{"tcp": {"port": 1}, "interval": "10s", "startPeriod": "5s"}"#);
        assert_eq!(pulse.rest(), S);
        assert!(!pulse.heard(false, now + 24 * S));
        assert!(pulse.heard(false, now + 25 * S));
        assert_eq!((pulse.health(), pulse.rest()), (Health::Unhealthy, 10 * S));
    }

    #[test]
    fn one_failure_is_none() {
        let (mut pulse, now) = pulse(r#"{"tcp": {"port": 1}, "interval": "10s", "retries": 2}"#);
        assert!(pulse.heard(true, now));
        assert!(!pulse.heard(false, now + 60 * S));
        assert!(!pulse.heard(true, now + 70 * S));
        assert!(!pulse.heard(false, now + 80 * S));
        assert!(pulse.heard(false, now + 90 * S));
        assert_eq!(pulse.health(), Health::Unhealthy);
        assert!(pulse.heard(true, now + 100 * S));
    }
}

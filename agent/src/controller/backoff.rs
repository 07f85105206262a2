//! How long a subject rests after a failure.

use std::time::Duration;

/// The rest after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest rest.
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row. Starts anew when the subject settles or its manifest changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and returns how long to rest: twice as long as the last time, up to five minutes. `jitter` from
    /// 0 to 1 moves the rest by up to a fifth either way, so that many subjects that failed together don't come back
    /// together.
    pub(super) fn failed(&mut self, jitter: f64) -> Duration {
        let rest = FIRST.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        rest.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }

    /// Returns the number of failures in a row.
    pub(super) const fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let rests: Vec<_> = (0..40).map(|_| backoff.failed(0.5)).collect();
        assert_eq!(rests[0], FIRST);
        assert_eq!(rests[1], FIRST * 2);
        assert!(rests.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(rests[39], LONGEST);
    }

    #[test]
    fn jitter_moves_by_a_fifth() {
        assert_eq!(Backoff::default().failed(0.0), FIRST.mul_f64(0.8));
        assert_eq!(Backoff::default().failed(1.0), FIRST.mul_f64(1.2));
    }
}

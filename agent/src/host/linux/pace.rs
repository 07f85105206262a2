//! When to tell how far something has come, and when to give it up.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two words on how far something has come: each becomes a status, which is stored.
const REST: Duration = Duration::from_secs(1);

/// The pace at which something is told that speaks often, or not at all.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    given_up: Instant,
    told: Option<Instant>,
    news: bool,
}

impl Pace {
    /// Begins. It is given up after a silence of this length.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, given_up: Instant::now() + patience, told: None, news: false }
    }

    /// Takes a word, and whether there is something in it to be told.
    pub(super) fn heard(&mut self, news: bool) {
        self.given_up = Instant::now() + self.patience;
        self.news |= news;
    }

    /// Returns until when the next word is to be waited for.
    pub(super) fn next(&self) -> Instant {
        let tell = self.told.filter(|_| self.news).map(|told| told + REST);
        tell.map_or(self.given_up, |tell| tell.min(self.given_up))
    }

    /// Returns true if nothing was said for too long.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.given_up
    }

    /// Returns true if something is to be told now, which is told with that.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.news && self.told.is_none_or(|told| told.elapsed() >= REST);
        if due {
            self.news = false;
            self.told = Some(Instant::now());
        }
        due
    }
}

use std::time::{Duration, Instant};

use piccolo_schema::Progress;

use super::super::{progress::bar, screen::Screen, top::size};

/// The least time between two pictures.
const REST: Duration = Duration::from_millis(100);

/// Shows on a terminal how much of a file has passed.
pub(super) struct Gauge {
    what: &'static str,
    total: Option<u64>,
    done: u64,
    drawn: Option<Instant>,
}

impl Gauge {
    pub(super) const fn new(what: &'static str, total: Option<u64>) -> Self {
        Self { what, total, done: 0, drawn: None }
    }

    /// Counts bytes, and shows it if somebody looks.
    pub(super) fn pass(&mut self, bytes: usize, screen: &Screen) {
        self.done += bytes as u64;
        if screen.redraws() && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REST) {
            self.drawn = Some(Instant::now());
            screen.redraw(&self.words());
        }
    }

    fn words(&self) -> String {
        let done = size(self.done);
        let Some(total) = self.total.filter(|total| *total > 0) else { return format!("{} {done}", self.what) };
        let percent = u8::try_from(self.done.saturating_mul(100) / total).unwrap_or(100);
        let drawn = bar(&Progress { percent, ..Progress::default() });
        format!("{} {drawn} {percent} %, {done} of {}", self.what, size(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_far_it_is() {
        let words = |total, done| Gauge { done, ..Gauge::new("sending", total) }.words();
        assert_eq!(words(Some(8 << 20), 4 << 20), "sending [##########          ] 50 %, 4.0M of 8.0M");
        assert_eq!(words(None, 4 << 20), "sending 4.0M");
        assert_eq!(words(Some(0), 0), "sending 0B");
    }
}

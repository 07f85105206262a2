//! A change on trial: what it wrote is put back unless somebody confirms it in time. Pure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::change::Door;
use crate::clock::Uptime;

/// The longest that a change may be on trial.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How the names of changes on trial begin.
pub const CHANGE: &str = "change-";

/// The change on trial, and the one that was it before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trials {
    /// What waits for its confirmation.
    pub pending: Option<Arc<Trial>>,
    /// What became of the last one.
    pub ended: Option<Arc<Ended>>,
}

/// A change that is put back unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The name by which it is confirmed.
    pub id: String,
    /// The way in that it came.
    pub door: Door,
    /// How long it may wait.
    pub within: Duration,
    /// When it is put back, by the clock.
    pub until: Timestamp,
    /// When it is put back, by the time since the machine was started.
    due: Uptime,
    /// What it wrote, by path relative to the root.
    files: BTreeMap<PathBuf, Tried>,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The name of the change.
    pub id: String,
    /// Whether it stays.
    pub confirmed: bool,
    /// What was not put back, as a hand was there meanwhile.
    pub left: Vec<PathBuf>,
}

/// One file that the change wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tried {
    /// What it said before, none if it was not there.
    pub(super) before: Option<Arc<str>>,
    /// The fingerprint of that.
    pub(super) old: Option<String>,
    /// The fingerprint of what the change made of it, none if it removed the file.
    pub(super) new: Option<String>,
}

/// What is to be done with one file when the change is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as the change left it: it becomes what it was.
    Back,
    /// It is what it was.
    Done,
    /// A hand was there meanwhile, and its work is not lost.
    Left,
}

/// Both clocks at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) up: Uptime,
}

/// On which terms a change is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) within: Duration,
    pub(super) door: Door,
}

impl Trial {
    pub(super) fn begin(id: String, terms: Terms, now: &Moment) -> Self {
        let Terms { within, door } = terms;
        let begun =
            Self { id, door, within: Duration::ZERO, until: now.wall, due: now.up.clone(), files: BTreeMap::new() };
        begun.extended(within, now)
    }

    /// Returns it with more time: this long from now, and never less than there was.
    pub(super) fn extended(mut self, within: Duration, now: &Moment) -> Self {
        let within = within.min(LONGEST).max(self.left(now));
        self.within = within;
        self.until = now.wall.checked_add(SignedDuration::try_from(within).unwrap_or_default()).unwrap_or(now.wall);
        self.due = now.up.later(within);
        self
    }

    /// Adds a file that is about to be written. What a hand made of one meanwhile is what it goes back to.
    pub(super) fn joined(mut self, path: PathBuf, tried: Tried) -> Self {
        match self.files.get_mut(&path) {
            Some(known) if known.new == tried.old => known.new = tried.new,
            _ => drop(self.files.insert(path, tried)),
        }
        self
    }

    /// Returns how long it may still wait. After a start of the machine only the clock tells, which may be wrong by years:
    /// it is never longer than what was asked for.
    pub(super) fn left(&self, now: &Moment) -> Duration {
        let left = self
            .due
            .since(&now.up)
            .unwrap_or_else(|| Duration::try_from(self.until.duration_since(now.wall)).unwrap_or_default());
        left.min(self.within)
    }

    /// Returns it as it goes on after a start of the machine, from when on the time since then counts.
    pub(super) fn resumed(mut self, now: &Moment) -> Self {
        self.due = now.up.later(self.left(now));
        self
    }

    /// Returns the files that it wrote.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &Tried)> {
        self.files.iter()
    }
}

impl Tried {
    /// Decides by the fingerprint that the file has now, none if there is none.
    pub(super) fn fate(&self, now: Option<&str>) -> Fate {
        if now == self.old.as_deref() {
            Fate::Done
        } else if now == self.new.as_deref() {
            Fate::Back
        } else {
            Fate::Left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, boot: &str, up: u64) -> Moment {
        let up = Uptime { boot: boot.to_owned(), up: Duration::from_secs(up) };
        Moment { wall: Timestamp::from_second(wall).unwrap(), up }
    }

    fn trial(within: u64, now: &Moment) -> Trial {
        let terms = Terms { within: Duration::from_secs(within), door: Door::Api };
        Trial::begin("change-1".to_owned(), terms, now)
    }

    fn tried(old: Option<&str>, new: Option<&str>) -> Tried {
        Tried { before: old.map(Into::into), old: old.map(str::to_owned), new: new.map(str::to_owned) }
    }

    #[test]
    fn the_time_since_the_start_counts_and_after_another_start_the_clock() {
        let trial = trial(120, &at(1_000, "a", 50));
        let left = |now: Moment| trial.left(&now).as_secs();
        // A clock that is set does not matter while the machine runs.
        assert_eq!(left(at(1_000_000, "a", 60)), 110);
        assert_eq!(left(at(0, "a", 169)), 1);
        assert_eq!(left(at(1_010, "a", 200)), 0);
        // After a start only the clock knows; one that is behind gives no more than was asked for.
        assert_eq!(left(at(1_030, "b", 5)), 90);
        assert_eq!(left(at(0, "b", 5)), 120);
        assert_eq!(left(at(5_000, "b", 5)), 0);
        // From the first look on, the time since the start counts again.
        let resumed = trial.resumed(&at(0, "b", 5));
        assert_eq!(resumed.left(&at(0, "b", 125)).as_secs(), 0);
    }

    #[test]
    fn more_time_is_never_less() {
        let trial = trial(120, &at(0, "a", 0));
        assert_eq!(trial.clone().extended(Duration::from_secs(10), &at(5, "a", 5)).left(&at(5, "a", 5)).as_secs(), 115);
        let long = trial.extended(Duration::from_secs(u64::MAX), &at(5, "a", 5));
        assert_eq!(long.left(&at(5, "a", 5)), LONGEST);
    }

    #[test]
    fn a_file_written_twice_goes_back_to_the_first_text() {
        let path = PathBuf::from("web.toml");
        let trial = trial(120, &at(0, "a", 0));
        let twice = trial.clone().joined(path.clone(), tried(Some("1"), Some("2")));
        let twice = twice.joined(path.clone(), tried(Some("2"), Some("3")));
        assert_eq!(twice.files[&path], tried(Some("1"), None).with("3"));
        // A hand in between: what it wrote is not lost.
        let hand = trial.joined(path.clone(), tried(Some("1"), Some("2"))).joined(path.clone(), tried(Some("h"), None));
        assert_eq!(hand.files[&path], tried(Some("h"), None));
    }

    #[test]
    fn only_what_the_change_left_there_is_put_back() {
        let cases = [
            (tried(Some("1"), Some("2")), Some("2"), Fate::Back),
            (tried(Some("1"), Some("2")), Some("1"), Fate::Done),
            (tried(Some("1"), Some("2")), Some("h"), Fate::Left),
            (tried(Some("1"), Some("2")), None, Fate::Left),
            (tried(None, Some("2")), Some("2"), Fate::Back),
            (tried(None, Some("2")), None, Fate::Done),
            (tried(Some("1"), None), None, Fate::Back),
            (tried(Some("1"), None), Some("h"), Fate::Left),
        ];
        for (tried, now, fate) in cases {
            assert_eq!(tried.fate(now), fate, "{tried:?} {now:?}");
        }
    }

    impl Tried {
        fn with(self, new: &str) -> Self {
            Self { new: Some(new.to_owned()), ..self }
        }
    }
}

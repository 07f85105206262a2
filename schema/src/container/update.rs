//! How a container follows an image whose tag moves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// How long a new image has to do well when the manifest does not say.
const HEALTH_FOR: Duration = Duration::from_millis(120_000);
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// How a container follows its image.
///
/// The registry is asked every 15 minutes which image the tag names. A new one is pulled while the old one runs; then
/// the container is stopped, a snapshot is taken of its volumes that are declared with `snapshot = true`, and the new
/// image is started on trial. If it does not do well, image and data are as before, and it is never tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Update {
    /// Who decides that an update is made.
    #[serde(default)]
    pub policy: UpdatePolicy,
    /// When automatic updates may begin, in the local time of the machine: `03:00-05:00`, or `Sat,Sun 03:00-05:00`. At
    /// any time when left out. A time after midnight belongs to the day on which the window opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(
            pattern = r"^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)(,(Mon|Tue|Wed|Thu|Fri|Sat|Sun))* )?([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"
        ),
        extend("patternErrorMessage" = "write it like `03:00-05:00` or `Sat,Sun 03:00-05:00`")
    )]
    pub window: Option<String>,
    /// How long this machine has to know an image before it is updated to automatically, `24h`. An image that does harm
    /// is often taken back within a day. Not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_age: Option<Duration>,
    /// How long the new image has to do well before it is kept, `120s` when left out: its health check passes, or, where
    /// there is none, it runs without ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_for: Option<Duration>,
}

/// Who decides that an update is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UpdatePolicy {
    /// A person does, with `piccolo update`. That there is one is reported.
    #[default]
    Manual,
    /// It is made as soon as window and age allow.
    Auto,
}

/// A time of the day, on all days or on some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: Vec<usize>,
    from: u16,
    to: u16,
}

impl Update {
    /// Returns how long a new image has to do well.
    pub fn health_for(&self) -> std::time::Duration {
        self.health_for.unwrap_or(HEALTH_FOR).get()
    }

    /// Returns true if an update may begin on this day of the week, counted from Monday as 0, at this minute of the day.
    pub fn is_open(&self, day: usize, minute: u16) -> bool {
        self.window.as_deref().and_then(Window::parse).is_none_or(|window| window.is_open(day, minute))
    }
}

impl Window {
    /// Reads `Sat,Sun 03:00-05:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let (days, times) = text.rsplit_once(' ').map_or((None, text), |(days, times)| (Some(days), times));
        let day = |name: &str| DAYS.iter().position(|it| *it == name);
        let days = days.map_or_else(|| Some((0..7).collect()), |days| days.split(',').map(day).collect())?;
        let (from, to) = times.split_once('-')?;
        Some(Self { days, from: minute(from)?, to: minute(to)? })
    }

    /// Returns true if it begins and ends at the same time.
    pub const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn is_open(&self, day: usize, minute: u16) -> bool {
        let on = |day: usize| self.days.contains(&(day % 7));
        if self.from < self.to {
            return on(day) && (self.from..self.to).contains(&minute);
        }
        (on(day) && minute >= self.from) || (on(day + 6) && minute < self.to)
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(window: &str, day: usize, minute: u16) -> bool {
        Update { window: Some(window.to_owned()), ..Update::default() }.is_open(day, minute)
    }

    #[test]
    fn a_window_opens_and_closes() {
        assert!(!open("03:00-05:00", 2, 179) && open("03:00-05:00", 2, 180) && !open("03:00-05:00", 2, 300));
        assert!(open("Sat,Sun 03:00-05:00", 6, 200) && !open("Sat,Sun 03:00-05:00", 0, 200));
        assert!(Update::default().is_open(0, 0));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_its_first_day() {
        assert!(open("Sun 22:00-02:00", 6, 1439) && open("Sun 22:00-02:00", 0, 119));
        assert!(!open("Sun 22:00-02:00", 6, 60) && !open("Sun 22:00-02:00", 0, 1439));
    }
}

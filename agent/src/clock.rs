//! The one place that reads the real clock.

use std::{fs, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use piccolo_schema::duration::Duration as Written;
use serde::{Deserialize, Serialize};

/// Returns this instant.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns what the clocks of this place show at an instant.
pub fn local(instant: Timestamp) -> DateTime {
    instant.to_zoned(TimeZone::system()).datetime()
}

/// Returns this instant as RFC 3339 in UTC, to the second, as the Kubernetes API writes it.
pub fn now_text() -> String {
    text(now())
}

/// Writes an instant as RFC 3339 in UTC, to the second.
pub fn text(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads `10m` as the instant that long before `now`, and RFC 3339 as itself.
///
/// # Errors
/// A sentence, when it is neither.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let ago: Option<Written> = text.parse().ok().filter(|_| !text.is_empty());
    let instant = ago.and_then(|ago| now.checked_sub(ago.get()).ok());
    instant.ok_or_else(|| format!("write a duration like `10m`, or a time like `{}`, not `{text}`", self::text(now)))
}

/// Says how long ago an instant was, in the largest unit that says it well: `45s`, `3m`, `5h`, `12d`.
pub fn age(since: Timestamp) -> String {
    match now().duration_since(since).as_secs().max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How long the machine runs, its sleep included, and which of its starts that is counted from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// The start.
    pub boot: String,
    /// The time since then.
    pub up: Duration,
}

/// Returns how long the machine runs.
pub fn uptime() -> Uptime {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let up = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = up.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let up = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Uptime { boot: boot.trim().to_owned(), up }
}

impl Uptime {
    /// Returns the moment this much later.
    pub fn later(&self, by: Duration) -> Self {
        Self { boot: self.boot.clone(), up: self.up.saturating_add(by) }
    }

    /// Returns how much later this is than another moment; none if the machine was started in between.
    pub fn since(&self, other: &Self) -> Option<Duration> {
        (self.boot == other.boot).then(|| self.up.saturating_sub(other.up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_duration_ago_or_a_time() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let read = |text| moment(text, now).map(|it| it.to_string());
        assert_eq!(read("10m").unwrap(), "2026-03-01T11:50:00Z");
        assert_eq!(read("1h30m").unwrap(), "2026-03-01T10:30:00Z");
        assert_eq!(read("2026-02-28T00:00:00+01:00").unwrap(), "2026-02-27T23:00:00Z");
        for bad in ["", "10", "yesterday", "10m ago", "-5m", "2026-02-30T00:00:00Z"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("soon").unwrap_err().contains("`10m`"));
    }
}

//! The one place that reads the real clock.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

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

/// Says how long ago an instant was, in the largest unit that says it well: `45s`, `3m`, `5h`, `12d`.
pub fn age(since: Timestamp) -> String {
    match now().duration_since(since).as_secs().max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

//! The one place that reads the real clock.

use jiff::Timestamp;

/// Returns this instant.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns this instant as RFC 3339 in UTC, to the second, as the Kubernetes API writes it.
pub fn now_text() -> String {
    text(now())
}

/// Writes an instant as RFC 3339 in UTC, to the second.
pub fn text(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

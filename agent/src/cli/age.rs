//! How long ago something was.

use jiff::Timestamp;

use crate::clock;

/// Returns how long ago that was, `3m`; the text itself if it is no time.
pub(super) fn age(time: &str) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return time.to_owned() };
    match clock::now().duration_since(then).as_secs().max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

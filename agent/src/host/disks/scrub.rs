use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is known of the scrubs of a file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrubSeen {
    /// When the last one was begun, or the file system was mounted first.
    pub begun: Timestamp,
    /// True while one is under way, whoever began it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub runs: bool,
    /// True if the last one was broken off by the end of the machine or of the program, and can be gone on with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub broken_off: bool,
    /// True if one has come to its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// How many errors the last one mended.
    #[serde(skip_serializing_if = "is_zero")]
    pub mended: u64,
    /// How many errors it found and could not mend.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

//! How file systems are mounted, and what is seen of that.

use piccolo_schema::disk::Filesystem;
use serde::{Deserialize, Serialize};

use super::{Mirrored, PairSeen, ScrubSeen};

/// How a file system is mounted, or swap used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// The UUID by which it is found.
    pub uuid: String,
    /// What the kernel calls the disk or partition now.
    pub device: String,
    /// What it is.
    pub filesystem: Filesystem,
    /// Where; none for swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// How, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The size of the whole disk that the file system fills, or that it had when it was first mounted.
    pub disk_size: u64,
    /// The other disk, if it is on two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirrored>,
}

/// A mount of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountSeen {
    /// The manifest.
    pub subject: String,
    /// As it was asked for.
    #[serde(flatten)]
    pub mount: Mount,
    /// True if it is there now, and is what was asked for.
    pub present: bool,
    /// True if its disk likes to be told which blocks are free, and is not told at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trims: bool,
    /// When it was told so last, or was mounted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<jiff::Timestamp>,
    /// What is known of its scrubs, where its file system knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubSeen>,
    /// How its two disks stand, if it is on two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairSeen>,
    /// How many bytes it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many of them are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

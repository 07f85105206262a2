use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskSpec, Filesystem, MountOption};

/// How often all that is stored is read, and compared with its checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scrub {
    /// Every week.
    Weekly,
    /// Every thirty days.
    #[default]
    Monthly,
    /// Not by Piccolo.
    Never,
}

/// How the last scrub ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScrubStatus {
    /// When it was begun.
    pub begun: String,
    /// How many errors it mended.
    #[serde(default)]
    pub mended: u64,
    /// How many errors it could not mend: what lies there is lost.
    #[serde(default)]
    pub lost: u64,
}

impl DiskSpec {
    /// Returns after how many days a disk is scrubbed anew; none where it is not, or can't be.
    pub fn scrubbed_every(&self) -> Option<i64> {
        let writes = !self.options.contains(&MountOption::ReadOnly);
        match self.scrub.unwrap_or_default() {
            _ if self.filesystem != Filesystem::Btrfs || !writes => None,
            Scrub::Weekly => Some(7),
            Scrub::Monthly => Some(30),
            Scrub::Never => None,
        }
    }
}

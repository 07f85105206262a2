//! What disks say of themselves.

use serde::{Deserialize, Serialize};

/// What a disk counts of its own health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthSeen {
    /// How much of its memory's life is used up, in percent; more than 100 where it outlives that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worn: Option<u64>,
    /// How many sectors it has put others in the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reallocated: Option<u64>,
}

//! `Volume`: a named place for data that outlives containers.

mod places;
mod rules;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, quantity::Bytes};

pub use places::{lies_in, machines_own, plain};

/// A named place for data, which containers mount by its name and which outlives them.
///
/// Data is never erased: a manifest that goes away leaves the volume and everything in it where it is.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Volume",
    plural = "volumes",
    singular = "volume",
    shortname = "vol",
    category = "all",
    derive = "PartialEq",
    status = "VolumeStatus",
    doc = "A named place for data that outlives containers. It is never erased.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Path", type_ = "string", json_path = ".status.path"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The directory of the machine that holds the data. The engine keeps the data itself when left out.
    ///
    /// The directory above it must exist, so that a disk which is not mounted is noticed. Of a volume that exists it
    /// can't be changed while a container uses it, and no data moves along: copy it yourself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub path: Option<String>,
    /// The user and group that own its top directory, as numbers: `999:999`. What is in it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9]{1,10}:[0-9]{1,10}$"),
        extend("patternErrorMessage" = "write user and group as numbers: `999:999`")
    )]
    pub owner: Option<String>,
    /// The permissions of its top directory, in octal: `0750`. What is in it is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-3]?[0-7]{3}$"),
        extend("patternErrorMessage" = "write octal digits: `0750`, or `2770` for a directory whose group is handed down")
    )]
    pub mode: Option<String>,
    /// The most that may be stored in it, `20Gi`. Needs ext4 or xfs, mounted with `prjquota`, and the program `setquota`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Bytes>,
    /// Takes a snapshot of it before a container that uses it gets a new image, to which a failed update returns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub snapshot: bool,
}

/// How a volume stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// The engine's name of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_name: Option<String>,
    /// The directory of the machine that really holds the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The user and group that really own its top directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The permissions that its top directory really has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// How much is stored in it, where a quota counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Bytes>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl VolumeSpec {
    /// Returns the user and the group, if they are asked for and are numbers of an owner.
    pub fn owner_numbers(&self) -> Option<(u32, u32)> {
        let (user, group) = self.owner.as_deref()?.split_once(':')?;
        Some((user.parse().ok()?, group.parse().ok()?))
    }

    /// Returns the permission bits, if they are asked for.
    pub fn mode_bits(&self) -> Option<u32> {
        u32::from_str_radix(self.mode.as_deref()?, 8).ok()
    }

    /// Returns the one spelling of the path, if one is asked for.
    pub fn plain_path(&self) -> Option<String> {
        self.path.as_deref().map(plain)
    }
}

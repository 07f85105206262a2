//! `Install`: the system of a stick comes onto a disk of the machine.

mod rules;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition,
    disk::{Selector, Ticket},
    quantity::Bytes,
};

/// The system of the stick from which this machine runs comes onto a disk of it, once.
///
/// There is one of them on a machine, and it is called `install`. It does something on a stick alone. Only a blank disk is
/// written to, or one for which `wipe` names a ticket; one that holds this version of the system is left as it is. The
/// recovery key of the disk is shown on the machine's own screen and nowhere else.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Install",
    plural = "installs",
    singular = "install",
    shortname = "ins",
    category = "all",
    derive = "PartialEq",
    status = "InstallStatus",
    doc = "The system of the stick from which this machine runs comes onto a disk of it, once.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Disk", type_ = "string", json_path = ".status.serial"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstallSpec {
    /// The properties by which the disk is known. All that are given must be true of it, and of no other disk.
    /// `piccolo install` lists the disks.
    pub select: Selector,
    /// A second disk that holds all of it as well, so that the machine starts and keeps what it knows with either alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// The ticket by which all that is on the disk may be erased once. `POST /install/tickets` makes it.
    ///
    /// It holds for one disk as it was, for an hour and for one time. Afterwards it means nothing: take it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Ticket>")]
    pub wipe: Option<String>,
    /// What comes along beside the system and the machine's own keys.
    #[serde(default, skip_serializing_if = "Keep::is_default")]
    pub keep: Keep,
}

/// A second disk that holds all that the first one holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// The properties by which the second disk is known.
    pub select: Selector,
    /// The ticket by which all that is on the second disk may be erased once. `POST /install/tickets` makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Ticket>")]
    pub wipe: Option<String>,
}

/// What comes along beside the system and the machine's own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Keep {
    /// The manifests, and their history.
    pub manifests: bool,
    /// Who may come in, and by which certificate the machine is known. Without it the disk's machine is nobody's, and has to
    /// be claimed.
    pub access: bool,
}

/// How an installation stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallStatus {
    /// What the kernel calls the disk now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The serial number of the second disk, if there is to be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// What is done now, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Which step that is, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// How much of the step is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Bytes>,
    /// How much it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Bytes>,
    /// How much is done in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Bytes>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Install {
    /// The name of the one that a machine has.
    pub const NAME: &'static str = "install";
}

impl Default for Keep {
    fn default() -> Self {
        Self { manifests: true, access: true }
    }
}

impl Keep {
    /// Returns true if all of it comes along.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

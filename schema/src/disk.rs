//! `Disk`: a disk chosen by its properties, with a file system and a place for it.

mod encryption;
mod filesystem;
mod mirror;
mod partitions;
mod rules;
mod scrub;
mod select;
mod ticket;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, quantity::Bytes, volume::plain};

pub use encryption::{Encryption, Passphrase, Tang, Tpm2};
pub use filesystem::{Filesystem, MountOption};
pub use mirror::Mirror;
pub use partitions::{Partition, PartitionStatus, part_key};
pub(crate) use rules::check_select;
pub use scrub::{Scrub, ScrubStatus};
pub use select::{Selector, Transport};
pub use ticket::Ticket;

/// A disk chosen by its properties, with a file system that is mounted at a place of the machine.
///
/// A blank disk is given its file system. One that holds anything is never written to, unless `wipe` names a ticket for
/// this very disk, which `piccolo disk wipe-ticket` makes. A manifest that goes away unmounts the disk; its data stays.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Disk",
    plural = "disks",
    singular = "disk",
    shortname = "dk",
    category = "all",
    derive = "PartialEq",
    status = "DiskStatus",
    doc = "A disk with a file system. One that holds anything is never written to without a ticket.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Device", type_ = "string", json_path = ".status.device"),
    printcolumn(name = "Mount", type_ = "string", json_path = ".status.mount"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskSpec {
    /// The properties by which the disk is known. All that are given must be true of it, and of no other disk.
    pub select: Selector,
    /// A second disk on which everything is kept as well. For btrfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// What the disk holds, or what its partitions hold that name nothing of their own.
    pub filesystem: Filesystem,
    /// The partitions of the disk, in their order on it, each mounted at a place of its own. Without them all of the disk is
    /// one file system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub partitions: Vec<Partition>,
    /// The directory at which it is mounted, a place of its own such as `/srv/photos`. Swap has none.
    ///
    /// The directory is made if it is missing, and closed to writers while the disk is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub mount: Option<String>,
    /// How it is mounted, beside `nosuid` and `nodev`, which always hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<MountOption>,
    /// Encrypts what is on the disk, in each of its partitions for itself, and says what opens it. For swap `{}`: each start makes
    /// a new key that nobody keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The UUID of the file system that the disk, or a partition of it, holds already, to use it as it is. With
    /// `encryption` it is that of the encrypted disk or partition, with `partitions` that of the table of partitions.
    /// Encrypted swap of others is never taken over.
    ///
    /// `piccolo disk list` shows it, and `sfdisk --disk-id DISK` that of a table. Nothing is written to it but what those who
    /// use it write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9A-Fa-f]{4}[0-9A-Fa-f-]{4,32}$"),
        extend("patternErrorMessage" = "write the UUID as `piccolo disk list` shows it: `6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21`")
    )]
    pub adopt: Option<String>,
    /// The ticket by which all that is on the disk may be erased once. `piccolo disk wipe-ticket` makes it.
    ///
    /// It holds for one disk as it was, for an hour and for one time. Afterwards it means nothing: take it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Ticket>")]
    pub wipe: Option<String>,
    /// Tells the disk at once which blocks are free, as flash likes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trim: bool,
    /// How often all that is stored is read and compared with its checksums, and mended where there is a second copy.
    /// Monthly when left out. For btrfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrub>,
    /// From how full on it is told of, in percent.
    #[serde(default, skip_serializing_if = "Usage::is_default")]
    pub usage: Usage,
}

/// From how full on a disk is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Usage {
    /// In percent, from here on it is said to fill up.
    #[schemars(range(min = 1, max = 100))]
    pub warn: u8,
    /// In percent, from here on it is said to be full.
    #[schemars(range(min = 1, max = 100))]
    pub full: u8,
}

/// How a disk stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskStatus {
    /// What the kernel calls the disk now; another name after the next start.
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
    /// The UUID of its file system, or the GUID of its table of partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// How it is encrypted, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionStatus>,
    /// Where it is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// How much is stored on it, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<u8>,
    /// How the last scrub ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubStatus>,
    /// What the disk says of its own health, where it was asked (SMART).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
    /// How the second of two disks stands, where `mirror` asks for one and it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorStatus>,
    /// How its partitions stand, in their order; at last those that are on the disk and not in the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionStatus>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What a disk says of its own health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// Whether it finds nothing wrong with itself.
    pub passed: bool,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// How much of its memory's life is used up, in percent; more than 100 where it outlives that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worn_percent: Option<u64>,
    /// How many sectors it has put others in the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reallocated_sectors: Option<u64>,
}

/// How the second of two disks stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MirrorStatus {
    /// What the kernel calls it now; another name after the next start.
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
    /// What it says of its own health, where it was asked (SMART).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,
}

/// How the encryption of a disk stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionStatus {
    /// The UUID of what is encrypted; of two disks, that of the first.
    pub uuid: String,
    /// Whether it is open; of two disks, whether each that is there is.
    pub open: bool,
    /// What opens it, by the numbers of its key slots; of two disks, with the device of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// When its recovery key was last proved to open it, and the other one of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_proved: Option<String>,
}

impl DiskSpec {
    /// Returns the one spelling of the mount point, if there is one.
    pub fn plain_mount(&self) -> Option<String> {
        self.mount.as_deref().map(plain)
    }

    /// Returns the options of the mount in one order.
    pub fn mount_options(&self) -> Vec<String> {
        let mut options: Vec<String> = self.options.iter().map(|it| it.as_str().to_owned()).collect();
        options.extend(["nodev", "nosuid"].map(str::to_owned));
        options.extend(self.trim.then(|| "discard".to_owned()));
        options.sort();
        options.dedup();
        options
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self { warn: 80, full: 90 }
    }
}

impl Usage {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

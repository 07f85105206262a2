//! Volumes: how they are seen, and the verbs that keep them. No verb erases data.

use std::future::Future;

use piccolo_schema::VolumeSpec;
use serde::{Deserialize, Serialize};

use super::{Ground, HostError};

/// Every quota is a whole number of these, so that each file system can count it.
const GRAIN: u64 = 64 << 10;

/// The container engine, and the directories of this machine, as far as volumes go.
pub trait Volumes: Send + Sync + 'static {
    /// Lists all volumes of the engine.
    fn volumes(&self) -> impl Future<Output = Result<Vec<VolumeSeen>, HostError>> + Send;
    /// Waits until a volume may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Makes a volume, stamped as ours, with owner and mode as asked. The directory of its path is made if it is
    /// missing; the one above it must be there.
    fn create_volume(&self, name: &str, spec: &VolumeSpec) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Changes owner and mode of a volume's top directory, and of nothing in it.
    fn set_access(&self, name: &str, access: &Access) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Limits what may be stored in a volume, or lifts the limit.
    fn set_quota(&self, name: &str, bytes: Option<u64>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes the engine forget a volume that stands on a directory of the machine, which stays as it is. Refuses any
    /// other volume: its data would go with it.
    fn release_volume(&self, name: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// Copies of volumes beside them, to go back to.
///
/// A copy is taken file by file. Nothing may write to the volume meanwhile, or the copy is of no single moment. Labels
/// are names of one's own choosing in lower-case letters, digits, `.` and `-`; use each once.
pub trait Snapshots: Send + Sync + 'static {
    /// Copies a volume. A snapshot is there whole or not at all; one that is there already stays as it is.
    fn snapshot(&self, volume: &str, label: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives a volume the data of a snapshot, which is kept. The data that it replaces becomes the snapshot
    /// `<label>.replaced`. Refuses while a container runs on the volume. One that was broken off is to be repeated before
    /// anything uses the volume again.
    fn restore(&self, volume: &str, label: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes a snapshot.
    fn drop_snapshot(&self, volume: &str, label: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Lists the snapshots of a volume, sorted by label.
    fn snapshots(&self, volume: &str) -> impl Future<Output = Result<Vec<SnapshotSeen>, HostError>> + Send;
}

/// What a look shows of volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumesView {
    /// All volumes of the engine.
    pub volumes: Vec<VolumeSeen>,
    /// The places of declared disks, on which directories of volumes may lie.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grounds: Vec<Ground>,
}

/// A volume as the engine and the file system show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSeen {
    /// Its name.
    pub name: String,
    /// True if we made it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stamped: bool,
    /// The directory of the machine that it stands on; none when the engine keeps its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it is if it is no plain directory, `nfs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// How its top directory is. Only looked at when the volume is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<Directory>,
    /// Why the directory can't be used, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Names of the containers that mount it, running or not. Only asked for when it is ours and stands on a path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
}

/// The top directory of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Directory {
    /// The numbers of user and group, `999:999`.
    pub owner: String,
    /// The permissions in four octal digits, `0750`.
    pub mode: String,
    /// What may be stored in it.
    #[serde(skip_serializing_if = "Quota::is_plain")]
    pub quota: Quota,
}

/// What a file system limits in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Quota {
    /// Why it can't limit anything, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<String>,
    /// The limit in bytes that we gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The bytes in it, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// The size of the whole file system, beyond which no limit can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<u64>,
}

/// Owner and mode to be given; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// User and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSeen {
    /// Its label.
    pub label: String,
    /// When it was taken, RFC 3339.
    pub taken: String,
}

impl Access {
    /// Returns what a spec asks for.
    pub fn of(spec: &VolumeSpec) -> Self {
        Self { owner: spec.owner_numbers(), mode: spec.mode_bits() }
    }

    /// Returns true if nothing is asked for.
    pub const fn is_nothing(&self) -> bool {
        self.owner.is_none() && self.mode.is_none()
    }
}

impl Directory {
    /// Returns a directory of this owner and mode.
    pub fn new((user, group): (u32, u32), mode: u32, quota: Quota) -> Self {
        Self { owner: format!("{user}:{group}"), mode: format!("{:04o}", mode & 0o7777), quota }
    }

    /// Returns the part of `wanted` in which it differs.
    pub fn lacks(&self, wanted: &Access) -> Access {
        Access {
            owner: wanted.owner.filter(|(user, group)| self.owner != format!("{user}:{group}")),
            mode: wanted.mode.filter(|mode| self.mode != format!("{mode:04o}")),
        }
    }
}

impl Quota {
    /// Returns the limit that is set for so many bytes.
    pub const fn rounded(bytes: u64) -> u64 {
        bytes.div_ceil(GRAIN).saturating_mul(GRAIN)
    }

    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

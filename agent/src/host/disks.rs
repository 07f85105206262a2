//! Disks: how they are seen, and the verbs that keep them. One verb writes to a disk, and only where the guard let it.

mod fits;
mod ground;
mod health;
mod luks;
mod mount;
mod names;
mod pair;
pub mod parted;
mod scrub;
mod state;
mod ticket;

use std::future::Future;

use piccolo_schema::disk::{Encryption, Filesystem, Transport};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::HostError;

pub use ground::{Ground, Grounds, Places as GroundPlaces};
pub use health::HealthSeen;
pub use luks::{
    Bound, HalfKey, KeyAct, KeyOrder, KeySeen, LUKS, Locked, LuksSeen, NewKey, Opened, OpenedBy, Shut, Unlocked, bound,
    mapped, mapped_name,
};
pub use mount::{Mount, MountSeen};
pub use names::{human, label, label_of, swap_label};
pub use pair::{Alone, Half, HalfOrder, JoinOrder, Mirrored, OpenHalf, PairSeen, RebuildOrder};
use parted::PartOrder;
pub use scrub::ScrubSeen;
pub use state::{LeftOut, Meant, Moved, Rebound, Retrieved, StateHalves, StateSeen, Undone, WhyLeftOut};
pub use ticket::{Standing, Ticket, named};

/// The label of a file system that is being made and was not looked over yet.
pub const HALF_MADE: &str = "piccolo-half";

/// The disks of this machine, and what is mounted of them by us.
pub trait Disks: Send + Sync + 'static {
    /// Lists all disks, our mounts, tickets, and what we began to make.
    fn disks(&self) -> impl Future<Output = Result<DisksView, HostError>> + Send;
    /// Waits until a disk may have come, gone or changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Makes a file system on a disk that is still as the order says, and refuses any other. A ticket is used up before
    /// the first write.
    fn make(&self, subject: &str, order: &MakeOrder) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Mounts a file system, or uses swap, and remembers that.
    fn mount_disk(&self, subject: &str, mount: &Mount) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Changes the options of what is mounted.
    fn remount_disk(&self, subject: &str, mount: &Mount) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Lets a mounted file system fill its disk, which has grown to the size that the mount tells.
    fn grow_disk(&self, subject: &str, mount: &Mount) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Tells a disk which of its blocks are free, and remembers when.
    fn trim_disk(&self, subject: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Opens or closes an encrypted disk, or changes its keys. Where nothing opens it, that is remembered and told by the
    /// next look.
    fn turn_key(&self, subject: &str, order: &KeyOrder) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Begins to scrub a mounted file system, or goes on with what was broken off, and remembers when. It goes on by itself.
    fn scrub_disk(&self, subject: &str, resumes: bool) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Begins to fill a disk in the place of the lost half of a mounted file system. A ticket is used up before the first
    /// write. It goes on by itself.
    fn rebuild_disk(&self, subject: &str, order: &RebuildOrder) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes one file system on two encrypted disks that are open and hold nothing yet, and refuses any others.
    fn join_disk(&self, subject: &str, order: &JoinOrder) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Begins to keep everything twice again that was written while a half was missing. It goes on by itself.
    fn even_disk(&self, subject: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Takes a mount of ours away, closes what was opened for it, and forgets both. What is on the disk stays.
    fn unmount_disk(&self, subject: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What the machine has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DisksView {
    /// Every disk, sorted by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSeen>,
    /// What we mounted, sorted by subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSeen>,
    /// Every ticket that is remembered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tickets: Vec<Ticket>,
    /// What we began to make and did not end, sorted by subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub making: Vec<Making>,
    /// Encrypted disks that we opened, sorted by subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlocked: Vec<Unlocked>,
    /// Encrypted disks that nothing opened, sorted by subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locked: Vec<Locked>,
    /// Encrypted disks that the TPM does not open as it started this time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shut: Vec<Shut>,
    /// Whose signatures over the kernel's image come with this system, by the name of that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// When it was looked.
    pub now: jiff::Timestamp,
}

/// By what a disk is known wherever it is plugged in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Its serial number, empty if it tells none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial: String,
    /// Its world wide name, empty if it tells none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wwn: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A disk as the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskSeen {
    /// What the kernel calls it now, `sda`.
    pub device: String,
    /// The number of this plugging-in, which no other disk has until the next start.
    pub seq: u64,
    /// By what it is known.
    #[serde(flatten)]
    pub identity: Identity,
    /// Its model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Its names in `/dev/disk/by-id`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// How it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// True if it turns.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rotational: bool,
    /// True if it can't be written to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// True if the machine itself runs from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// What is found on it, by offset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
    /// What its first and last mebibytes are like.
    pub ends: Ends,
    /// The GUID of its table of partitions, if it has one (GPT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Its partitions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<Partition>,
    /// What of it is encrypted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub luks: Vec<LuksSeen>,
    /// What stands on it or a partition of it: `md0`, `dm-1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<String>,
    /// Where it or a partition of it is mounted; `swap` where it is used so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<String>,
    /// What the half of a file system that it holds says of itself, where that is on several disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half: Option<Half>,
    /// The marks that we leave while we make a file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
    /// Why it can't be looked at, or looked at no further, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What it says of its own health when it is about to fail, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// What it counts of its own health, once it was asked and answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSeen>,
}

/// What programs that make file systems and the like leave on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Signature {
    /// Where.
    pub offset: u64,
    /// What, in the word of util-linux: `ext4`, `crypto_LUKS`, `LVM2_member`, `gpt`.
    pub kind: String,
    /// Its UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A part of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Partition {
    /// What the kernel calls it now, `sda1`.
    pub device: String,
    /// Its name in the table, empty if it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it begins, in bytes; 0 if the table does not tell.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it is joined to with partitions of other disks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<String>,
    /// What is found on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
}

/// What the first and last mebibytes of a disk are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ends {
    /// Nobody looked, as on a disk in use.
    #[default]
    Unknown,
    /// Nothing but zeros.
    Zero,
    /// Something.
    Data,
    /// Something that looks like chance, as encrypted data without a header does.
    Random,
}

/// A mark of ours on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marker {
    /// Which making it belongs to.
    pub nonce: String,
    /// True if the one at the very beginning of the disk is there.
    pub first: bool,
}

/// What we began to make on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Making {
    /// The manifest.
    pub subject: String,
    /// The disk.
    #[serde(flatten)]
    pub identity: Identity,
    /// What is in our marks on it.
    pub nonce: String,
    /// The ticket that was used up for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// How a file system is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MakeOrder {
    /// What the kernel calls the disk now.
    pub device: String,
    /// The number of its plugging-in.
    pub seq: u64,
    /// The disk.
    #[serde(flatten)]
    pub identity: Identity,
    /// The digest of what was found on it.
    pub digest: String,
    /// What is made.
    pub filesystem: Filesystem,
    /// The label that it gets at last.
    pub label: String,
    /// True if it is made so that what is stored in directories can be limited.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quotas: bool,
    /// How it is encrypted, if it is to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The ticket to be used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What is in our marks, if this goes on with what was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// The second disk, if it is made on two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<HalfOrder>>,
    /// The name under which it is made, if it is encrypted to be one of two; it is filled once it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half: Option<String>,
    /// The partitions, if it gets some; the label is then the GUID of their table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartOrder>,
}

impl DiskSeen {
    /// Returns a digest of all that is found on it, to which a ticket is bound.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let found = (
            self.ends,
            &self.signatures,
            &self.partitions.iter().map(|it| (it.size, &it.signatures)).collect::<Vec<_>>(),
        );
        hash.update(serde_json::to_vec(&found).unwrap_or_default());
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns true if nothing at all is on it.
    pub fn is_blank(&self) -> bool {
        self.signatures.is_empty() && self.partitions.is_empty() && self.ends == Ends::Zero && self.marker.is_none()
    }

    /// Returns the one thing that it holds as a whole, if it is one thing alone.
    pub fn whole(&self) -> Option<&Signature> {
        let first = self.signatures.first()?;
        let alike = |other: &Signature| other.kind == first.kind && other.uuid == first.uuid;
        (self.partitions.is_empty() && self.signatures.iter().all(alike)).then_some(first)
    }

    /// Returns all that is found on it and on its partitions, with the device that holds it.
    pub fn found(&self) -> impl Iterator<Item = (&str, &Signature)> {
        let whole = self.signatures.iter().map(|it| (self.device.as_str(), it));
        let parts = self.partitions.iter();
        whole.chain(parts.flat_map(|part| part.signatures.iter().map(|it| (part.device.as_str(), it))))
    }

    /// Returns the disk or the partition that is this thing alone.
    pub fn holds(&self, uuid: &str) -> Option<(&str, &Signature)> {
        let is_it = |it: &&Signature| it.uuid.as_deref().is_some_and(|has| has.eq_ignore_ascii_case(uuid));
        if let Some(whole) = self.whole().filter(is_it) {
            return Some((&self.device, whole));
        }
        let alone = |part: &'_ Partition| part.signatures.iter().all(|it| it.uuid == part.signatures[0].uuid);
        let part =
            self.partitions.iter().find(|part| part.signatures.first().as_ref().is_some_and(is_it) && alone(part))?;
        Some((&part.device, part.signatures.first()?))
    }

    /// Says what it is, for people: its model and serial number with its size.
    pub fn name(&self) -> String {
        let words = [self.model.trim(), self.identity.serial.trim()].into_iter().filter(|it| !it.is_empty());
        let words: Vec<&str> = words.collect();
        let name = if words.is_empty() { "a disk without a name".to_owned() } else { words.join(" ") };
        format!("{name}, {}", human(self.identity.size))
    }

    /// Says what is on it, for people.
    pub fn content(&self) -> String {
        if let Some(whole) = self.whole() {
            return whole.words();
        }
        let parts = self.partitions.iter().filter_map(|it| it.signatures.first()).map(Signature::words);
        let mut parts: Vec<String> = parts.collect();
        if !self.partitions.is_empty() {
            let empty = if parts.is_empty() { "nothing known".to_owned() } else { String::new() };
            parts.truncate(4);
            let many = self.partitions.len();
            let s = if many == 1 { "" } else { "s" };
            return format!("{many} partition{s} with {}{empty}", parts.join(", "));
        }
        match self.signatures.as_slice() {
            [] if self.marker.is_some() => "a file system that was never made to the end".to_owned(),
            [] => match self.ends {
                Ends::Zero => "nothing".to_owned(),
                Ends::Data => "something unknown".to_owned(),
                Ends::Random => "something that looks encrypted".to_owned(),
                Ends::Unknown => "something nobody looked at".to_owned(),
            },
            several => {
                let mut kinds: Vec<&str> = several.iter().map(|it| it.kind.as_str()).collect();
                kinds.sort_unstable();
                kinds.dedup();
                format!("signs of {}", kinds.join(" and "))
            }
        }
    }
}

impl Signature {
    fn words(&self) -> String {
        match self.label.as_deref().filter(|label| !label.is_empty()) {
            Some(label) => format!("{} \"{label}\"", self.kind),
            None => self.kind.clone(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

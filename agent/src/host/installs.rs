//! How the system of a stick comes onto a disk: what there is to choose from, and the verbs, in the order of their use.

use std::future::Future;

use piccolo_schema::{
    disk::Selector,
    install::{Keep, Mirror},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{DiskSeen, HostError, StateHalves, Ticket};

/// What the partition of the state is called until all was read back. No start takes such a one for a system.
pub const UNFINISHED: &str = "piccolo-half-made";
/// What it is called once it counts.
pub const STATE: &str = "piccolo-state";
/// What is in the mark of ours at the beginning of a disk that is about to be written to.
pub const INSTALLING: &str = "696e7374616c6c696e6720706963636f";

/// Hears how many bytes are done, and how many there are in all.
pub type Pace<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// A disk, and by what an installation that did not come to its end is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    /// The disk.
    #[serde(flatten)]
    pub disk: DiskSeen,
    /// What its partitions are called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How large its blocks are, in bytes. Nothing smaller is written to it.
    #[serde(skip_serializing_if = "is_unknown")]
    pub block: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this form")]
fn is_unknown(block: &u64) -> bool {
    *block == 0
}

/// What shall be installed on, and what comes along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The disk.
    pub select: Selector,
    /// The ticket by which it may be erased if it is not blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wipe: Option<String>,
    /// A second disk that holds all of it as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// What comes along.
    #[serde(default, skip_serializing_if = "Keep::is_default")]
    pub keep: Keep,
}

/// The state of the system that runs, where it lies on two disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halved {
    /// Where it lies.
    pub halves: StateHalves,
    /// How large a disk is at least that holds the start, the slots and one half.
    pub least: u64,
    /// How large the blocks are that it is written in, in bytes.
    pub block: u64,
}

/// What this system runs from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunsFrom {
    /// A stick, from which it can be installed.
    Stick,
    /// A disk on which it was installed.
    Disk,
    /// It is a system of others.
    #[default]
    Elsewhere,
}

/// What there is to be installed on, and how far an installation is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstallView {
    /// What this system runs from.
    pub runs_from: RunsFrom,
    /// Why nothing can be installed from this stick, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// The version of this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Every disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The tickets by which disks may be erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tickets: Vec<Ticket>,
    /// How far the installation is that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
    /// The last one that a manifest asked for, and that wrote to its disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// When it was looked.
    pub now: jiff::Timestamp,
}

/// How far an installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnderWay {
    /// Which step is under way, counted from 1.
    pub step: u32,
    /// How many there are.
    pub steps: u32,
    /// What is done, for people.
    pub text: String,
    /// How many bytes of this step are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// How many it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many are done in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

/// An installation that came to its end, well or not, since the daemon was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tried {
    /// The plugging-in of its disk.
    pub seq: u64,
    /// The plugging-in of the second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<u64>,
    /// What was asked for.
    pub order: Order,
    /// Why it failed, none if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// The installer as a whole: what it sees, and the one thing that it does.
pub trait Installing: Send + Sync + 'static {
    /// Looks at the disks. While an installation is under way, says how far it is.
    fn installing(&self) -> impl Future<Output = Result<InstallView, HostError>> + Send;
    /// Waits until a disk may have come or gone, or an installation went on.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Installs, from the mark to the end. Dropped, it goes on.
    fn install(&self, order: &Order) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// The live system of a stick, and the disks beside it; or a system that runs from two disks, and one that takes the place of one
/// of them.
///
/// Each verb can be repeated. After any of them, and in the midst of any of them, the power may fail.
pub trait Installs: Send + Sync {
    /// Says why nothing can be installed from here, if so.
    fn obstacle(&self) -> Option<String>;
    /// Lists all disks.
    fn targets(&self) -> impl Future<Output = Result<Vec<Target>, HostError>> + Send;
    /// Lists the tickets by which disks may be erased.
    fn tickets(&self) -> impl Future<Output = Result<Vec<Ticket>, HostError>> + Send;
    /// Uses a ticket up, if the disk is still what it was made for.
    fn use_up(&self, ticket: &str, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Leaves the mark by which it is known that this disk is ours to write to, if it is still as it was seen, and takes away
    /// what else tells of its content. The verbs after it write to those that bear it alone.
    fn mark(&self, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes partitions, the start and the system to one disk or to two, and one empty encrypted state, which lies on both.
    fn write(&self, disks: &[DiskSeen], pace: Pace<'_>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Compares what was written with what it came from.
    fn read_back(&self, disks: &[DiskSeen], pace: Pace<'_>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Copies who this machine is, and what else comes along.
    fn keep(&self, disks: &[DiskSeen], keep: Keep) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes the one key beside the TPM that opens the state, and proves that it does, and that the installation's no longer
    /// does.
    fn recovery(&self, disks: &[DiskSeen]) -> impl Future<Output = Result<Zeroizing<String>, HostError>> + Send;
    /// Makes a disk count, by one write, or two disks, by one write to each with nothing between the two.
    fn finish(&self, disks: &[DiskSeen]) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Says how the state of the system that runs lies on two disks, none if it lies on one.
    fn halved(&self) -> impl Future<Output = Result<Option<Halved>, HostError>> + Send;
    /// Writes partitions, the start and the system to a disk, and leaves room for one half of the state.
    fn write_half(&self, disk: &DiskSeen, pace: Pace<'_>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has the state lie on this disk too, in the place of the half that is lost, and begins to fill it, which goes on by itself.
    /// The disk counts from then on, by one write, and what was lost counts no more.
    fn take_in(&self, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Shows something on the screens of the machine.
    fn show(&self, text: &str);
}

impl Order {
    /// Returns how each disk is chosen that it asks for, and the ticket for it.
    pub fn disks(&self) -> impl Iterator<Item = (&Selector, Option<&str>)> {
        let second = self.mirror.as_ref().map(|it| (&it.select, it.wipe.as_deref()));
        std::iter::once((&self.select, self.wipe.as_deref())).chain(second)
    }
}

impl Target {
    /// Returns true if an installation on it did not come to its end, and there is nothing else on it.
    pub fn is_unfinished(&self) -> bool {
        // Where there are partitions they alone say what this is.
        if self.names.is_empty() {
            // A mark beside anything else was left behind, and somebody has used the disk since.
            let alone = self.disk.partitions.is_empty() && self.disk.signatures.is_empty();
            return alone && self.disk.marker.as_ref().is_some_and(|mark| mark.first && mark.nonce == INSTALLING);
        }
        let ours = |name: &String| ["esp", "_empty"].contains(&name.as_str()) || name.starts_with("piccolo");
        self.names.iter().any(|name| name == UNFINISHED) && self.names.iter().all(ours)
    }

    /// Returns true if it holds this version of the system, whole.
    pub fn has(&self, version: &str) -> bool {
        let is_there = |name: &str| self.names.iter().any(|it| it == name);
        is_there(STATE) && is_there(&format!("piccolo_{version}"))
    }

    /// Says what uses it, if anything does.
    pub fn in_use(&self) -> Option<String> {
        let disk = &self.disk;
        if disk.system {
            return Some("this system runs from it".to_owned());
        }
        if let Some(holder) = disk.holders.first() {
            return Some(format!("`{holder}` stands on it"));
        }
        disk.mounted.first().map(|at| format!("it is used at `{at}`"))
    }
}

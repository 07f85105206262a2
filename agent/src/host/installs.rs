//! How the system of a stick comes onto a disk: what there is to choose from, and the verbs, in the order of their use.

use std::future::Future;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{DiskSeen, HostError, Ticket};

/// What the partition of the state is called until all was read back. No start takes such a one for a system.
pub const UNFINISHED: &str = "piccolo-half-made";
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
}

/// The live system of a stick, and the disks beside it.
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
    /// what else tells of its content. The verbs after it write to that disk alone.
    fn mark(&self, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes partitions, the start, the system and an empty encrypted state.
    fn write(&self, disk: &DiskSeen, pace: Pace<'_>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Compares what was written with what it came from.
    fn read_back(&self, disk: &DiskSeen, pace: Pace<'_>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Copies who this machine is, its manifests and who may come in.
    fn keep(&self, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes the one key beside the TPM that opens the state, and proves that it does, and that the installation's no longer
    /// does.
    fn recovery(&self, disk: &DiskSeen) -> impl Future<Output = Result<Zeroizing<String>, HostError>> + Send;
    /// Makes the disk count, by one write.
    fn finish(&self, disk: &DiskSeen) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Shows something on the screens of the machine.
    fn show(&self, text: &str);
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

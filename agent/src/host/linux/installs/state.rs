//! The partition of the state beside the system that runs, whether it is open or not.

use std::path::Path;

use super::{super::partition::place, SHORT, live::slots, parts, run};
use crate::host::{HostError, Reason, STATE};

/// What a partition holds that is one half of something.
const HALF: &str = "linux_raid_member";
/// What the halves of a state are together, by our rules of udev.
const WHOLE: &str = "/dev/piccolo/state";
/// How long it is waited for that: longer than a start waits for the other half.
const PATIENCE: &str = "--timeout=60";

/// The partition of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::linux) struct StatePart {
    /// Where the state is: in this partition, or in what it is one half of.
    pub(in crate::host::linux) path: String,
    /// The partition.
    pub(in crate::host::linux) part: String,
    /// Its UUID in the table.
    pub(in crate::host::linux) id: String,
}

/// Finds it on the disk that the system runs from.
pub(in crate::host::linux) async fn state() -> Result<StatePart, HostError> {
    let (system, _) = slots().await?;
    let strange = || HostError::new(Reason::Failed, format!("The disk of {system} is not known to the kernel"));
    let disk = place(Path::new(&system)).ok_or_else(strange)?.disk;
    let found = parts::of(&disk).await?.into_iter().find(|it| it.name == STATE);
    let none = || HostError::new(Reason::Refused, format!("/dev/{disk}, from which this system runs, has no state"));
    let part = found.ok_or_else(none)?.path;
    let (id, holds) = (told(&part, "PARTUUID").await?, told(&part, "FSTYPE").await?);
    if id.is_empty() {
        return Err(HostError::new(Reason::Failed, format!("`lsblk` tells no UUID of the partition {part}")));
    }
    if holds != HALF {
        return Ok(StatePart { path: part.clone(), part, id });
    }
    // Where the state is not the root, nothing waited for it before.
    if run("udevadm", ["wait", PATIENCE, WHOLE], SHORT).await.is_err() {
        let message = format!("{part} is one half of a state, which was not joined with the other one");
        return Err(HostError::new(Reason::Failed, message));
    }
    Ok(StatePart { path: WHOLE.to_owned(), part, id })
}

/// Returns what `lsblk` tells of a device, nothing if it tells nothing.
async fn told(device: &str, what: &str) -> Result<String, HostError> {
    Ok(run("lsblk", ["--noheadings", "--nodeps", "--output", what, device], SHORT).await?.trim().to_owned())
}

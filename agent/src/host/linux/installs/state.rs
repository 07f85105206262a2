//! The partition of the state beside the system that runs, whether it is open or not.

use std::path::Path;

use super::{super::partition::place, SHORT, live::slots, parts, run};
use crate::host::{HostError, Reason, STATE};

/// The partition of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::linux) struct StatePart {
    /// Where it is.
    pub(in crate::host::linux) path: String,
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
    let path = found.ok_or_else(none)?.path;
    let id = id(&path).await?;
    Ok(StatePart { path, id })
}

/// Returns the UUID of a partition in the table.
async fn id(path: &str) -> Result<String, HostError> {
    let text = run("lsblk", ["--noheadings", "--nodeps", "--output", "PARTUUID", path], SHORT).await?;
    let id = text.trim().to_owned();
    if id.is_empty() {
        return Err(HostError::new(Reason::Failed, format!("`lsblk` tells no UUID of the partition {path}")));
    }
    Ok(id)
}

//! The partition of the state beside the system that runs, whether it is open or not.

use std::{fs, path::Path};

use super::{SHORT, live::slots, parts, run};
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
    let disk = whole(Path::new("/sys/class/block"), Path::new(&system)).ok_or_else(strange)?;
    let found = parts::of(&disk).await?.into_iter().find(|it| it.name == STATE);
    let none = || HostError::new(Reason::Refused, format!("/dev/{disk}, from which this system runs, has no state"));
    let path = found.ok_or_else(none)?.path;
    let id = id(&path).await?;
    Ok(StatePart { path, id })
}

/// Returns the disk on which a partition is, as the kernel tells.
fn whole(block: &Path, partition: &Path) -> Option<String> {
    let device = fs::canonicalize(partition).ok()?;
    let place = fs::canonicalize(block.join(device.file_name()?)).ok()?;
    let is_partition = place.join("partition").exists();
    Some(place.parent()?.file_name()?.to_str()?.to_owned()).filter(|_| is_partition)
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

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_partition_is_on_the_disk_that_the_kernel_tells() {
        let dir = tempfile::tempdir().unwrap();
        let (sys, dev) = (dir.path().join("devices/nvme0n1"), dir.path().join("dev"));
        fs::create_dir_all(sys.join("nvme0n1p3")).unwrap();
        fs::create_dir_all(dir.path().join("block")).unwrap();
        fs::create_dir_all(&dev).unwrap();
        let block = dir.path().join("block");
        for (name, place) in [("nvme0n1p3", sys.join("nvme0n1p3")), ("nvme0n1", sys.clone())] {
            symlink(place, block.join(name)).unwrap();
            fs::write(dev.join(name), "").unwrap();
        }
        fs::write(sys.join("nvme0n1p3/partition"), "3\n").unwrap();
        symlink(dev.join("nvme0n1p3"), dev.join("usr")).unwrap();
        assert_eq!(whole(&block, &dev.join("usr")).as_deref(), Some("nvme0n1"));
        assert_eq!(whole(&block, &dev.join("nvme0n1")), None);
        assert_eq!(whole(&block, &dev.join("none")), None);
    }
}

//! Of which disk a partition is a part, as the kernel tells.

use std::{fs, path::Path};

/// Where the kernel tells of disks and their partitions.
const BLOCK: &str = "/sys/class/block";

/// The place of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What the kernel calls the disk.
    pub(super) disk: String,
    /// Which of its partitions it is.
    pub(super) number: u32,
}

/// Finds the place of a partition by its device, or by a link to it. None for what is no partition.
pub(super) fn place(device: &Path) -> Option<Place> {
    place_in(Path::new(BLOCK), device)
}

fn place_in(block: &Path, device: &Path) -> Option<Place> {
    let device = fs::canonicalize(device).ok()?;
    let node = fs::canonicalize(block.join(device.file_name()?)).ok()?;
    let number = fs::read_to_string(node.join("partition")).ok()?.trim().parse().ok()?;
    let disk = node.parent()?.file_name()?.to_str()?.to_owned();
    Some(Place { disk, number })
}

/// Returns the disk of a partition that the kernel calls this.
pub(super) fn disk_of(block: &Path, name: &str) -> Option<String> {
    let node = fs::canonicalize(block.join(name)).ok()?;
    fs::metadata(node.join("partition")).ok()?;
    node.parent()?.file_name()?.to_str().map(str::to_owned)
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
        let block = dir.path().join("block");
        fs::create_dir_all(sys.join("nvme0n1p3")).unwrap();
        fs::create_dir_all(&block).unwrap();
        fs::create_dir_all(&dev).unwrap();
        for (name, node) in [("nvme0n1p3", sys.join("nvme0n1p3")), ("nvme0n1", sys.clone())] {
            symlink(node, block.join(name)).unwrap();
            fs::write(dev.join(name), "").unwrap();
        }
        fs::write(sys.join("nvme0n1p3/partition"), "3\n").unwrap();
        symlink(dev.join("nvme0n1p3"), dev.join("usr")).unwrap();
        let expected = Some(Place { disk: "nvme0n1".to_owned(), number: 3 });
        assert_eq!(place_in(&block, &dev.join("usr")), expected);
        assert_eq!(place_in(&block, &dev.join("nvme0n1p3")), expected);
        assert_eq!(place_in(&block, &dev.join("nvme0n1")), None);
        assert_eq!(place_in(&block, &dev.join("none")), None);
        assert_eq!(disk_of(&block, "nvme0n1p3").as_deref(), Some("nvme0n1"));
        assert_eq!(disk_of(&block, "nvme0n1"), None);
    }
}

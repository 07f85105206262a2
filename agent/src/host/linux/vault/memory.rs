//! Whether a directory is kept in memory.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// File systems that write to no disk by themselves.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Returns true if what is written there stays in memory. Of a directory that is not there the one above it is asked.
pub(in super::super) fn is_in_memory(path: &Path) -> io::Result<bool> {
    let there = path.ancestors().find_map(|path| fs::metadata(path).ok());
    let Some(there) = there else { return Ok(false) };
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(file_system(&mounts, there.dev()).is_some_and(|name| IN_MEMORY.contains(&name)))
}

/// Returns the kind of the file system on a device.
fn file_system(mounts: &str, device: u64) -> Option<&str> {
    let (major, minor) = ((device >> 8) & 0xfff | (device >> 32) & !0xfff, device & 0xff | (device >> 12) & !0xff);
    let number = format!("{major}:{minor}");
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    mount.split_once(" - ")?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_found_by_its_device() {
        let mounts = "22 1 0:21 / / rw - overlay overlay rw\n30 22 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw\n\
                      31 22 259:513 / /data rw - ext4 /dev/nvme0n1p1 rw\n";
        assert_eq!(file_system(mounts, 26), Some("tmpfs"));
        assert_eq!(file_system(mounts, 21), Some("overlay"));
        assert_eq!(file_system(mounts, (259 << 8) | 1 | (2 << 20)), Some("ext4"));
        assert_eq!(file_system(mounts, 99), None);
    }
}

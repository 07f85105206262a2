//! The disks that are written to, held from the mark to the end, so that what is written by their names goes to them alone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::host::{DiskSeen, HostError, Reason};

/// Where the kernel tells of disks.
const BLOCK: &str = "/sys/block";

/// The disks that bear our mark, open: a name that is held open is given to no other disk of its kind.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<String, File>>);

impl Held {
    /// Holds a disk until it is let go.
    pub(super) fn hold(&self, device: &str, disk: File) {
        self.lock().insert(device.to_owned(), disk);
    }

    /// Lets it go.
    pub(super) fn let_go(&self, device: &str) {
        self.lock().remove(device);
    }

    /// Fails unless all of these are held as they were seen.
    pub(super) fn are_still(&self, disks: &[DiskSeen]) -> Result<(), HostError> {
        disks.iter().try_for_each(|it| self.is_still(it))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless a disk is held, and the name still leads to the one that was seen.
    pub(super) fn is_still(&self, disk: &DiskSeen) -> Result<(), HostError> {
        let is_held = self.lock().contains_key(&disk.device);
        if is_held && is_it(Path::new(BLOCK), disk) {
            return Ok(());
        }
        let message = format!(
            "{}: it was unplugged since it was marked, so nothing more is written to /dev/{}; begin anew",
            disk.name(),
            disk.device
        );
        Err(HostError::new(Reason::Refused, message))
    }
}

/// Returns true if the name is that of the plugging-in that was seen.
fn is_it(block: &Path, disk: &DiskSeen) -> bool {
    let text = fs::read_to_string(block.join(&disk.device).join("diskseq"));
    text.is_ok_and(|it| it.trim().parse() == Ok(disk.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
    fn another_disk_under_the_same_name_is_not_it() {
        let block = tempfile::tempdir().unwrap();
        let disk = DiskSeen { device: "sdb".to_owned(), seq: 7, ..DiskSeen::default() };
        assert!(!is_it(block.path(), &disk));
        fs::create_dir(block.path().join("sdb")).unwrap();
        for (text, same) in [("7\n", true), ("8\n", false), ("77\n", false), ("", false)] {
            fs::write(block.path().join("sdb/diskseq"), text).unwrap();
            assert_eq!(is_it(block.path(), &disk), same, "{text}");
        }
    }

    #[test]
    fn what_was_never_marked_is_not_written_to() {
        let why = Held::default().is_still(&DiskSeen::default()).unwrap_err();
        assert!(why.message.contains("nothing more is written"), "{}", why.message);
    }
}

//! The disk that is written to, held from the mark to the end, so that what is written by its name goes to it alone.

use std::{
    fs::{self, File},
    path::Path,
    sync::{Mutex, PoisonError},
};

use crate::host::{DiskSeen, HostError, Reason};

/// Where the kernel tells of disks.
const BLOCK: &str = "/sys/block";

/// The disk that bears our mark, open: a name that is held open is given to no other disk of its kind.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<Option<File>>);

impl Held {
    /// Holds a disk until it is let go.
    pub(super) fn hold(&self, disk: File) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(disk);
    }

    /// Lets it go.
    pub(super) fn let_go(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails unless a disk is held, and the name still leads to the one that was seen.
    pub(super) fn is_still(&self, disk: &DiskSeen) -> Result<(), HostError> {
        let is_held = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
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

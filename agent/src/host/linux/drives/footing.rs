//! Whether the disks that containers stand on are there, told from small files, so that each look at containers can ask.

use std::path::Path;

use tokio::sync::watch;

use super::{
    book::{Book, Page},
    halves,
    table::{Table, kernel_name},
};
use crate::host::{Ground, GroundPlaces, Grounds, mapped_name};

/// The places of declared disks on this machine.
pub struct Footing {
    declared: watch::Receiver<GroundPlaces>,
    book: Book,
}

impl Footing {
    /// Returns what is told of places that these manifests declare, with what is remembered in this directory.
    pub fn open(state: &Path, declared: watch::Receiver<GroundPlaces>) -> Self {
        Self { declared, book: Book::new(&state.join("disks")) }
    }
}

impl Grounds for Footing {
    fn grounds(&self) -> Vec<Ground> {
        let mut places = self.declared.borrow().clone();
        // What can't be read tells of no mount, and who stands on a declared disk waits.
        let Page { mounts, since, .. } = self.book.read().unwrap_or_default();
        let table = Table::read().unwrap_or_default();
        for (subject, mount) in &mounts {
            if let Some(at) = &mount.at {
                places.disks.entry(subject.clone()).or_insert_with(|| at.clone());
            }
        }
        let mut grounds = places.grounds(|disk, at| {
            let is_ours = mounts.get(disk).filter(|mount| mount.at.as_deref() == Some(at));
            is_ours.is_some_and(|mount| {
                let other = mount.mirror.as_ref().and_then(|it| it.device.as_ref());
                halves::is_at(mount, &table) && (is_there(&mount.device) || other.is_some_and(|it| is_there(it)))
            })
        });
        for ground in grounds.iter_mut().filter(|it| it.mounted) {
            ground.since = since.get(&ground.disk).copied();
        }
        grounds
    }
}

/// Returns true if a device is there. A disk that was pulled out leaves its mount behind, and one that is encrypted what was
/// inside, which then stands on nothing.
fn is_there(device: &str) -> bool {
    let path = Path::new("/sys/class/block").join(kernel_name(device));
    path.exists() && (mapped_name(device).is_none() || has_entries(&path.join("slaves")))
}

fn has_entries(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|it| it.flatten().any(|entry| entry.path().exists()))
}

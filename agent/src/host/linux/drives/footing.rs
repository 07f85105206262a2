//! Whether the disks that containers stand on are there, told from small files, so that each look at containers can ask.

use std::path::Path;

use tokio::sync::watch;

use super::{book::Book, table::Table};
use crate::host::{Ground, GroundPlaces, Grounds};

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
        let mounts = self.book.read().map(|page| page.mounts).unwrap_or_default();
        let table = Table::read().unwrap_or_default();
        for (subject, mount) in &mounts {
            if let Some(at) = &mount.at {
                places.disks.entry(subject.clone()).or_insert_with(|| at.clone());
            }
        }
        places.grounds(|disk, at| {
            let is_ours = mounts.get(disk).filter(|mount| mount.at.as_deref() == Some(at));
            is_ours.is_some_and(|mount| {
                // A disk that was pulled out leaves its mount behind.
                table.at(at) == Some(&format!("/dev/{}", mount.device))
                    && Path::new("/sys/class/block").join(&mount.device).exists()
            })
        })
    }
}

//! What containers stand on: the places of declared disks.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{container, volume::lies_in};
use serde::{Deserialize, Serialize};

/// The places of the disks that manifests declare, as containers need them.
pub trait Grounds: Send + Sync + 'static {
    /// Lists the places of all declared disks, and of those that are mounted for a manifest that is gone or broken.
    fn grounds(&self) -> Vec<Ground>;
}

/// The place of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ground {
    /// The Disk manifest.
    pub disk: String,
    /// Its mount point.
    pub at: String,
    /// True if the disk is mounted there.
    pub mounted: bool,
    /// When it was mounted, if that was by us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    /// The volumes whose directories lie on it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
}

/// What manifests say of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The mount points of disks, by manifest.
    pub disks: BTreeMap<String, String>,
    /// The directories of volumes, by manifest.
    pub volumes: BTreeMap<String, String>,
}

impl Places {
    /// Returns the places of all disks, of which some are mounted.
    pub fn grounds(&self, is_mounted: impl Fn(&str, &str) -> bool) -> Vec<Ground> {
        let mut grounds: Vec<Ground> = Vec::new();
        for (disk, at) in &self.disks {
            // Of two that ask for one place, the first by name has it.
            if grounds.iter().any(|it| it.at == *at) {
                continue;
            }
            let on_it = self.volumes.iter().filter(|(_, path)| lies_in(path, at)).map(|(name, _)| name.clone());
            let (volumes, mounted) = (on_it.collect(), is_mounted(disk, at));
            grounds.push(Ground { disk: disk.clone(), at: at.clone(), mounted, since: None, volumes });
        }
        grounds
    }
}

impl Ground {
    /// Returns true if a path, in its one spelling, is the mount point or lies below it.
    pub fn holds(&self, path: &str) -> bool {
        lies_in(path, &self.at)
    }

    /// Returns true if a mount of a container leads to this disk.
    pub fn carries(&self, mount: &container::Mount) -> bool {
        let path = mount.host_path.as_deref().map(piccolo_schema::volume::plain);
        path.is_some_and(|path| self.holds(&path))
            || mount.volume.as_ref().is_some_and(|name| self.volumes.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_stands_on_the_disk_that_its_directories_lie_on() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let places = Places {
            disks: map(&[("films", "/srv/films"), ("other", "/srv/films")]),
            volumes: map(&[("data", "/srv/films/data"), ("near", "/srv/films2")]),
        };
        let grounds = places.grounds(|disk, at| disk == "films" && at == "/srv/films");
        assert_eq!(grounds.len(), 1);
        assert!(grounds[0].mounted);
        let to = |path: &str| container::Mount {
            path: "/x".to_owned(),
            host_path: Some(path.to_owned()),
            volume: None,
            read_only: false,
        };
        for (path, carried) in [("/srv/films", true), ("/srv//films/a/", true), ("/srv/films2", false), ("/srv", false)]
        {
            assert_eq!(grounds[0].carries(&to(path)), carried, "{path}");
        }
        let of = |name: &str| container::Mount { host_path: None, volume: Some(name.to_owned()), ..to("/") };
        assert!(grounds[0].carries(&of("data")) && !grounds[0].carries(&of("near")));
    }
}

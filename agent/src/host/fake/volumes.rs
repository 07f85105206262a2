use std::future::Future;

use piccolo_schema::{ContainerSpec, VolumeSpec};

use super::{
    FakeEngine, Verb,
    world::{World, gone, spec_of},
};
use crate::host::{Access, Directory, HostError, Quota, Reason, VolumeSeen, Volumes};

/// What the engine knows of a volume.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    pub(super) stamped: bool,
    pub(super) path: Option<String>,
}

/// A directory, and what is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) directory: Directory,
    pub(super) data: String,
}

impl Volumes for FakeEngine {
    async fn volumes(&self) -> Result<Vec<VolumeSeen>, HostError> {
        let volumes = self.look().volumes();
        self.verb_of_looking(Verb::Volumes, volumes).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.volumes_changed.notified()
    }

    async fn create_volume(&self, name: &str, spec: &VolumeSpec) -> Result<(), HostError> {
        self.verb(Verb::CreateVolume, |world| world.create_volume(name, spec)).await
    }

    async fn set_access(&self, name: &str, access: &Access) -> Result<(), HostError> {
        self.verb(Verb::SetAccess, |world| world.set_access(name, access)).await
    }

    async fn set_quota(&self, name: &str, bytes: Option<u64>) -> Result<(), HostError> {
        self.verb(Verb::SetQuota, |world| {
            world.own_place("limit", name)?.directory.quota.limit = bytes.map(Quota::rounded);
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn release_volume(&self, name: &str) -> Result<(), HostError> {
        self.verb(Verb::ReleaseVolume, |world| world.release_volume(name)).await
    }
}

impl FakeEngine {
    /// Writes to a volume as a container on it would, if it is there.
    pub fn write_volume(&self, name: &str, data: &str) {
        let mut inner = self.lock();
        if let Ok(place) = inner.world.place(name) {
            data.clone_into(&mut place.data);
        }
    }

    /// Returns what is in a volume, if it is there.
    pub fn read_volume(&self, name: &str) -> Option<String> {
        self.lock().world.place(name).ok().map(|place| place.data.clone())
    }

    /// Returns what was in volumes when they went back to snapshots.
    pub fn data_put_aside(&self) -> Vec<String> {
        self.lock().world.put_aside.clone()
    }

    /// Returns everything that lies in any directory, whether a volume stands on it or not.
    pub fn all_data(&self) -> Vec<String> {
        self.lock().world.directories.values().map(|place| place.data.clone()).filter(|data| !data.is_empty()).collect()
    }
}

impl World {
    /// Returns the volumes as a look shows them.
    pub(super) fn volumes(&self) -> Vec<VolumeSeen> {
        let seen = |(name, volume): (&String, &Volume)| VolumeSeen {
            name: name.clone(),
            stamped: volume.stamped,
            path: volume.path.clone(),
            driver: None,
            directory: self
                .directories
                .get(&key(name, volume))
                .filter(|_| volume.stamped)
                .map(|it| it.directory.clone()),
            trouble: None,
            users: if volume.stamped && volume.path.is_some() { self.users(name) } else { Vec::new() },
        };
        self.volumes.iter().map(seen).collect()
    }

    /// Makes the volumes that a container names and nobody made, as an engine does.
    pub(super) fn make_missing_volumes(&mut self, spec: &ContainerSpec) {
        for name in spec.mounts.iter().filter_map(|mount| mount.volume.as_deref()) {
            if !self.volumes.contains_key(name) {
                self.add_volume(name, Volume::default());
            }
        }
    }

    /// Puts a volume on the machine, on a directory that may have been there before.
    pub(super) fn add_volume(&mut self, name: &str, volume: Volume) {
        let new = Place { directory: Directory::new((0, 0), 0o755, Quota::default()), data: String::new() };
        self.directories.entry(key(name, &volume)).or_insert(new);
        self.volumes.insert(name.to_owned(), volume);
    }

    /// Returns the directory of a volume.
    pub(super) fn place(&mut self, name: &str) -> Result<&mut Place, HostError> {
        let volume = self.volumes.get(name).ok_or_else(|| gone(name))?;
        self.directories.get_mut(&key(name, volume)).ok_or_else(|| gone(name))
    }

    /// Returns true if a container that runs uses the volume.
    pub(super) fn runs_on(&self, name: &str) -> bool {
        self.containers.values().any(|it| it.state.is_live() && spec_of(it).is_some_and(|spec| mounts(spec, name)))
    }

    /// Returns the containers that mount a volume.
    pub(super) fn users(&self, name: &str) -> Vec<String> {
        let users = self.containers.values().filter(|it| spec_of(it).is_some_and(|spec| mounts(spec, name)));
        let mut names: Vec<String> = users.map(|it| it.name.clone()).collect();
        names.sort();
        names
    }

    fn create_volume(&mut self, name: &str, spec: &VolumeSpec) -> Result<(), HostError> {
        let volume = Volume { stamped: true, path: spec.plain_path() };
        self.watch_the_ground_of(name, volume.path.as_deref());
        if let Some(there) = self.volumes.get(name) {
            if there.stamped && there.path == volume.path {
                return Ok(());
            }
            return Err(HostError::new(Reason::NameTaken, format!("A volume is already called `{name}`")));
        }
        self.add_volume(name, volume);
        self.count(None);
        self.set_access(name, &Access::of(spec))
    }

    fn set_access(&mut self, name: &str, access: &Access) -> Result<(), HostError> {
        let directory = &mut self.own_place("change", name)?.directory;
        let before = directory.clone();
        if let Some((user, group)) = access.owner {
            directory.owner = format!("{user}:{group}");
        }
        if let Some(mode) = access.mode {
            directory.mode = format!("{mode:04o}");
        }
        if *directory != before {
            self.count(None);
        }
        Ok(())
    }

    fn release_volume(&mut self, name: &str) -> Result<(), HostError> {
        let Some(volume) = self.volumes.get(name) else { return Ok(()) };
        if !volume.stamped || volume.path.is_none() {
            self.trespasses.push(format!("release volume {name}"));
            return Err(HostError::new(Reason::Refused, format!("The engine keeps the data of `{name}`")));
        }
        if !self.users(name).is_empty() {
            return Err(HostError::new(Reason::InUse, format!("Containers use volume `{name}`")));
        }
        self.volumes.remove(name);
        self.count(None);
        Ok(())
    }

    /// Nobody may make or change a directory where a disk is to be mounted, and is not.
    fn watch_the_ground_of(&mut self, name: &str, path: Option<&str>) {
        let Some(path) = path else { return };
        if let Some(bare) = self.grounds_seen().into_iter().find(|it| !it.mounted && it.holds(path)) {
            self.trespasses.push(format!("tend volume {name} on the bare {}", bare.at));
        }
    }

    /// Returns the directory that a verb is about to change, and notes it if it is not ours.
    fn own_place(&mut self, verb: &str, name: &str) -> Result<&mut Place, HostError> {
        if self.volumes.get(name).is_some_and(|volume| !volume.stamped) {
            self.trespasses.push(format!("{verb} volume {name}"));
        }
        let path = self.volumes.get(name).and_then(|volume| volume.path.clone());
        self.watch_the_ground_of(name, path.as_deref());
        self.place(name)
    }
}

/// Returns under which path a volume's data lies.
fn key(name: &str, volume: &Volume) -> String {
    volume.path.clone().unwrap_or_else(|| format!("/engine/volumes/{name}"))
}

fn mounts(spec: &ContainerSpec, volume: &str) -> bool {
    spec.mounts.iter().any(|mount| mount.volume.as_deref() == Some(volume))
}

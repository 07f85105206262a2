//! The engine's volumes, and the directories that they stand on.

use std::{collections::HashMap, os::fd::OwnedFd};

use bollard::{
    models::Volume,
    query_parameters::{ListContainersOptionsBuilder, ListVolumesOptions, RemoveVolumeOptions},
};
use piccolo_schema::VolumeSpec;

use super::{VOLUME_LABEL, create, directory, docker::Docker, error, quota};
use crate::host::{Access, Directory, HostError, Reason, VolumeSeen, Volumes};

/// Where the data of a volume lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// In a directory that a manifest names.
    Path(String),
    /// In a directory that the engine keeps.
    Engine(String),
    /// Somewhere else: another driver, or a mount that is no directory.
    Other(String),
}

impl Volumes for Docker {
    async fn volumes(&self) -> Result<Vec<VolumeSeen>, HostError> {
        let client = self.client().await?;
        let list = client.list_volumes(None::<ListVolumesOptions>).await.map_err(|error| error::translate(&error))?;
        let volumes = list.volumes.unwrap_or_default();
        let on_paths = volumes.iter().any(|it| is_ours(it) && matches!(base(it), Base::Path(_)));
        let mut users = if on_paths { self.users().await? } else { HashMap::new() };
        let look = move || {
            let mut seen: Vec<VolumeSeen> =
                volumes.into_iter().map(|it| seen(&it, users.remove(&it.name).unwrap_or_default())).collect();
            seen.sort_by(|one, other| one.name.cmp(&other.name));
            seen
        };
        blocking(move || Ok(look())).await
    }

    async fn changed(&self) {
        self.volumes_hint.notified().await;
    }

    async fn create_volume(&self, name: &str, spec: &VolumeSpec) -> Result<(), HostError> {
        let access = Access::of(spec);
        // The directory is ready before the engine, and with it any container, can know of it.
        if let Some(path) = spec.plain_path() {
            let access = access.clone();
            blocking(move || directory::set_access(&directory::open_or_make(&path)?, &path, &access)).await?;
        }
        let made = self.client().await?.create_volume(create::volume(name, spec)).await;
        let made = made.map_err(|error| error::translate(&error))?;
        // An engine answers with the volume of this name that is there, however it was made.
        let path = match base(&made) {
            Base::Path(path) if Some(&path) == spec.plain_path().as_ref() => return stamped(&made),
            Base::Engine(path) if spec.path.is_none() => path,
            _ => return Err(taken(name)),
        };
        stamped(&made)?;
        blocking(move || directory::set_access(&directory::open_engines(&path)?, &path, &access)).await
    }

    async fn set_access(&self, name: &str, access: &Access) -> Result<(), HostError> {
        let (base, access) = (self.own_base(name).await?, access.clone());
        blocking(move || {
            let (directory, path) = open(&base)?;
            directory::set_access(&directory, path, &access)
        })
        .await
    }

    async fn set_quota(&self, name: &str, bytes: Option<u64>) -> Result<(), HostError> {
        let base = self.own_base(name).await?;
        let path = blocking(move || open(&base).map(|(_, path)| path.to_owned())).await?;
        quota::set(&path, bytes).await
    }

    async fn release_volume(&self, name: &str) -> Result<(), HostError> {
        let volume = match self.volume(name).await {
            Err(error) if error.reason == Reason::Gone => return Ok(()),
            other => other?,
        };
        stamped(&volume)?;
        if !matches!(base(&volume), Base::Path(_)) {
            let message = format!("The engine keeps the data of the volume `{name}`, so it is not removed");
            return Err(HostError::new(Reason::Refused, message));
        }
        let mountpoint = volume.mountpoint;
        blocking(move || holds_nothing(&mountpoint)).await?;
        let removed = self.client().await?.remove_volume(name, None::<RemoveVolumeOptions>).await;
        error::gone_is_fine(error::done_is_fine(removed))
    }
}

impl Docker {
    /// Returns where the data of a volume lies, whoever made it.
    pub(super) async fn base_of(&self, name: &str) -> Result<Base, HostError> {
        Ok(base(&self.volume(name).await?))
    }

    /// Returns the names of the containers that run on a volume.
    pub(super) async fn running_on(&self, name: &str) -> Result<Vec<String>, HostError> {
        let client = self.client().await?;
        let filters = HashMap::from([("volume", vec![name]), ("status", vec!["running", "paused", "restarting"])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let all = client.list_containers(Some(options)).await.map_err(|error| error::translate(&error))?;
        Ok(all.into_iter().filter_map(|container| name_of(container.names)).collect())
    }

    async fn own_base(&self, name: &str) -> Result<Base, HostError> {
        let volume = self.volume(name).await?;
        stamped(&volume)?;
        Ok(base(&volume))
    }

    async fn volume(&self, name: &str) -> Result<Volume, HostError> {
        self.client().await?.inspect_volume(name).await.map_err(|error| error::translate(&error))
    }

    /// Returns for each volume the containers that mount it, running or not.
    async fn users(&self) -> Result<HashMap<String, Vec<String>>, HostError> {
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = self.client().await?.list_containers(Some(options)).await;
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for container in all.map_err(|error| error::translate(&error))? {
            let Some(name) = name_of(container.names) else { continue };
            for volume in container.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name) {
                users.entry(volume).or_default().push(name.clone());
            }
        }
        users.values_mut().for_each(|names| names.sort());
        Ok(users)
    }
}

/// Opens the directory of a volume.
pub(super) fn open(base: &Base) -> Result<(OwnedFd, &str), HostError> {
    match base {
        Base::Path(path) => Ok((directory::open(path)?, path)),
        Base::Engine(path) => Ok((directory::open_engines(path)?, path)),
        Base::Other(what) => {
            Err(HostError::new(Reason::Refused, format!("Only a plain directory can be tended, not {what}")))
        }
    }
}

/// Runs what may wait for a disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(HostError::new(Reason::Failed, format!("It broke off ({error})"))))
}

fn seen(volume: &Volume, users: Vec<String>) -> VolumeSeen {
    let (stamped, base) = (is_ours(volume), base(volume));
    let looked: Option<Result<Directory, HostError>> = match &base {
        Base::Other(_) => None,
        base => stamped.then(|| open(base).and_then(|(directory, path)| directory::look(&directory, path))),
    };
    let (directory, trouble) = match looked {
        None => (None, None),
        Some(Ok(directory)) => (Some(directory), None),
        Some(Err(error)) => (None, (error.reason != Reason::MountSourceMissing).then_some(error.message)),
    };
    let (path, driver) = match base {
        Base::Path(path) => (Some(path), None),
        Base::Engine(_) => (None, None),
        Base::Other(what) => (None, Some(what)),
    };
    let users = if stamped && path.is_some() { users } else { Vec::new() };
    VolumeSeen { name: volume.name.clone(), stamped, path, driver, directory, trouble, users }
}

fn base(volume: &Volume) -> Base {
    if volume.driver != "local" {
        return Base::Other(volume.driver.clone());
    }
    let option = |key: &str| volume.options.get(key).map(String::as_str).unwrap_or_default();
    let is_bind = matches!(option("type"), "" | "none" | "bind") && option("o").split(',').any(|it| it == "bind");
    match (option("type"), option("device")) {
        ("", "") => Base::Engine(volume.mountpoint.clone()),
        (_, device) if is_bind && device.starts_with('/') => Base::Path(device.to_owned()),
        ("", _) => Base::Other("mount".to_owned()),
        (other, _) => Base::Other(other.to_owned()),
    }
}

/// A directory that the engine shows instead of ours may hold data that was written while ours was not there.
fn holds_nothing(mountpoint: &str) -> Result<(), HostError> {
    let refuse = |why: &str| Err(HostError::new(Reason::Refused, format!("`{mountpoint}` {why}; look at it first")));
    match std::fs::read_dir(mountpoint) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| refuse("is not empty")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => refuse("can't be looked into"),
    }
}

fn is_ours(volume: &Volume) -> bool {
    volume.labels.contains_key(VOLUME_LABEL)
}

fn stamped(volume: &Volume) -> Result<(), HostError> {
    if is_ours(volume) { Ok(()) } else { Err(taken(&volume.name)) }
}

fn taken(name: &str) -> HostError {
    HostError::new(Reason::NameTaken, format!("There is another volume `{name}` already"))
}

fn name_of(names: Option<Vec<String>>) -> Option<String> {
    names?.into_iter().find_map(|name| Some(name.strip_prefix('/')?.to_owned()).filter(|name| !name.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(driver: &str, options: &[(&str, &str)]) -> Volume {
        Volume {
            driver: driver.to_owned(),
            mountpoint: "/var/lib/docker/volumes/x/_data".to_owned(),
            options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Volume::default()
        }
    }

    #[test]
    fn a_volume_tells_where_its_data_lies() {
        let own = Base::Engine("/var/lib/docker/volumes/x/_data".into());
        assert_eq!(base(&volume("local", &[])), own);
        let ours = [("type", "none"), ("o", "bind"), ("device", "/srv/x")];
        assert_eq!(base(&volume("local", &ours)), Base::Path("/srv/x".into()));
        let nfs = [("type", "nfs"), ("o", "addr=10.0.0.1,rw"), ("device", ":/x")];
        assert_eq!(base(&volume("local", &nfs)), Base::Other("nfs".into()));
        assert_eq!(base(&volume("local", &[("type", "tmpfs"), ("device", "tmpfs")])), Base::Other("tmpfs".into()));
        assert_eq!(base(&volume("rclone", &[])), Base::Other("rclone".into()));
    }

    #[test]
    fn what_may_hold_data_is_not_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        assert!(holds_nothing(&path).is_ok());
        std::fs::create_dir(dir.path().join("data")).unwrap();
        assert_eq!(holds_nothing(&path).unwrap_err().reason, Reason::Refused);
        assert!(holds_nothing(&format!("{path}/none")).is_ok());
    }
}

//! Where the snapshots of one volume lie, and what happens to them there.
//!
//! | name | what it is |
//! |---|---|
//! | `<label>/data` | a whole snapshot |
//! | `.copying-<number>-<label>` | a copy that may not be whole; thrown away. `cp` may outlive the daemon: so no two have one name |
//! | `.swap-<inode>-<label>/data` | a whole copy of a snapshot about to change places with the volume |
//! | `.dropping-<label>` | a snapshot that is being removed |
//!
//! A name without a dot is only ever given to what is whole and on the disk. The change of places is one call of the
//! kernel, so the volume has the old data or the new at every moment. Killed after it and before its end, the copy of
//! `.swap-<inode>` has another inode than its name says: what lies there is the replaced data, and the restore is done.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, RenameFlags, Statx, renameat_with, syncfs};
use tokio::sync::OwnedMutexGuard;

use super::{copy, directory, volumes::blocking};
use crate::{
    clock, file,
    host::{HostError, Reason, SnapshotSeen},
};

/// The directory of snapshots on a file system that is not the daemon's.
const ON_OTHER_DISKS: &str = ".piccolo-snapshots";
const COPYING: &str = ".copying-";
const DROPPING: &str = ".dropping-";
const SWAP: &str = ".swap-";

/// The snapshots of one volume.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    /// The directory of the volume.
    volume: PathBuf,
    /// The directory of its snapshots.
    place: PathBuf,
    /// Given back when the last work is done, though nobody may wait for it any more.
    _turn: Option<Arc<OwnedMutexGuard<()>>>,
}

impl Shelf {
    /// Finds the shelf of a volume, `home/<name>` or one on the volume's own file system, and makes it.
    pub(super) fn open(home: &Path, name: &str, opened: &OwnedFd, path: &str) -> Result<Self, HostError> {
        let volume = Path::new(path).canonicalize().map_err(|error| failed(path, &error))?;
        let own = directory::about(opened).map_err(|errno| directory::explain(path, errno))?;
        let Some(top) = top(&volume, &own).filter(|_| !home.starts_with(&volume)) else {
            let message = format!(
                "`{path}` is the top of a file system or holds the daemon's own files, so no snapshot fits beside it; \
                 use a directory below it for the volume"
            );
            return Err(HostError::new(Reason::Refused, message));
        };
        private(home)?;
        let beside = about(home).is_some_and(|it| same_mount(&it, &own));
        let root = if beside { home.to_owned() } else { top.join(ON_OTHER_DISKS) };
        private(&root)?;
        let place = root.join(name);
        private(&place)?;
        Ok(Self { volume, place, _turn: None })
    }

    /// Holds a turn until everything is done that was begun here.
    pub(super) fn in_turn(self, turn: OwnedMutexGuard<()>) -> Self {
        Self { _turn: Some(Arc::new(turn)), ..self }
    }

    /// Copies the volume, unless a snapshot has this label already.
    pub(super) async fn take(&self, label: &str) -> Result<(), HostError> {
        self.clone().tidy().await?;
        if self.place.join(label).exists() {
            return Ok(());
        }
        let copy = self.copy(self.volume.clone(), label).await?;
        self.rename(&copy, label)
    }

    /// Gives the volume the data of a snapshot.
    pub(super) async fn put_back(&self, label: &str) -> Result<(), HostError> {
        if self.clone().tidy().await?.iter().any(|done| done == label) {
            return Ok(());
        }
        let snapshot = self.place.join(label).join("data");
        if !snapshot.is_dir() {
            return Err(HostError::new(Reason::Gone, format!("There is no snapshot `{label}` of this volume")));
        }
        let copy = self.copy(snapshot, label).await?;
        let inode = fs::symlink_metadata(copy.join("data")).map_err(|error| self.failed(&error))?.ino();
        let swap = format!("{SWAP}{inode}-{label}");
        self.rename(&copy, &swap)?;
        let swap = self.place.join(swap);
        renameat_with(CWD, swap.join("data"), CWD, &self.volume, RenameFlags::EXCHANGE).map_err(|errno| {
            let message = format!("`{}` can't change places with its snapshot ({errno})", self.volume.display());
            HostError::new(Reason::Failed, message)
        })?;
        self.sync()?;
        self.clone().tidy().await.map(drop)
    }

    /// Removes a snapshot.
    pub(super) async fn remove(&self, label: &str) -> Result<(), HostError> {
        let (from, to) = (self.place.join(label), format!("{DROPPING}{label}"));
        if from.exists() {
            self.rename(&from, &to)?;
        }
        self.clone().tidy().await.map(drop)
    }

    /// Lists what is whole.
    pub(super) fn list(&self) -> Result<Vec<SnapshotSeen>, HostError> {
        let mut all = Vec::new();
        for label in self.names()?.into_iter().filter(|name| !name.starts_with('.')) {
            let changed = fs::symlink_metadata(self.place.join(&label)).map_err(|error| self.failed(&error))?.mtime();
            let taken = jiff::Timestamp::from_second(changed).map(clock::text).unwrap_or_default();
            all.push(SnapshotSeen { label, taken });
        }
        Ok(all)
    }

    /// Makes a whole copy, on the disk, under a name that says that it is none yet.
    async fn copy(&self, from: PathBuf, label: &str) -> Result<PathBuf, HostError> {
        let copying = self.place.join(format!("{COPYING}{:x}-{label}", fastrand::u64(..)));
        private(&copying)?;
        let (shelf, source) = (self.clone(), from.clone());
        blocking(move || shelf.has_room_for(&source)).await?;
        copy::copy(&from, &copying.join("data")).await?;
        let shelf = self.clone();
        blocking(move || shelf.sync()).await?;
        Ok(copying)
    }

    /// Removes what is not whole and finishes what was begun. Returns the labels whose restore turns out to be done.
    async fn tidy(self) -> Result<Vec<String>, HostError> {
        blocking(move || {
            let mut done = Vec::new();
            for name in self.names()? {
                let path = self.place.join(&name);
                let swap = name.strip_prefix(SWAP).and_then(|rest| rest.split_once('-'));
                if let Some((_, label)) = swap.filter(|(inode, _)| is_swapped(&path, inode)) {
                    let replaced = format!("{label}.replaced");
                    self.erase(&self.place.join(&replaced))?;
                    self.rename(&path, &replaced)?;
                    done.push(label.to_owned());
                } else if name.starts_with(COPYING) {
                    // A `cp` that the last daemon left may still be writing to it: the next time, then.
                    drop(self.erase(&path));
                } else if [SWAP, DROPPING].iter().any(|mark| name.starts_with(mark)) {
                    self.erase(&path)?;
                }
            }
            Ok(done)
        })
        .await
    }

    fn has_room_for(&self, from: &Path) -> Result<(), HostError> {
        copy::room_for(from, &self.place)
    }

    fn erase(&self, path: &Path) -> Result<(), HostError> {
        file::gone(fs::remove_dir_all(path)).map_err(|error| self.failed(&error))
    }

    fn names(&self) -> Result<Vec<String>, HostError> {
        let entries = fs::read_dir(&self.place).map_err(|error| self.failed(&error))?;
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, name: &str) -> Result<(), HostError> {
        fs::rename(from, self.place.join(name)).map_err(|error| self.failed(&error))?;
        File::open(&self.place).and_then(|place| place.sync_all()).map_err(|error| self.failed(&error))
    }

    /// Brings everything on the file system to the disk: a copy has too many files to ask for each.
    fn sync(&self) -> Result<(), HostError> {
        let synced = File::open(&self.place).and_then(|place| Ok(syncfs(place)?));
        synced.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> HostError {
        failed(&self.place.display().to_string(), error)
    }
}

/// Returns the highest directory above this one that things can be moved to from it; none if nothing above it is.
fn top<'a>(path: &'a Path, own: &Statx) -> Option<&'a Path> {
    let above = path.ancestors().skip(1);
    above.take_while(|above| about(above).is_some_and(|it| same_mount(&it, own))).last()
}

fn same_mount(one: &Statx, other: &Statx) -> bool {
    (one.stx_mnt_id, one.stx_dev_major, one.stx_dev_minor)
        == (other.stx_mnt_id, other.stx_dev_major, other.stx_dev_minor)
}

fn about(path: &Path) -> Option<Statx> {
    directory::about(&directory::open_engines(path.to_str()?).ok()?).ok()
}

/// Makes a directory that nobody else can look into, or refuses one that is somebody else's.
fn private(path: &Path) -> Result<(), HostError> {
    let name = path.display().to_string();
    match DirBuilder::new().recursive(false).mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&name, &error)),
        _ => {}
    }
    let seen = fs::symlink_metadata(path).map_err(|error| failed(&name, &error))?;
    if seen.is_dir() && seen.uid() == rustix::process::geteuid().as_raw() && seen.mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("`{name}` is not the daemon's own, so no data is put there; remove it");
    Err(HostError::new(Reason::PermissionDenied, message))
}

fn is_swapped(swap: &Path, inode: &str) -> bool {
    fs::symlink_metadata(swap.join("data")).is_ok_and(|data| data.ino().to_string() != inode)
}

fn failed(path: &str, error: &io::Error) -> HostError {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
        io::ErrorKind::PermissionDenied => Reason::PermissionDenied,
        _ => Reason::Failed,
    };
    HostError::new(reason, format!("`{path}` can't be used for snapshots ({error})"))
}

#[cfg(test)]
mod tests;

//! Opening files that may be damaged, without going down with them.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time};

use super::{
    StoreError,
    disk::{Contents, Disk, DiskError},
};
use crate::clock;

/// How long a damaged database may take to open before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look, and after which pause, whether somebody has let go of the files: a database that was just closed, or a
/// program that an agent was about to start when it was killed, which holds for a moment what the agent held.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);
/// How many damaged stores are kept for those who want to know.
const KEPT: usize = 3;

/// What came of opening.
pub(super) enum Opened {
    /// Everything is as it was written.
    Good(Disk, Contents),
    /// It was damaged and is set aside under this path; a new one is open.
    Rebuilt(Disk, PathBuf, DiskError),
    /// There is none to be had at present.
    Unavailable(DiskError),
}

/// Keeps other agents away from the store for as long as it lives.
pub(super) async fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Open { dir: dir.to_owned(), source };
    let path = beside(dir, "lock");
    // What is remembered of manifests may hold what only their owner should read.
    let private = |parent: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    path.parent().map_or(Ok(()), private).map_err(failed)?;
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => time::sleep(PAUSE).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(StoreError::Busy(dir.to_owned()))
}

/// Opens the store, and begins a new one when this one is damaged.
///
/// Dropped half-way it may leave the files open until the attempt is over.
pub(super) async fn open(dir: &Path) -> Opened {
    let damage = match attempt(dir).await {
        Ok((disk, contents)) => return Opened::Good(disk, contents),
        Err(error) if !error.is_damage() => return Opened::Unavailable(error),
        Err(error) => error,
    };
    let aside = match set_aside(dir) {
        Ok(aside) => aside,
        Err(error) => return Opened::Unavailable(error.into()),
    };
    match attempt(dir).await {
        Ok((disk, _)) => Opened::Rebuilt(disk, aside, damage),
        Err(error) => Opened::Unavailable(error),
    }
}

/// Opens it on a thread of its own: sled may panic on damage, or never come back.
async fn attempt(dir: &Path) -> Result<(Disk, Contents), DiskError> {
    let (answer, opened) = oneshot::channel();
    let dir = dir.to_owned();
    thread::Builder::new().name("store".to_owned()).spawn(move || {
        // Nobody waits any more when it took too long.
        let _ = answer.send(open_patiently(&dir));
    })?;
    time::timeout(PATIENCE, opened).await.map_err(|_| DiskError::TimedOut)?.map_err(|_| DiskError::Panicked)?
}

fn open_patiently(dir: &Path) -> Result<(Disk, Contents), DiskError> {
    for _ in 0..TRIES {
        match Disk::open(dir) {
            Err(DiskError::Sled(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
    Disk::open(dir)
}

/// Renames the directory, and forgets all but the newest of those that were renamed before.
fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let second = clock::now().as_second();
    let free = |second: &i64| !beside(dir, &corrupt(*second)).exists();
    let second = (second..second + 1000).find(free).unwrap_or(second);
    let aside = beside(dir, &corrupt(second));
    fs::rename(dir, &aside)?;
    let mut all = set_aside_before(dir)?;
    all.sort_unstable();
    let surplus = all.len().saturating_sub(KEPT);
    for (_, path) in all.into_iter().take(surplus) {
        fs::remove_dir_all(path)?;
    }
    Ok(aside)
}

fn set_aside_before(dir: &Path) -> io::Result<Vec<(i64, PathBuf)>> {
    let prefix = beside(dir, "corrupt-");
    let prefix = prefix.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.parent().unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        let second = path.to_string_lossy().strip_prefix(&*prefix).and_then(|second| second.parse().ok());
        found.extend(second.map(|second| (second, path)));
    }
    Ok(found)
}

fn corrupt(second: i64) -> String {
    format!("corrupt-{second}")
}

/// Returns `<dir>.<suffix>`.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut path = dir.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

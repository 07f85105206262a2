//! Files that are there only while an archive passes through. They have no name, so that none is left behind.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::super::volumes::blocking;
use crate::host::{HostError, Reason};

/// How many archives pass through at a time.
const PLACES: usize = 2;
/// How long nothing may come. An engine prepares for a while before it sends the first byte.
const PATIENCE: Duration = Duration::from_secs(300);
/// What is left free of the disk: the rest of the machine needs some too.
const RESERVE: u64 = 256 << 20;
/// After how many bytes the disk is looked at.
const STRIDE: u64 = 16 << 20;

/// Where archives pass through.
#[derive(Debug)]
pub(in super::super) struct Spool {
    home: PathBuf,
    places: Arc<Semaphore>,
}

/// An archive that came whole.
pub(super) struct Spooled {
    pub(super) file: File,
    /// Kept as long as the file takes room.
    pub(super) place: OwnedSemaphorePermit,
}

impl Spool {
    pub(in super::super) fn new(state: &Path) -> Self {
        Self { home: state.join("passing"), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Takes in an archive as far as there is room for it.
    pub(super) async fn fill(&self, bytes: impl Stream<Item = Result<Bytes, HostError>>) -> Result<Spooled, HostError> {
        let busy = |_| HostError::new(Reason::InUse, "Other archives are on their way; try again in a moment");
        let place = self.places.clone().try_acquire_owned().map_err(busy)?;
        let home = self.home.clone();
        let file = blocking(move || open(&home).map_err(|error| failed(&error))).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut bytes = std::pin::pin!(bytes);
        let (mut count, mut looked) = (0, None);
        while let Some(part) = timeout(PATIENCE, bytes.next()).await.map_err(|_| late())? {
            let part = part?;
            count += part.len() as u64;
            if looked.is_none_or(|looked| count - looked >= STRIDE) {
                has_room(&file)?;
                looked = Some(count);
            }
            file.write_all(&part).await.map_err(|error| failed(&error))?;
        }
        file.flush().await.map_err(|error| failed(&error))?;
        Ok(Spooled { file: file.into_std().await, place })
    }
}

fn open(home: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    let path = home.join(format!("{:016x}", fastrand::u64(..)));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn has_room(file: &tokio::fs::File) -> Result<(), HostError> {
    let disk = rustix::fs::fstatvfs(file).map_err(|error| failed(&error.into()))?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) > RESERVE + STRIDE { Ok(()) } else { Err(full()) }
}

fn failed(error: &io::Error) -> HostError {
    if error.kind() == io::ErrorKind::StorageFull {
        return full();
    }
    HostError::new(Reason::Failed, format!("The archive can't be kept while it passes through ({error})"))
}

fn full() -> HostError {
    let message =
        "There is no room to keep the archive while it passes through; free some space below the state directory";
    HostError::new(Reason::DiskFull, message)
}

fn late() -> HostError {
    HostError::new(Reason::TimedOut, format!("Nothing came of the archive for {} s", PATIENCE.as_secs()))
}

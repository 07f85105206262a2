//! The task that brings the disk up with the mirror.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::spawn_blocking,
    time::{self, Instant},
};

use super::{
    Shared,
    disk::{Disk, DiskError},
    open::{self, Opened},
    view::Event,
};

/// How long changes are gathered before they are written: what is lost with the power is status, which comes again. Each
/// write waits for the disk, and so does the engine beside it.
const GATHER: Duration = Duration::from_secs(1);
/// How long to wait before a store that failed is tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// The name under which the store's health is shown.
const COMPONENT: &str = "store";

/// Writes to disk what the mirror has and the disk has not.
pub(super) struct Persist {
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    pub(super) disk: Option<Disk>,
    /// Keeps other agents away until the disk is closed.
    pub(super) _lock: File,
}

impl Persist {
    /// Writes whenever there is something, until `close` is heard or its other end is dropped; then once more.
    pub(super) async fn run(mut self, mut close: oneshot::Receiver<()>) {
        let mut retry_at = Instant::now() + if self.disk.is_some() { Duration::ZERO } else { PAUSE };
        loop {
            tokio::select! {
                _ = &mut close => break,
                () = self.shared.wake.notified() => {}
            }
            let due = Instant::now() + GATHER;
            let due = if self.disk.is_some() { due } else { due.max(retry_at) };
            tokio::select! {
                _ = &mut close => break,
                () = time::sleep_until(due) => {}
            }
            self.write().await;
            retry_at = Instant::now() + PAUSE;
        }
        self.write().await;
    }

    /// Brings the disk up to date. Dropped half-way, the disk has all of it or nothing.
    async fn write(&mut self) {
        let disk = match self.disk.take() {
            Some(disk) => Ok(disk),
            None => self.reopen().await,
        };
        let written = match disk {
            Ok(disk) => write(Arc::clone(&self.shared), disk).await,
            Err(error) => Err(error),
        };
        let mut mirror = self.shared.mirror();
        match written {
            Ok(disk) => {
                self.disk = Some(disk);
                mirror.syncs += 1;
                drop(mirror);
                self.shared.health(COMPONENT, true, "what is remembered is on disk");
            }
            Err(error) => {
                mirror.sync_failures += 1;
                drop(mirror);
                self.shared.unavailable(&error);
                self.shared.wake.notify_one();
            }
        }
    }

    /// Opens the files again after they failed, and empties them: the mirror knows more than they do.
    async fn reopen(&self) -> Result<Disk, DiskError> {
        let mut disk = match open::open(&self.dir).await {
            Opened::Good(disk, _) => disk,
            Opened::Rebuilt(disk, aside, cause) => {
                self.shared.mirror().event(rebuilt(&aside, &cause));
                disk
            }
            Opened::Unavailable(error) => return Err(error),
        };
        disk.clear()?;
        self.shared.mirror().mark_all_dirty();
        Ok(disk)
    }
}

/// Returns the event that says that the store was begun anew.
pub(super) fn rebuilt(aside: &Path, cause: &DiskError) -> Event {
    let aside = aside.display();
    let message = format!("the store was damaged ({cause}) and is begun anew; the old one is kept as {aside}");
    Event::new("StoreRebuilt", message).warning()
}

async fn write(shared: Arc<Shared>, mut disk: Disk) -> Result<Disk, DiskError> {
    let blocking = spawn_blocking(move || {
        let batch = shared.mirror().take_batch(disk.next_event());
        disk.write(&batch).map(|()| disk)
    });
    blocking.await.unwrap_or(Err(DiskError::Panicked))
}

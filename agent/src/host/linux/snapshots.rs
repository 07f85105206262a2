//! Snapshots of the engine's volumes.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::Mutex;

use super::{
    docker::Docker,
    shelf::Shelf,
    volumes::{blocking, open},
};
use crate::host::{HostError, Reason, SnapshotSeen, Snapshots};

/// The longest label.
const LONGEST_LABEL: usize = 100;

/// Keeps snapshots in a directory, or beside the volume where that is on another file system.
#[derive(Debug)]
pub struct SnapshotStore {
    docker: Arc<Docker>,
    home: PathBuf,
    /// Copies one after the other: they share a disk, and what one leaves half-way the next may clear away.
    turn: Arc<Mutex<()>>,
}

impl SnapshotStore {
    /// Keeps the snapshots of this engine's volumes below `home`, which is made when it is first needed.
    pub fn new(docker: Arc<Docker>, home: PathBuf) -> Self {
        Self { docker, home, turn: Arc::default() }
    }

    async fn shelf(&self, volume: &str) -> Result<Shelf, HostError> {
        let base = self.docker.base_of(volume).await?;
        let (home, volume) = (self.home.clone(), volume.to_owned());
        blocking(move || {
            let (opened, path) = open(&base)?;
            Shelf::open(&home, &volume, &opened, path)
        })
        .await
    }
}

impl Snapshots for SnapshotStore {
    async fn snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        check(label)?;
        let turn = self.turn.clone().lock_owned().await;
        self.shelf(volume).await?.in_turn(turn).take(label).await
    }

    async fn restore(&self, volume: &str, label: &str) -> Result<(), HostError> {
        check(label)?;
        let turn = self.turn.clone().lock_owned().await;
        let running = self.docker.running_on(volume).await?;
        if let Some(container) = running.first() {
            // It would go on writing to the data that is replaced.
            let message = format!("`{container}` runs on the volume `{volume}`; stop it first");
            return Err(HostError::new(Reason::InUse, message));
        }
        self.shelf(volume).await?.in_turn(turn).put_back(label).await
    }

    async fn drop_snapshot(&self, volume: &str, label: &str) -> Result<(), HostError> {
        check(label)?;
        let turn = self.turn.clone().lock_owned().await;
        self.shelf(volume).await?.in_turn(turn).remove(label).await
    }

    async fn snapshots(&self, volume: &str) -> Result<Vec<SnapshotSeen>, HostError> {
        let shelf = self.shelf(volume).await?;
        blocking(move || shelf.list()).await
    }
}

/// A label is the name of a directory, and no name of one that is not whole.
fn check(label: &str) -> Result<(), HostError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if label.len() <= LONGEST_LABEL && !label.is_empty() && !label.starts_with('.') && label.bytes().all(plain) {
        return Ok(());
    }
    Err(HostError::new(Reason::Refused, format!("`{label}` can't be the label of a snapshot")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_no_way_out() {
        assert!(check("before-1.27").is_ok() && check("before-1.27.replaced").is_ok());
        for label in ["", ".", "..", "../x", "a/b", ".copying-x", "Über", "a b", &"x".repeat(101)] {
            assert!(check(label).is_err(), "{label}");
        }
    }
}

//! The rules that the machine starts with: a file that is given to `nft` before the engine starts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use crate::{
    file,
    host::{HostError, Reason, firewall::digest},
};

/// The file; a unit that loads it names it too.
#[derive(Debug)]
pub(super) struct Boot(pub(super) PathBuf);

impl Boot {
    /// Returns what stands for the rules in the file; nothing if it is not there or can't be read, so that it is written
    /// anew.
    pub(super) async fn digest(&self) -> String {
        let read = self.with(|path| fs::read_to_string(path)).await;
        read.map(|text| digest(&text)).unwrap_or_default()
    }

    /// Writes the rules down, and returns when they will survive a loss of power.
    pub(super) async fn keep(&self, rules: &str) -> Result<(), HostError> {
        let text = rules.to_owned();
        self.with(move |path| file::replace(path, text.as_bytes())).await.map_err(|error| self.failed(&error))
    }

    /// Removes the file.
    pub(super) async fn forget(&self) -> Result<(), HostError> {
        file::gone(self.with(|path| fs::remove_file(path)).await).map_err(|error| self.failed(&error))
    }

    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = self.0.clone();
        spawn_blocking(move || act(&path)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn failed(&self, error: &io::Error) -> HostError {
        let reason = if error.kind() == io::ErrorKind::StorageFull { Reason::DiskFull } else { Reason::Failed };
        let path = self.0.display();
        HostError::new(reason, format!("The rules for the start of the machine can't be written to {path}: {error}"))
    }
}

//! The one writer of the history.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    BRANCH, HistoryError, author,
    files::{self, Files},
    git::{Git, GitError},
    message, read,
    stream::{self, Signature},
};
use crate::{clock, manifests::Change};

/// How soon a change is tried again that could not be recorded.
const RETRY: Duration = Duration::from_secs(60);
/// After how many commits loose objects are packed.
const PACK_EVERY: u32 = 200;

/// Hears whether the history is well, and in words how.
pub type Report = dyn Fn(bool, String) + Send + Sync;

/// Turns changes of the directory into commits.
pub struct Recorder {
    recorded: Recorded,
    changes: mpsc::Receiver<Change>,
    /// The latest change that could not be recorded.
    missed: Option<Change>,
    report: Box<Report>,
}

/// What is recorded already.
pub(super) struct Recorded {
    git: Git,
    root: PathBuf,
    /// The latest commit and what it holds; none until the repository was opened.
    now: Option<(Option<String>, Files)>,
    /// Commits since the last time that objects were packed.
    loose: u32,
}

impl Recorder {
    pub(super) fn new(recorded: Recorded, changes: mpsc::Receiver<Change>, report: Box<Report>) -> Self {
        Self { recorded, changes, missed: None, report }
    }

    /// Records every change until the shutdown, and then those that are known already. Dropping the future loses at most
    /// the author of a change: the next start finds what is not recorded.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => break,
                change = self.changes.recv() => match change {
                    Some(change) => change,
                    None => break,
                },
                () = tokio::time::sleep(RETRY), if self.missed.is_some() => match self.missed.take() {
                    Some(change) => change,
                    None => continue,
                },
            };
            self.record(change).await;
        }
        while let Ok(change) = self.changes.try_recv() {
            self.record(change).await;
        }
    }

    async fn record(&mut self, change: Change) {
        match self.recorded.record(&change).await {
            Ok(()) => {
                self.missed = None;
                (self.report)(true, "every accepted change is recorded".to_owned());
            }
            Err(error) => {
                tracing::warn!(%error, "a change of the manifests is not in the history");
                // A machine without git is meant to be one: the rest of the agent is as ready as with it.
                let is_meant = matches!(error, HistoryError::Git(GitError::NotInstalled));
                (self.report)(is_meant, format!("changes are not recorded: {error}"));
                // The latest change holds all before it, so a queue behind trouble does not grow.
                let latest = std::iter::from_fn(|| self.changes.try_recv().ok()).last();
                self.missed = Some(latest.unwrap_or(change));
                self.recorded.now = None;
            }
        }
    }
}

impl Recorded {
    pub(super) const fn new(git: Git, root: PathBuf) -> Self {
        Self { git, root, now: None, loose: 0 }
    }

    /// Records what a change made of the directory; nothing if the history holds it already.
    async fn record(&mut self, change: &Change) -> Result<(), HistoryError> {
        let (head, before) = match self.now.take() {
            Some(now) => now,
            None => self.open().await?,
        };
        let after = files::accepted(&change.snapshot, &before);
        let changes = files::changes(&before, &after);
        let commit = if changes.is_empty() {
            head
        } else {
            let message = message::message(&changes, change.by.door);
            let (by, root) = (change.by.clone(), self.root.clone());
            let name = spawn_blocking(move || author::name(&by, &root, &changes)).await;
            let name = name.unwrap_or_else(|_| "unknown".to_owned());
            let signature = Signature { name: &name, time: clock::now().as_second() };
            let input = stream::commit(head.as_deref(), &signature, &message, &before, &after);
            let commit = self.git.run(&["fast-import", "--quiet", "--date-format=raw"], &input).await?;
            self.pack().await;
            Some(String::from_utf8_lossy(&commit).trim().to_owned())
        };
        self.now = Some((commit, after));
        Ok(())
    }

    /// Makes the repository if it is missing and reads what it holds.
    async fn open(&self) -> Result<(Option<String>, Files), HistoryError> {
        if !self.git.is_there() {
            self.make().await?;
        }
        let head = read::resolve(&self.git, BRANCH).await;
        match head {
            Ok(head) => {
                let files = read::files(&self.git, &head).await?;
                Ok((Some(head), files))
            }
            Err(HistoryError::NoSuch(_)) => Ok((None, Files::new())),
            Err(error) => Err(error),
        }
    }

    /// Makes an empty repository, which is there whole or not at all.
    async fn make(&self) -> Result<(), HistoryError> {
        let directory = self.git.directory().to_owned();
        let new = directory.with_extension("git.new");
        let not_made = |source| GitError::NotRun { command: "init".to_owned(), source };
        if new.exists() {
            // Left behind by an agent that was killed.
            fs::remove_dir_all(&new).map_err(not_made)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&new).map_err(not_made)?;
        let arguments = ["init", "--quiet", "--bare", "--template=", "--initial-branch=main"];
        Git::new(new.clone()).run(&arguments, b"").await?;
        fs::rename(&new, &directory).map_err(not_made)?;
        Ok(())
    }

    /// Packs loose objects now and then. That it fails is no reason to record nothing.
    async fn pack(&mut self) {
        self.loose += 1;
        if self.loose >= PACK_EVERY {
            self.loose = 0;
            if let Err(error) = self.git.run(&["repack", "-d", "-q", "--geometric=2"], b"").await {
                tracing::warn!(%error, "the history can't be packed");
            }
            if let Err(error) = self.git.run(&["prune-packed", "-q"], b"").await {
                tracing::warn!(%error, "what is packed can't be pruned");
            }
        }
    }
}

/// A text that may be shared.
pub(super) fn text(bytes: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(bytes).ok().map(Arc::from)
}

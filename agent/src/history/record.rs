//! The one writer of the history.

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    BRANCH, HistoryError, NOTES, PUSHED, author,
    digests::{self, Digests},
    files::{self, Files},
    message, read,
    repository::{self, Hooks},
    stream::{self, Signature},
};
use crate::{
    clock,
    git::{Git, GitError, read::is_ancestor},
    manifests::Change,
};

/// How soon a change is tried again that could not be recorded.
const RETRY: Duration = Duration::from_secs(60);
/// After how many commits loose objects are packed.
const PACK_EVERY: u32 = 200;

/// Hears whether the history is well, and in words how.
pub type Report = dyn Fn(bool, String) + Send + Sync;

/// Somebody waits for the latest commit once everything is recorded that is known.
pub(super) type Asked = oneshot::Sender<Result<Option<String>, HistoryError>>;

/// Turns changes of the directory into commits.
pub struct Recorder {
    recorded: Recorded,
    changes: mpsc::Receiver<Change>,
    asked: mpsc::Receiver<Asked>,
    /// What containers run.
    digests: watch::Receiver<Digests>,
    /// The latest change that could not be recorded.
    missed: Option<Change>,
    report: Box<Report>,
}

/// What is recorded already.
pub(super) struct Recorded {
    git: Git,
    hooks: Hooks,
    root: PathBuf,
    /// The latest commit and what it holds; none until the repository was opened.
    now: Option<(Option<String>, Files)>,
    /// The commit whose note was read or written last, and what it says.
    noted: Option<(String, Digests)>,
    /// Commits since the last time that objects were packed.
    loose: u32,
}

impl Recorder {
    pub(super) fn new(
        recorded: Recorded,
        changes: mpsc::Receiver<Change>,
        asked: mpsc::Receiver<Asked>,
        digests: watch::Receiver<Digests>,
        report: Box<Report>,
    ) -> Self {
        Self { recorded, changes, asked, digests, missed: None, report }
    }

    /// Records every change until the shutdown, and then those that are known already. Dropping the future loses at most
    /// the author of a change: the next start finds what is not recorded.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let change = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                change = self.changes.recv() => match change {
                    Some(change) => change,
                    None => break,
                },
                Some(asked) = self.asked.recv() => {
                    // Nobody waits any more: fine.
                    let _ = asked.send(self.settle().await);
                    continue;
                }
                Ok(()) = self.digests.changed() => {
                    self.note().await;
                    continue;
                }
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

    /// Tries again what was missed, and returns the latest commit.
    async fn settle(&mut self) -> Result<Option<String>, HistoryError> {
        if let Some(change) = self.missed.take() {
            self.record(change).await;
        }
        if self.missed.is_some() { Err(HistoryError::Behind) } else { self.recorded.settle().await }
    }

    /// Notes what containers run. What could not be noted is noted with the next change of it.
    async fn note(&mut self) {
        let digests = self.digests.borrow_and_update().clone();
        if let Err(error) = self.recorded.note(&digests).await {
            tracing::warn!(%error, "what containers run is not in the history");
        }
    }

    async fn record(&mut self, change: Change) {
        let mut next = Some(change);
        while let Some(change) = next.take() {
            match self.recorded.record(&change).await {
                Ok(()) => {
                    self.missed = None;
                    self.note().await;
                    (self.report)(true, "every accepted change is recorded".to_owned());
                }
                Err(error) => {
                    tracing::warn!(%error, "a change of the manifests is not in the history");
                    // A machine without git is meant to be one: the rest of the agent is as ready as with it.
                    let is_meant = matches!(error, HistoryError::Git(GitError::NotInstalled));
                    (self.report)(is_meant, format!("changes are not recorded: {error}"));
                    self.recorded.now = None;
                    self.missed = Some(change);
                    // The latest change holds all before it, so a queue behind trouble does not grow.
                    next = std::iter::from_fn(|| self.changes.try_recv().ok()).last();
                }
            }
        }
    }
}

impl Recorded {
    pub(super) const fn new(git: Git, hooks: Hooks, root: PathBuf) -> Self {
        Self { git, hooks, root, now: None, noted: None, loose: 0 }
    }

    /// Notes on the latest commit what containers run; nothing if that is noted already, or if it is not known yet.
    async fn note(&mut self, digests: &Digests) -> Result<(), HistoryError> {
        let Some((Some(head), _)) = &self.now else { return Ok(()) };
        if digests.is_empty() {
            return Ok(());
        }
        let noted = match self.noted.take().filter(|(commit, _)| commit == head) {
            Some((_, noted)) => noted,
            None => digests::of(&self.git, head).await?,
        };
        let head = head.clone();
        if noted != *digests {
            let before = read::resolve(&self.git, NOTES).await;
            let before = match before {
                Err(HistoryError::NoSuch(_)) => None,
                before => Some(before?),
            };
            let input = stream::note(before.as_deref(), &head, &digests::text(digests), clock::now().as_second());
            self.git.run(&["fast-import", "--quiet", "--date-format=raw"], &input).await?;
            self.pack().await;
        }
        self.noted = Some((head, digests.clone()));
        Ok(())
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
        } else if let Some(pushed) = self.pushed(head.as_deref(), &after).await? {
            Some(pushed)
        } else {
            let message = message::message(&changes, &change.by);
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

    /// Moves the branch to what was pushed, if that follows the head and holds just this: its author made the change.
    async fn pushed(&mut self, head: Option<&str>, files: &Files) -> Result<Option<String>, HistoryError> {
        let pushed = match read::resolve(&self.git, PUSHED).await {
            Err(HistoryError::NoSuch(_)) => return Ok(None),
            pushed => pushed?,
        };
        let follows = match head {
            Some(head) => head != pushed && is_ancestor(&self.git, head, &pushed).await?,
            None => true,
        };
        if !follows || read::files(&self.git, &pushed).await? != *files {
            return Ok(None);
        }
        self.git.run(&["update-ref", BRANCH, &pushed, head.unwrap_or_default()], b"").await?;
        self.pack().await;
        Ok(Some(pushed))
    }

    /// Returns the latest commit: what was pushed, if it holds the same.
    async fn settle(&mut self) -> Result<Option<String>, HistoryError> {
        let (head, files) = match self.now.take() {
            Some(now) => now,
            None => self.open().await?,
        };
        let head = self.pushed(head.as_deref(), &files).await?.or(head);
        self.now = Some((head.clone(), files));
        Ok(head)
    }

    /// Makes the repository if it is missing and reads what it holds.
    async fn open(&self) -> Result<(Option<String>, Files), HistoryError> {
        repository::open(&self.git, &self.hooks).await?;
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

    /// Packs loose objects now and then.
    async fn pack(&mut self) {
        self.loose += 1;
        if self.loose >= PACK_EVERY {
            self.loose = 0;
            self.git.pack().await;
        }
    }
}

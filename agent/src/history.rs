//! The history of the manifests: a git repository beside the directory, in which every accepted change is a commit.
//!
//! It holds what is accepted, which is not always what is on disk: of a file that can't be understood the last good text.
//! One recorder writes it. It is written by the program `git`, which is kept from everything outside of the repository;
//! where that is missing or fails, the machine is kept as before, and the health of this part says so.

mod author;
mod digests;
mod files;
mod incoming;
mod message;
mod read;
mod record;
mod repository;
mod stream;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    process::Child,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use self::record::{Asked, Recorded};
pub use self::{
    digests::{Digests, Resolved},
    incoming::{PushError, Turn},
    read::Revision,
    record::{Recorder, Report},
    repository::Hooks,
};
use crate::{
    git::{Git, GitError},
    manifests::Change,
};

/// The one branch.
const BRANCH: &str = "refs/heads/main";

/// What was pushed last. Only the recorder looks at it.
const PUSHED: &str = "refs/piccolo/pushed";
/// Which images ran with a revision.
const NOTES: &str = "refs/notes/digests";
/// How many may wait for the recorder.
const WAITING: usize = 16;
/// How many may fetch or push at once over HTTP, and how long others wait for a place.
const PLACES: usize = 4;
const PLACE_TIME: Duration = Duration::from_secs(20);

/// A question to the history that has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no such revision.
    #[error("the history has no revision `{0}`")]
    NoSuch(String),
    /// The repository can't be used.
    #[error("the history can't be read: {0}")]
    Git(#[from] GitError),
    /// What git answered is not what it was asked.
    #[error("the history can't be understood: {0}")]
    Garbled(&'static str),
    /// Changes could not be recorded.
    #[error("not every change is in the history: see /readyz?verbose")]
    Behind,
    /// Nobody records any more.
    #[error("the agent is shutting down")]
    Stopping,
    /// Too many fetch or push at once.
    #[error("too many fetch or push at once: try again")]
    Busy,
}

/// The readers' side of the history.
#[derive(Clone, Debug)]
pub struct History {
    git: Git,
    recorder: mpsc::Sender<Asked>,
    /// Pushes come one after the other.
    turns: Arc<Mutex<()>>,
    places: Arc<Semaphore>,
}

/// Git at work on one request; dropped, it ends.
#[derive(Debug)]
pub struct Served {
    /// The program.
    pub child: Child,
    _place: OwnedSemaphorePermit,
}

impl History {
    /// Opens the history in this directory, to be written by the recorder, which makes it if it is missing. `root` is the
    /// directory of the manifests, and `digests` says what their containers run. Nothing is done before the recorder runs.
    pub fn open(
        directory: PathBuf,
        root: PathBuf,
        hooks: Hooks,
        changes: mpsc::Receiver<Change>,
        digests: watch::Receiver<Digests>,
        report: Box<Report>,
    ) -> (Self, Recorder) {
        let git = Git::new(directory);
        let (recorder, asked) = mpsc::channel(WAITING);
        let places = Arc::new(Semaphore::new(PLACES));
        let history = Self { git: git.clone(), recorder, turns: Arc::default(), places };
        (history, Recorder::new(Recorded::new(git, hooks, root), changes, asked, digests, report))
    }

    /// Waits until every change is recorded that was told so far, and returns the latest revision, if there is one.
    pub async fn settled(&self) -> Result<Option<String>, HistoryError> {
        let (answer, answered) = oneshot::channel();
        self.recorder.send(answer).await.map_err(|_| HistoryError::Stopping)?;
        answered.await.map_err(|_| HistoryError::Stopping)?
    }

    /// Starts the program that answers one request of a client that fetches or pushes, in the words of CGI.
    pub async fn serve(&self, environment: &[(&str, &str)]) -> Result<Served, HistoryError> {
        let place = timeout(PLACE_TIME, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| HistoryError::Busy)?.map_err(|_| HistoryError::Stopping)?;
        Ok(Served { child: self.git.serve(environment)?, _place: place })
    }
}

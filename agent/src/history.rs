//! The history of the manifests: a git repository beside the directory, in which every accepted change is a commit.
//!
//! It holds what is accepted, which is not always what is on disk: of a file that can't be understood the last good text.
//! One recorder writes it. It is written by the program `git`, which is kept from everything outside of the repository;
//! where that is missing or fails, the machine is kept as before, and the health of this part says so.

mod author;
mod files;
mod git;
mod message;
mod read;
mod record;
mod stream;

use std::path::PathBuf;

use tokio::sync::mpsc;

use self::{git::Git, record::Recorded};
pub use self::{
    git::GitError,
    read::Revision,
    record::{Recorder, Report},
};
use crate::manifests::Change;

/// The one branch.
const BRANCH: &str = "refs/heads/main";

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
}

/// The readers' side of the history.
#[derive(Clone, Debug)]
pub struct History {
    git: Git,
}

impl History {
    /// Opens the history in this directory, to be written by the recorder, which makes it if it is missing. `root` is the
    /// directory of the manifests. Nothing is done before the recorder runs.
    pub fn open(
        directory: PathBuf,
        root: PathBuf,
        changes: mpsc::Receiver<Change>,
        report: Box<Report>,
    ) -> (Self, Recorder) {
        let git = Git::new(directory);
        (Self { git: git.clone() }, Recorder::new(Recorded::new(git, root), changes, report))
    }
}

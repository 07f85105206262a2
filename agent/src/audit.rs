//! What was asked of the machine and done to it, in lines that can't be changed unseen: each carries the digest of itself
//! and of the one before.
//!
//! Changing, removing or adding a line breaks the chain from there on. Cutting off the end does not; the system's own
//! journal, which is told each line's number and digest, is the witness of that.

mod files;
mod line;
mod recorder;
mod verify;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

pub use self::{
    line::Line,
    recorder::{Recorder, Report},
    verify::{Broken, Verified, verify},
};

/// Where the files are, below the state directory.
pub const DIRECTORY: &str = "audit";

/// How many entries may wait to be written.
const WAITING: usize = 1024;
/// How long somebody waits for a place in the queue, before the entry is only counted.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many entries a minute those may cause whom nobody knows: they must not push out what others did.
const STRANGERS: u32 = 60;

/// Something that was asked or done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Who: the label of a token, the name of a user, `uid 0`, or `piccolod`; `-` if nobody knows.
    pub who: String,
    /// What they may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The address of their machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The way in: `api`, `browser`, `git`, `seed`, or `controller` for what follows from manifests.
    pub door: &'static str,
    /// What: a method and a path, or a step.
    pub action: String,
    /// The manifest, `container/web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The generation of its spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// What came of it: a status code, `applied` or `failed`.
    pub result: String,
}

/// The side of the audit that takes entries.
#[derive(Clone, Debug)]
pub struct Audit {
    home: PathBuf,
    queue: mpsc::Sender<Entry>,
    counts: Arc<Mutex<Counts>>,
}

/// What is not in the lines.
#[derive(Debug)]
struct Counts {
    /// Entries that found no place since the last line.
    lost: u64,
    /// When the minute of the strangers began, and how many entries they caused in it.
    strangers: (Instant, u32),
}

impl Audit {
    /// Opens the audit in a directory, to be written by the recorder, which makes it.
    pub fn open(home: PathBuf, report: Box<Report>) -> (Self, Recorder) {
        let (queue, entries) = mpsc::channel(WAITING);
        let counts = Arc::new(Mutex::new(Counts { lost: 0, strangers: (Instant::now(), 0) }));
        let audit = Self { home: home.clone(), queue, counts: Arc::clone(&counts) };
        (audit, Recorder::new(home, entries, counts, report))
    }

    /// Takes an entry. A disk that is full or slow holds nobody up for more than two seconds; then the entry is counted, and
    /// the next line says how many there were. Dropped, the entry may be lost.
    pub async fn record(&self, entry: Entry) {
        if !matches!(timeout(PATIENCE, self.queue.send(entry)).await, Ok(Ok(()))) {
            self.lose(1);
        }
    }

    /// Takes an entry on somebody whom nobody knows, but not more than sixty of them a minute.
    pub async fn record_stranger(&self, entry: Entry) {
        let has_place = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, count) = &mut counts.strangers;
            if since.elapsed() >= Duration::from_secs(60) {
                (*since, *count) = (Instant::now(), 0);
            }
            *count += 1;
            *count <= STRANGERS
        };
        if has_place { self.record(entry).await } else { self.lose(1) }
    }

    /// Counts entries that are in no line.
    pub fn lose(&self, entries: u64) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).lost += entries;
    }

    /// Returns the latest lines, the newest last. Blocks.
    ///
    /// # Errors
    /// When the files can't be read.
    pub fn latest(&self, many: usize) -> std::io::Result<Vec<Line>> {
        files::latest(&self.home, many)
    }
}

//! The one writer of the audit.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Counts, Entry, files::Open, line::Tip};
use crate::clock;

/// How many entries are written at once.
const BATCH: usize = 256;
/// The rest after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Hears whether the audit is well, and in words how.
pub type Report = dyn Fn(bool, String) + Send + Sync;

/// Writes entries down.
pub struct Recorder {
    home: PathBuf,
    entries: mpsc::Receiver<Entry>,
    counts: Arc<Mutex<Counts>>,
    report: Box<Report>,
    /// None until the first entry, and after a failure.
    open: Option<(Open, Tip)>,
}

impl Recorder {
    pub(super) fn new(
        home: PathBuf,
        entries: mpsc::Receiver<Entry>,
        counts: Arc<Mutex<Counts>>,
        report: Box<Report>,
    ) -> Self {
        Self { home, entries, counts, report, open: None }
    }

    /// Writes every entry until the shutdown, and then those that wait. What can't be written is tried again every five
    /// seconds. Dropping the future loses what waits.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut batch = Vec::new();
        while let Some(many) = shutdown.run_until_cancelled(self.entries.recv_many(&mut batch, BATCH)).await {
            if many == 0 {
                return;
            }
            while !self.write(&batch).await {
                if shutdown.run_until_cancelled(sleep(RETRY)).await.is_none() {
                    return;
                }
            }
            batch.clear();
        }
        self.entries.close();
        while timeout(RETRY, self.entries.recv_many(&mut batch, BATCH)).await.is_ok_and(|many| many > 0) {
            if !self.write(&batch).await {
                return;
            }
            batch.clear();
        }
    }

    /// Writes entries in one go. Returns false if they could not be written.
    async fn write(&mut self, batch: &[Entry]) -> bool {
        let lost = std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner).lost);
        let (open, home, entries) = (self.open.take(), self.home.clone(), batch.to_vec());
        let written = spawn_blocking(move || write(open, &home, &entries, lost)).await;
        match written.unwrap_or_else(|_| Err(io::Error::other("the writer ended"))) {
            Ok(open) => {
                for (entry, n) in batch.iter().zip(open.1.n + 1 - u64::try_from(batch.len()).unwrap_or_default()..) {
                    let Entry { who, door, action, result, .. } = entry;
                    info!(target: "audit", n, who, door, action, result);
                }
                info!(target: "audit", n = open.1.n, hash = open.1.hash, "written");
                self.open = Some(open);
                (self.report)(true, "every call and every step is written down".to_owned());
                true
            }
            Err(error) => {
                self.counts.lock().unwrap_or_else(PoisonError::into_inner).lost += lost;
                warn!(%error, "the audit can't be written");
                (self.report)(
                    false,
                    format!("calls and steps can't be written down in {}: {error}", self.home.display()),
                );
                false
            }
        }
    }
}

fn write(open: Option<(Open, Tip)>, home: &std::path::Path, entries: &[Entry], lost: u64) -> io::Result<(Open, Tip)> {
    let (mut file, mut tip) = match open {
        Some(open) => open,
        None => Open::latest(home)?,
    };
    let time = clock::now_text();
    let mut lines = String::new();
    for (entry, lost) in entries.iter().zip(std::iter::once(lost).chain(std::iter::repeat(0))) {
        lines.push_str(&tip.follow(entry, lost, &time)?);
    }
    file.write(&lines)?;
    Ok((file, tip))
}

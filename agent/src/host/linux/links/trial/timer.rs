//! Who puts a change back: a timer of systemd, and what it runs.

use std::{path::Path, time::Duration};

use super::{Restored, TrialBook};
use crate::{
    clock::{self, Uptime},
    host::{
        HostError, Reason,
        linux::{
            links::{blocking, kernel},
            program::run,
        },
    },
};

/// How long systemd may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name of the timer.
const TIMER: &str = "piccolo-net-try";

/// Has systemd, not the daemon, put the change back after this time. Fails where its timer stands already.
pub(in super::super) async fn arm(left: Duration, root: &Path) -> Result<(), HostError> {
    let program = std::env::current_exe()
        .map_err(|error| HostError::new(Reason::Failed, format!("can't tell where this program is ({error})")))?;
    let after = format!("--on-active={}s", left.as_secs() + 1);
    let unit = format!("--unit={TIMER}");
    let state = root.parent().unwrap_or(root).display().to_string();
    let program = program.display().to_string();
    let words =
        ["--quiet", "--collect", &unit, &after, "--timer-property=AccuracySec=1s", &program, "net-restore", &state];
    run("systemd-run", words, PATIENCE).await.map(drop)
}

/// Has systemd put back the trial that runs, should the daemon have ended before it asked for that.
pub(in super::super) async fn rearm(book: TrialBook) {
    let lent = book.clone();
    let left = blocking(move || lent.tidied(&clock::uptime())).await.ok().flatten();
    let Some(left) = left.filter(|left| !left.is_zero()) else { return };
    if let Err(error) = arm(left, book.root()).await {
        tracing::debug!(%error, "the timer of the change on trial stands already, or can't be set");
    }
}

impl TrialBook {
    /// Returns the time that is left to the trial. Where none runs, what a beginning left goes that was broken off.
    fn tidied(&self, now: &Uptime) -> Result<Option<Duration>, HostError> {
        if !self.root().exists() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let left = self.left(now)?;
        if left.is_none() {
            self.end()?;
        }
        Ok(left)
    }
}

/// Takes the timer back. Where there is none it does nothing.
pub(in super::super) async fn disarm() {
    drop(run("systemctl", ["stop", &format!("{TIMER}.timer")], PATIENCE).await);
}

/// Puts back what nobody confirmed, and has networkd take it. A link that was made otherwise goes, so that networkd makes
/// it anew. Needs no daemon.
///
/// # Errors
/// When a file can't be written, or networkd does not answer: then it is to be repeated.
pub async fn put_links_back(book: &TrialBook, now: &Uptime, tell: bool) -> Result<Option<Restored>, HostError> {
    let (lent, moment) = (book.clone(), now.clone());
    let Some(restored) = blocking(move || lent.restore(&moment)).await? else { return Ok(None) };
    if tell {
        for device in &restored.devices {
            kernel::remove(device).await?;
        }
        run(&book.networkctl, ["reload"], PATIENCE).await?;
    }
    // The files are back. One port that can't be served must not keep the others, and every later change, waiting.
    for device in &restored.radios {
        if let Err(error) = book.radios.take(device, tell).await {
            tracing::error!(device, %error, "wpa_supplicant does not take the file that was put back");
        }
    }
    let lent = book.clone();
    blocking(move || lent.finish(&clock::uptime())).await?;
    Ok(Some(restored))
}

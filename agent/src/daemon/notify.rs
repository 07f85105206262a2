//! What systemd is told.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::controller::Pulse;

/// How long a loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says that the daemon answers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the daemon ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Asks for more time to end than the unit gives.
pub(super) fn takes(time: Duration) {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// Tells the watchdog that all is well as long as every controller's loop turns. Returns at once where nobody watches.
pub(super) async fn watchdog(pulses: Vec<Pulse>, shutdown: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval(limit / 2);
    while shutdown.run_until_cancelled(beat.tick()).await.is_some() {
        if all_turn(&pulses).await {
            tell(&[NotifyState::Watchdog]);
        } else {
            warn!("a controller does not answer; the watchdog is not told that all is well");
        }
    }
}

async fn all_turn(pulses: &[Pulse]) -> bool {
    for pulse in pulses {
        let asked = async {
            let (answer, answered) = oneshot::channel();
            pulse.send(answer).await.is_ok() && answered.await.is_ok()
        };
        if !tokio::time::timeout(PATIENCE, asked).await.unwrap_or(false) {
            return false;
        }
    }
    true
}

/// Tells systemd, if it listens. That it can't be told is no reason to stop.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "can't tell systemd");
    }
}

//! Since when the engine runs.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::docker::Docker;

/// The network that the engine makes anew whenever it starts, unless containers have outlived it.
const ITS_OWN: &str = "bridge";

impl Docker {
    /// Returns since when the engine runs: no longer than the machine does.
    pub(super) async fn runs_since(&self, now: Timestamp) -> Option<Timestamp> {
        let booted = booted(now);
        let Ok(client) = self.client().await else { return booted };
        let network = client.inspect_network(ITS_OWN, None).await.ok();
        let made = network.and_then(|network| network.created?.parse().ok());
        booted.max(made)
    }
}

/// Returns when the machine was started, by the clock as it is now.
fn booted(now: Timestamp) -> Option<Timestamp> {
    let up = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    now.checked_sub(up).ok()
}

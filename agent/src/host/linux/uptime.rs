//! Since when the engine runs.

use std::time::Duration;

use bollard::Docker as Client;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use super::docker::Docker;
use crate::{
    clock,
    host::{ContainerSeen, State},
};

/// The network that the engine makes anew whenever it starts, unless containers have outlived it.
const ITS_OWN: &str = "bridge";

impl Docker {
    /// Returns since when the engine runs, which is no longer than the machine does, if one of these has ended.
    pub(super) async fn runs_since(&self, client: &Client, containers: &[ContainerSeen]) -> Option<Timestamp> {
        if !containers.iter().any(|it| it.stamp.is_some() && it.state == State::Exited) {
            return None;
        }
        let network = client.inspect_network(ITS_OWN, None).await.ok();
        let made = network.and_then(|network| network.created?.parse().ok());
        booted(clock::now()).max(made)
    }
}

/// Returns when the machine was started, by the clock as it is now.
fn booted(now: Timestamp) -> Option<Timestamp> {
    let up = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    now.checked_sub(up).ok()
}

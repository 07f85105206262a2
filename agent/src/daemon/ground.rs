//! Tells of what the daemon stands on: network and clock.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    host::linux::{clock_is_right, links},
    store::Writer,
};

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks again and again. Where the API answers this machine alone, its links are nobody's concern.
pub(super) async fn tell(store: Arc<Writer>, is_open: bool, shutdown: CancellationToken) {
    let mut beat = tokio::time::interval(PAUSE);
    while shutdown.run_until_cancelled(beat.tick()).await.is_some() {
        say(&store, "clock", clock_is_right(clock::now()));
        if is_open {
            say(&store, "network", links());
        }
    }
}

fn say(store: &Writer, part: &'static str, found: Result<String, String>) {
    let is_well = found.is_ok();
    store.health(part, is_well, found.unwrap_or_else(|wrong| wrong));
}

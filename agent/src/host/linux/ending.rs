//! Whether the machine goes down.

use std::{process::Stdio, time::Duration};

use super::program::program;

/// How long systemd may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns true if the machine is about to be switched off or started anew, so that the daemon is not just restarted.
/// Where nobody can tell, it is not.
pub async fn goes_down() -> bool {
    let mut ask = program("systemctl");
    ask.arg("is-system-running").stdout(Stdio::piped());
    let answer = tokio::time::timeout(PATIENCE, ask.output()).await;
    // Its exit code is that of a failure for all but a machine that runs well.
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.stdout.trim_ascii() == b"stopping"))
}

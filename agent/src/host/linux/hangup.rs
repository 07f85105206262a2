//! The end of a program whose person is gone. The engine has no word for it and would let the program run forever.

use std::time::Duration;

use bollard::{Docker as Client, models::ExecInspectResponse};
use rustix::process::{Pid, Signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{error, family::Family};
use crate::host::HostError;

/// How long a program may go on after it was hung up.
const GRACE: Duration = Duration::from_secs(10);
/// The same when the daemon ends.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// How long the engine may take to start a program.
const START: Duration = Duration::from_secs(10);
/// The first pause between two looks, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How far a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The engine still starts it.
    Begins,
    /// It runs, under this number.
    Runs(Pid),
    /// It ended with this code.
    Ended(i64),
}

/// Waits until a program ended and returns its exit code. The engine does not tell when that is, but it is mostly so when
/// it prints no more.
pub(super) async fn exit_code(client: &Client, exec: &str) -> Result<i64, HostError> {
    let mut pause = LOOKS.0;
    loop {
        if let Stage::Ended(code) = stage(client, exec).await? {
            return Ok(code);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
    }
}

/// Hangs a program up with all that it started, and kills what goes on: after a while, soon if the daemon ends.
pub(super) async fn hang_up(client: &Client, container: &str, exec: &str, over: &CancellationToken) {
    let family = match head(client, exec).await {
        Ok(Some(head)) => Family::new(container, head),
        Ok(None) => return,
        Err(error) => return tracing::warn!(container, %error, "a program whose person is gone can't be ended"),
    };
    family.send(Signal::HUP).await;
    tokio::select! {
        () = gone(&family) => {}
        () = patience(over) => {
            tracing::info!(container, "a program goes on though its person is gone, and is killed");
            family.send(Signal::KILL).await;
        }
    }
}

async fn gone(family: &Family) {
    let mut pause = LOOKS.0;
    while !family.is_gone().await {
        sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
    }
}

async fn patience(over: &CancellationToken) {
    let short = async {
        over.cancelled().await;
        sleep(SHORT_GRACE).await;
    };
    tokio::select! {
        () = sleep(GRACE) => {}
        () = short => {}
    }
}

/// Returns the process of a program, none if it ended.
async fn head(client: &Client, exec: &str) -> Result<Option<Pid>, HostError> {
    let running = async {
        loop {
            match stage(client, exec).await {
                Ok(Stage::Begins) => sleep(LOOKS.0).await,
                Ok(Stage::Runs(pid)) => return Ok(Some(pid)),
                Ok(Stage::Ended(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    };
    timeout(START, running).await.unwrap_or(Ok(None))
}

async fn stage(client: &Client, exec: &str) -> Result<Stage, HostError> {
    client.inspect_exec(exec).await.map(|seen| stage_of(&seen)).map_err(|error| error::translate(&error))
}

fn stage_of(seen: &ExecInspectResponse) -> Stage {
    let pid = seen.pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    match (seen.running, seen.exit_code, pid) {
        (Some(true), _, Some(pid)) => Stage::Runs(pid),
        (Some(false), Some(code), _) => Stage::Ended(code),
        _ => Stage::Begins,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_begins_runs_and_ends() {
        let seen = |running, exit_code, pid| ExecInspectResponse {
            running: Some(running),
            exit_code,
            pid: Some(pid),
            ..ExecInspectResponse::default()
        };
        assert_eq!(stage_of(&seen(false, None, 0)), Stage::Begins);
        assert_eq!(stage_of(&seen(true, None, 0)), Stage::Begins);
        assert_eq!(stage_of(&seen(true, None, 7)), Stage::Runs(Pid::from_raw(7).unwrap()));
        assert_eq!(stage_of(&seen(false, Some(127), 7)), Stage::Ended(127));
    }
}

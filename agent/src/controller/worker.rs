//! One subject's steps, applied in order.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    host::HostError,
    reconcile::{Disruption, Reconciler, Step},
};

/// How long a step that disturbs people holds its place. A stop may wait for a grace period of many minutes, during which
/// it asks nothing of the engine.
const HOLD: Duration = Duration::from_secs(2);

/// The places that steps of all kinds share, so that the engine is used well and not flooded.
#[derive(Debug)]
pub struct Lanes {
    quick: Semaphore,
    transfer: Semaphore,
}

impl Default for Lanes {
    /// Returns four places for quick steps, which is what two cores and an engine can use, and three for transfers,
    /// which wait for a network and must not hold up the others.
    fn default() -> Self {
        Self { quick: Semaphore::new(4), transfer: Semaphore::new(3) }
    }
}

/// What came of one subject's steps.
#[derive(Debug)]
pub(super) enum Worked {
    /// All were applied.
    Done,
    /// This one failed first, and those that rest on it were not tried.
    Failed { step: String, error: HostError },
    /// The daemon stops; the rest is planned again when it starts.
    Abandoned,
}

/// Applies the steps of one subject in order, but for those that rest on one that failed, until `stop` says that they are not
/// wanted any more: the daemon ends, or the manifest has changed. A transfer is then broken off and any other step under way is finished; and
/// once people have been disturbed the rest is done all the same, for nothing is worse than to stop half-way.
///
/// If the future is dropped the step under way is abandoned; the next pass sees what became of it.
pub(super) async fn work<R: Reconciler>(
    reconciler: Arc<R>,
    steps: Vec<R::Step>,
    lanes: Arc<Lanes>,
    stop: CancellationToken,
    applied: impl Fn(&R::Step) + Send,
) -> Worked {
    let (mut disturbed, mut undone, mut failed) = (false, Vec::new(), None);
    let mut place: Option<(bool, SemaphorePermit<'_>)> = None;
    for step in steps {
        if undone.iter().any(|it| step.rests_on(it)) {
            undone.push(step);
            continue;
        }
        // A subject keeps its place over steps of one lane: a container that was stopped is started before another
        // one is stopped.
        if place.as_ref().is_none_or(|(transfer, _)| *transfer != step.is_transfer()) {
            drop(place.take());
            let lane = if step.is_transfer() { &lanes.transfer } else { &lanes.quick };
            let permit =
                if disturbed { Some(lane.acquire().await) } else { stop.run_until_cancelled(lane.acquire()).await };
            let Some(Ok(permit)) = permit else { return failed.unwrap_or(Worked::Abandoned) };
            place = Some((step.is_transfer(), permit));
        }
        if stop.is_cancelled() && !disturbed {
            return failed.unwrap_or(Worked::Abandoned);
        }
        let span = info_span!("step", subject = step.subject(), %step);
        let apply = reconciler.apply(&step).instrument(span.clone());
        let disturbs = step.disruption() != Disruption::None;
        let result = if step.is_transfer() {
            stop.run_until_cancelled(apply).await
        } else if disturbs {
            let mut apply = std::pin::pin!(apply);
            Some(match timeout(HOLD, &mut apply).await {
                Ok(result) => result,
                Err(_) => {
                    drop(place.take());
                    apply.await
                }
            })
        } else {
            Some(apply.await)
        };
        match result {
            None => return failed.unwrap_or(Worked::Abandoned),
            Some(Ok(())) => span.in_scope(|| info!("applied")),
            Some(Err(error)) => {
                span.in_scope(|| warn!(reason = error.reason.as_str(), %error, "failed"));
                failed.get_or_insert(Worked::Failed { step: step.to_string(), error });
                undone.push(step);
                continue;
            }
        }
        disturbed |= disturbs;
        applied(&step);
    }
    failed.unwrap_or(Worked::Done)
}

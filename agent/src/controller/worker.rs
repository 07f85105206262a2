//! One subject's steps, applied in order.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::{
    host::HostError,
    reconcile::{Reconciler, Step},
};

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
    /// This one failed, and those after it were not tried.
    Failed { step: String, error: HostError },
    /// The daemon stops; the rest is planned again when it starts.
    Abandoned,
}

/// Applies the steps of one subject in order, until one fails or the daemon stops. A step that has begun is finished.
///
/// If the future is dropped the step under way is abandoned; the next pass sees what became of it.
pub(super) async fn work<R: Reconciler>(
    reconciler: Arc<R>,
    steps: Vec<R::Step>,
    lanes: Arc<Lanes>,
    shutdown: CancellationToken,
    applied: impl Fn(&R::Step) + Send,
) -> Worked {
    let mut place: Option<(bool, SemaphorePermit<'_>)> = None;
    for step in steps {
        // A subject keeps its place over steps of one lane: a container that was stopped is started before another
        // one is stopped.
        if place.as_ref().is_none_or(|(transfer, _)| *transfer != step.is_transfer()) {
            drop(place.take());
            let lane = if step.is_transfer() { &lanes.transfer } else { &lanes.quick };
            let Some(Ok(permit)) = shutdown.run_until_cancelled(lane.acquire()).await else {
                return Worked::Abandoned;
            };
            place = Some((step.is_transfer(), permit));
        }
        if shutdown.is_cancelled() {
            return Worked::Abandoned;
        }
        let span = info_span!("step", subject = step.subject(), %step);
        match reconciler.apply(&step).instrument(span.clone()).await {
            Ok(()) => span.in_scope(|| info!("applied")),
            Err(error) => {
                span.in_scope(|| warn!(reason = error.reason.as_str(), %error, "failed"));
                return Worked::Failed { step: step.to_string(), error };
            }
        }
        applied(&step);
    }
    Worked::Done
}

//! What is done when the machine goes down.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use piccolo_schema::{Declared, Desired, Mode};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{Shared, journal, pass::by_subject};
use crate::{
    reconcile::Reconciler,
    store::{Event, Writer},
};

/// Subjects side by side. Most of them only wait.
const SIDE_BY_SIDE: usize = 32;

/// Does what a kind has to do before the machine goes down, for no longer than this. What is only observed is left alone.
/// The controller of the kind must have ended, or it would undo what is done here.
pub async fn farewell<R: Reconciler>(reconciler: &R, shared: &Shared, within: Duration) {
    let registered = shared.registered.borrow().clone();
    let mut desired: Desired<R::Manifest> = registered.snapshot.desired();
    desired.manifests.retain(|manifest| shared.mode == Mode::Enforce && manifest.mode() == Mode::Enforce);
    let kind = R::Manifest::KIND;
    let until = Instant::now() + within;
    let observed = match timeout_at(until, reconciler.observe()).await {
        Ok(Ok(observed)) => observed,
        Ok(Err(error)) => return warn!(%kind, %error, "can't be seen before the machine goes down"),
        Err(_) => return warn!(%kind, "can't be seen in time before the machine goes down"),
    };
    for wave in R::farewell(&desired, &observed) {
        let all = stream::iter(by_subject(wave)).for_each_concurrent(SIDE_BY_SIDE, |(name, steps)| {
            let generation = registered.declared(kind, &name).map_or(0, |declared| declared.generation);
            async move { one(reconciler, &name, generation, &steps, &shared.store).await }
        });
        if timeout_at(until, all).await.is_err() {
            let message = format!("It took longer than {} s; the engine ends what is left", within.as_secs());
            let mut event = Event::new("FarewellTooLong", message).warning();
            event.kind = Some(kind);
            return shared.store.event(event);
        }
    }
}

/// Applies the steps of one subject. What fails holds up nobody else.
async fn one<R: Reconciler>(reconciler: &R, name: &str, generation: i64, steps: &[R::Step], store: &Writer) {
    let kind = R::Manifest::KIND;
    for step in steps {
        match reconciler.apply(step).await {
            Ok(()) => journal::applied(store, kind, step, generation),
            Err(error) => return journal::failed(store, kind, name, generation, &step.to_string(), &error),
        }
    }
}

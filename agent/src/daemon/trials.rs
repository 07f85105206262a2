//! What is told of changes on trial.

use std::sync::Arc;

use piccolo_schema::duration::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    manifests::{Ended, Trial, Trials},
    store::{Event, Writer},
};

/// Writes into the journal which change is on trial and what became of it, until the shutdown.
pub(super) async fn tell(mut trials: watch::Receiver<Trials>, store: Arc<Writer>, shutdown: CancellationToken) {
    // What is pending at the start was told of before; what ended at the start was not.
    let pending = trials.borrow().pending.clone();
    let mut told = Trials { pending, ended: None };
    loop {
        let now = trials.borrow_and_update().clone();
        for event in events(&told, &now) {
            store.event(event);
        }
        told = now;
        match shutdown.run_until_cancelled(trials.changed()).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return,
        }
    }
}

fn events(told: &Trials, now: &Trials) -> Vec<Event> {
    let ended = now.ended.as_ref().filter(|_| told.ended != now.ended).map(|it| end(it));
    let pending = now.pending.as_ref().filter(|_| told.pending != now.pending).map(|it| begin(it));
    ended.into_iter().chain(pending).collect()
}

fn begin(trial: &Trial) -> Event {
    let within = Duration::from_millis(u64::try_from(trial.within.as_millis()).unwrap_or(u64::MAX));
    Event::new("OnTrial", format!("`{}` is put back in {within} unless it is confirmed", trial.id))
}

fn end(it: &Ended) -> Event {
    if it.confirmed {
        return Event::new("Confirmed", format!("`{}` is confirmed and stays", it.id));
    }
    let left: Vec<_> = it.left.iter().map(|path| path.display().to_string()).collect();
    let left = if left.is_empty() {
        String::new()
    } else {
        format!("; changed by hand meanwhile and left so: {}", left.join(", "))
    };
    Event::new("PutBack", format!("`{}` was not kept; the manifests are as before{left}", it.id)).warning()
}

//! Watches a change on trial: what worked before it and works no more puts it back before its time is over.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tracing::{error, warn};

use super::{
    TrialBook, blocking,
    checks::{self, Judge},
    files::Places,
    put_links_back, seen, trial,
};
use crate::{clock, host::CheckSeen};

/// How often is looked.
const PACE: Duration = Duration::from_secs(2);
/// How long the timer may take until what is over is back.
const TIMER: Duration = Duration::from_secs(6);

/// What a watch shares with the links.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) places: Places,
    pub(super) book: TrialBook,
    pub(super) hint: Weak<Notify>,
    /// When networkd was told of something last.
    pub(super) told: Arc<Mutex<Instant>>,
    /// What was found last.
    pub(super) found: Arc<Mutex<Vec<CheckSeen>>>,
    /// Whether somebody watches already.
    pub(super) on: Arc<AtomicBool>,
}

impl Watch {
    /// Watches until no change is on trial any more.
    pub(super) async fn run(self) {
        while !self.on.swap(true, Ordering::AcqRel) {
            let mut judge = Judge::default();
            while let Some(before) = self.before().await {
                if !self.look(&before, &mut judge).await {
                    return;
                }
                sleep(PACE).await;
            }
            self.overdue().await;
            self.keep(Vec::new());
            self.on.store(false, Ordering::Release);
            // One that began in this very moment found somebody who watched.
            if self.before().await.is_none() {
                return;
            }
        }
    }

    /// Looks once. Returns false when nobody is left to whom it matters.
    async fn look(&self, before: &BTreeSet<String>, judge: &mut Judge) -> bool {
        let Some(hint) = self.hint.upgrade() else { return false };
        let devices = seen(&self.places).await.unwrap_or_default();
        judge.see(&devices);
        let mut checks = checks::look(&devices).await;
        for check in &mut checks {
            check.before = before.contains(&check.name);
        }
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let why = judge.hear(before, &checks, told.elapsed());
        if self.keep(checks) {
            hint.notify_one();
        }
        if let Some(why) = why {
            self.put_back(&why).await;
            hint.notify_one();
        }
        true
    }

    /// Puts back what is over and what its timer leaves there, as often as it takes.
    async fn overdue(&self) {
        while self.is_over().await && self.hint.upgrade().is_some() {
            sleep(TIMER).await;
            if !self.is_over().await {
                return;
            }
            match put_links_back(&self.book, &clock::uptime(), true).await {
                Ok(_) => warn!("a change of links is put back that its timer has left there"),
                Err(error) => error!(%error, "a change of links can't be put back; it is tried again"),
            }
            if let Some(hint) = self.hint.upgrade() {
                hint.notify_one();
            }
        }
    }

    async fn is_over(&self) -> bool {
        let book = self.book.clone();
        blocking(move || book.left(&clock::uptime())).await.is_ok_and(|left| left == Some(Duration::ZERO))
    }

    async fn before(&self) -> Option<BTreeSet<String>> {
        let book = self.book.clone();
        blocking(move || book.before(&clock::uptime())).await.ok().flatten()
    }

    /// Remembers what was found. Returns true if it is something else than before.
    fn keep(&self, checks: Vec<CheckSeen>) -> bool {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = *found != checks;
        *found = checks;
        differs
    }

    async fn put_back(&self, why: &str) {
        warn!(why, "a change of links is put back before its time is over");
        let (book, reason) = (self.book.clone(), why.to_owned());
        let done = async {
            blocking(move || book.fail(&reason)).await?;
            put_links_back(&self.book, &clock::uptime(), true).await
        };
        match done.await {
            // Its timer has nothing left to do.
            Ok(_) => trial::disarm().await,
            Err(error) => error!(%error, "it can't be put back now; the timer does it"),
        }
    }
}

//! What the next start does: what is told of it is what stands beside the loader, whatever fails, and whoever goes away.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::Mutex as Turn;

use crate::{
    host::{
        HostError, ResetView,
        linux::{Drives, ResetWork, forget_order, keep_order},
    },
    reset::ResetOrder,
};

/// Where the mark for the next start is set and taken away.
pub(super) trait Marks: Send + Sync {
    /// Does this, and returns what is seen after it.
    fn reset(&self, work: ResetWork) -> BoxFuture<'_, Result<ResetView, HostError>>;
}

impl Marks for Drives {
    fn reset(&self, work: ResetWork) -> BoxFuture<'_, Result<ResetView, HostError>> {
        self.reset(work).boxed()
    }
}

/// What the next start does.
pub(super) struct Pending {
    marks: Arc<dyn Marks>,
    /// Where the state keeps what the machine remembers.
    state: PathBuf,
    known: Mutex<Known>,
    /// One change at a time.
    turn: Turn<()>,
}

/// What is known of it, and how often it was changed.
#[derive(Default)]
struct Known {
    order: Option<ResetOrder>,
    changes: u64,
}

impl Pending {
    pub(super) fn new(marks: Arc<dyn Marks>, state: &Path) -> Arc<Self> {
        Arc::new(Self { marks, state: state.to_owned(), known: Mutex::default(), turn: Turn::default() })
    }

    /// Returns what the next start does.
    pub(super) fn order(&self) -> Option<ResetOrder> {
        self.known().order.clone()
    }

    /// Returns how often it was changed.
    pub(super) fn changes(&self) -> u64 {
        self.known().changes
    }

    /// Takes down what was seen, if nothing was changed since this many changes.
    pub(super) fn seen(&self, order: Option<ResetOrder>, changes: u64) {
        let mut known = self.known();
        if known.changes == changes {
            known.order = order;
        }
    }

    /// Takes down what was seen when the daemon began. The state forgets an order that does not stand any more.
    pub(super) async fn begin(&self, order: Option<ResetOrder>) {
        let _turn = self.turn.lock().await;
        if self.changes() > 0 {
            return;
        }
        if order.is_none()
            && let Err(why) = self.remember(None).await
        {
            tracing::warn!(why, "the state still knows an order that stands no more");
        }
        self.seen(order, 0);
    }

    /// Has the next start do this, and tells so. Goes on when nobody waits for it any more.
    pub(super) async fn put(
        self: &Arc<Self>,
        order: ResetOrder,
        tell: impl FnOnce(&ResetOrder) + Send + 'static,
    ) -> Result<ResetOrder, String> {
        let own = Arc::clone(self);
        let put = tokio::spawn(async move {
            let put = own.mark(order).await;
            put.inspect(tell)
        });
        put.await.unwrap_or_else(|_| Err("the daemon is stopping".to_owned()))
    }

    /// Takes back what the next start does, and says whether it did something. Goes on when nobody waits for it any more.
    pub(super) async fn take(self: &Arc<Self>, tell: impl FnOnce() + Send + 'static) -> Result<bool, String> {
        let own = Arc::clone(self);
        let taken = tokio::spawn(async move {
            let _turn = own.turn.lock().await;
            let was_ordered = own.order().is_some();
            own.clear().await?;
            if was_ordered {
                tell();
            }
            Ok(was_ordered)
        });
        taken.await.unwrap_or_else(|_| Err("the daemon is stopping".to_owned()))
    }

    async fn mark(&self, order: ResetOrder) -> Result<ResetOrder, String> {
        let _turn = self.turn.lock().await;
        // Without the mark nothing comes of it, and without it nothing comes of the mark.
        self.remember(Some(order.clone())).await.map_err(|why| format!("{why}, so nothing is ordered"))?;
        // It may stand from here on, until something else is known.
        self.change(Some(order.clone()));
        let why = match self.marks.reset(ResetWork::Mark(order.clone())).await {
            Ok(view) if view.pending.as_ref() == Some(&order) => return Ok(order),
            Ok(_) => "the mark for the next start can't be read back".to_owned(),
            Err(error) => error.message,
        };
        match self.clear().await {
            Ok(()) => Err(format!("{why}, so nothing is ordered")),
            Err(also) => Err(format!(
                "{why}, and that was not taken back ({also}): the next start may reset the machine until `piccolo reset --cancel` ends well"
            )),
        }
    }

    async fn clear(&self) -> Result<(), String> {
        let forgotten = self.remember(None).await;
        let view = self.marks.reset(ResetWork::Clear).await.map_err(|error| error.message)?;
        let stands = view.pending.is_some();
        self.change(view.pending);
        if stands { Err("the mark for the next start is still there".to_owned()) } else { forgotten }
    }

    /// Has the state know this order, or none.
    async fn remember(&self, order: Option<ResetOrder>) -> Result<(), String> {
        let state = self.state.clone();
        let kept = tokio::task::spawn_blocking(move || match order {
            Some(order) => keep_order(&state, &order),
            None => forget_order(&state),
        });
        let kept = kept.await.map_err(|_| "the daemon is stopping".to_owned())?;
        kept.map_err(|error| format!("the state can't keep what is ordered ({error})"))
    }

    fn change(&self, order: Option<ResetOrder>) {
        let mut known = self.known();
        known.order = order;
        known.changes += 1;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::host::Reason;

    /// A partition beside which things fail, and which answers when it is let.
    struct Loader {
        stands: Mutex<Option<ResetOrder>>,
        mark_fails: AtomicBool,
        clear_fails: AtomicBool,
        lets: Semaphore,
        asked: Semaphore,
    }

    impl Loader {
        fn open(mark_fails: bool, clear_fails: bool) -> Arc<Self> {
            Arc::new(Self {
                stands: Mutex::default(),
                mark_fails: mark_fails.into(),
                clear_fails: clear_fails.into(),
                lets: Semaphore::new(10),
                asked: Semaphore::new(0),
            })
        }

        fn stands(&self) -> Option<ResetOrder> {
            self.stands.lock().unwrap().clone()
        }
    }

    impl Marks for Loader {
        fn reset(&self, work: ResetWork) -> BoxFuture<'_, Result<ResetView, HostError>> {
            let failed = || Err(HostError::new(Reason::Failed, "It broke"));
            async move {
                self.asked.add_permits(1);
                self.lets.acquire().await.unwrap().forget();
                match work {
                    ResetWork::Mark(order) => {
                        *self.stands.lock().unwrap() = Some(order);
                        // What is written stands, whatever comes then.
                        if self.mark_fails.load(Ordering::SeqCst) {
                            return failed();
                        }
                    }
                    ResetWork::Clear if self.clear_fails.load(Ordering::SeqCst) => return failed(),
                    ResetWork::Clear => *self.stands.lock().unwrap() = None,
                    // Nothing else is asked: a look may take long, and fail.
                    _ => return failed(),
                }
                Ok(ResetView { pending: self.stands(), ..ResetView::default() })
            }
            .boxed()
        }
    }

    fn order() -> ResetOrder {
        ResetOrder { ticket: "reset-1".to_owned(), ..ResetOrder::default() }
    }

    #[tokio::test]
    async fn what_is_told_is_what_stands() {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::open(false, false);
        let pending = Pending::new(loader.clone(), dir.path());
        assert_eq!(pending.put(order(), |_| {}).await, Ok(order()));
        assert_eq!((pending.order(), loader.stands()), (Some(order()), Some(order())));
        // What was seen before that is not true any more.
        pending.seen(None, 0);
        assert_eq!(pending.order(), Some(order()));
        assert_eq!(pending.take(|| {}).await, Ok(true));
        assert_eq!((pending.order(), loader.stands()), (None, None));
        assert_eq!(pending.take(|| panic!("nothing was taken back")).await, Ok(false));
    }

    #[tokio::test]
    async fn the_state_knows_an_order_for_as_long_as_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let knows = || std::fs::read_to_string(dir.path().join("reset-order")).ok();
        let loader = Loader::open(false, false);
        let pending = Pending::new(loader.clone(), dir.path());
        pending.put(order(), |_| {}).await.unwrap();
        assert_eq!(knows(), Some(order().digest()));
        // One that was given before the first look came to its end stays.
        pending.begin(None).await;
        assert_eq!((knows(), pending.order()), (Some(order().digest()), Some(order())));
        let next = Pending::new(loader.clone(), dir.path());
        next.begin(Some(order())).await;
        assert_eq!((knows(), next.order()), (Some(order().digest()), Some(order())));
        next.take(|| {}).await.unwrap();
        assert_eq!(knows(), None);
        // What the last reset left in the new state goes with its first start.
        keep_order(dir.path(), &order()).unwrap();
        Pending::new(loader.clone(), dir.path()).begin(None).await;
        assert_eq!(knows(), None);
        // Where the state can't know it nothing is marked.
        let nowhere = Pending::new(loader.clone(), Path::new("/dev/null"));
        assert!(nowhere.put(order(), |_| {}).await.unwrap_err().contains("so nothing is ordered"));
        assert_eq!((nowhere.order(), loader.stands()), (None, None));
    }

    #[tokio::test]
    async fn an_order_that_failed_after_it_was_written_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::open(true, false);
        let pending = Pending::new(loader.clone(), dir.path());
        let why = pending.put(order(), |_| panic!("it is not ordered")).await.unwrap_err();
        assert!(why.contains("so nothing is ordered"), "{why}");
        assert_eq!((pending.order(), loader.stands()), (None, None));
    }

    #[tokio::test]
    async fn one_that_can_t_be_taken_back_is_shown_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::open(true, true);
        let pending = Pending::new(loader.clone(), dir.path());
        let why = pending.put(order(), |_| {}).await.unwrap_err();
        assert!(why.contains("may reset the machine"), "{why}");
        assert_eq!(pending.order(), loader.stands());
        assert!(pending.take(|| {}).await.is_err() && pending.order().is_some());
        loader.clear_fails.store(false, Ordering::SeqCst);
        assert_eq!(pending.take(|| {}).await, Ok(true));
        assert_eq!((pending.order(), loader.stands()), (None, None));
    }

    #[tokio::test]
    async fn whoever_goes_away_meanwhile_leaves_what_is_told_true() {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::open(false, false);
        loader.lets.forget_permits(10);
        let pending = Pending::new(loader.clone(), dir.path());
        let (told, hears) = tokio::sync::oneshot::channel();
        let own = Arc::clone(&pending);
        let caller = tokio::spawn(async move { own.put(order(), move |_| told.send(()).unwrap()).await });
        loader.asked.acquire().await.unwrap().forget();
        caller.abort();
        assert!(caller.await.is_err());
        loader.lets.add_permits(1);
        hears.await.unwrap();
        assert_eq!((pending.order(), loader.stands()), (Some(order()), Some(order())));
    }
}

//! The loop: look, plan, apply, look again.
//!
//! One controller a kind. Everything that happens (a manifest changed, the engine spoke of something, steps ended, a
//! rest is over) only asks for the next look; what is done follows from what that look shows. The whole kind is planned
//! at once; steps of one subject run in order, different subjects side by side. A subject with steps under way is left
//! alone until they end.
//!
//! The loop itself never waits for the machine: looks and steps run as tasks, so that it always answers the watchdog.

mod backoff;
mod bells;
mod condition;
mod farewell;
mod journal;
mod looks;
mod observe;
mod pass;
mod preview;
mod registrar;
mod removal;
mod status;
mod subject;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use piccolo_schema::Mode;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::{
    bells::Bells,
    farewell::farewell,
    preview::{KindPreview, SeenPreview},
    registrar::{Registered, Registrar},
    worker::Lanes,
};
use self::{looks::Looks, subject::Subject, worker::Worked};
use crate::{
    host::{HostError, Reason},
    reconcile::Reconciler,
    store::Writer,
};

/// How long steps under way may take to end when the daemon stops; less than the unit gives it.
const FAREWELL: Duration = Duration::from_secs(25);

/// How many looks in a row may count for nothing because the manifests changed meanwhile. Whoever changes them without end
/// keeps nothing from being done.
const MOST_OUTRUN: u8 = 3;

/// What all controllers of a machine share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where status and journal are written.
    pub store: Arc<Writer>,
    /// The manifests, with their generations.
    pub registered: watch::Receiver<Arc<Registered>>,
    /// The places for steps.
    pub lanes: Arc<Lanes>,
    /// Who hears of changes.
    pub bells: Arc<Bells>,
    /// What holds for the whole machine, whatever its manifests say: one that is observed is never changed.
    pub mode: Mode,
    /// Ends all controllers.
    pub shutdown: CancellationToken,
}

/// Asks a controller whether its loop still turns.
pub type Pulse = mpsc::Sender<oneshot::Sender<()>>;

/// Keeps one kind as its manifests ask.
#[derive(Debug)]
pub struct Controller<R: Reconciler> {
    reconciler: Arc<R>,
    shared: Shared,
    ear: Arc<Notify>,
    pulse: mpsc::Receiver<oneshot::Sender<()>>,
    seen: watch::Sender<Option<Arc<R::Observed>>>,
    subjects: BTreeMap<String, Subject>,
    looks: Looks,
    /// When the look under way began.
    looking: Option<Instant>,
    /// The manifests that the look under way began with.
    sought: Arc<Registered>,
    /// How many looks in a row were older than the manifests.
    outrun: u8,
    /// The failure of looks, for its rest.
    blind: Subject,
    tasks: JoinSet<Done<R>>,
    /// The subject of each task that applies steps.
    workers: HashMap<Id, String>,
    /// The removals that were held in the last pass, so that they are journalled once.
    held: Option<String>,
}

/// What a task came back with.
#[derive(Debug)]
enum Done<R: Reconciler> {
    Looked(Result<R::Observed, HostError>),
    Worked(Worked),
}

impl<R: Reconciler> Controller<R> {
    /// Makes a controller, and the end that asks for its pulse.
    pub fn new(reconciler: Arc<R>, shared: Shared) -> (Self, Pulse) {
        let (pulse, asked) = mpsc::channel(1);
        // Until the first look nobody can say that this part works.
        shared.store.health(Self::component(), false, "nobody has looked yet");
        let controller = Self {
            reconciler,
            ear: shared.bells.listen(R::WAKES_ON),
            shared,
            pulse: asked,
            seen: watch::Sender::new(None),
            subjects: BTreeMap::new(),
            looks: Looks::new(Instant::now()),
            looking: None,
            sought: Arc::default(),
            outrun: 0,
            blind: Subject::default(),
            tasks: JoinSet::new(),
            workers: HashMap::new(),
            held: None,
        };
        (controller, pulse)
    }

    /// Returns what answers "what would you do" for other manifests, from the last look.
    pub fn preview(&self) -> SeenPreview<R> {
        SeenPreview::new(self.seen.subscribe(), self.shared.mode)
    }

    /// Turns until the shutdown, then lets steps under way end for up to 25 seconds.
    ///
    /// Dropping the future aborts looks and steps where they are; the next start sees what became of them.
    pub async fn run(mut self) {
        let shutdown = self.shared.shutdown.clone();
        while !shutdown.is_cancelled() {
            let due = self.looks.due(!self.workers.is_empty());
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                changed = self.shared.registered.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.looks.urgent(Instant::now());
                }
                () = self.reconciler.changed() => self.looks.hint(Instant::now()),
                () = self.ear.notified() => self.looks.hint(Instant::now()),
                Some(asked) = self.pulse.recv() => drop(asked.send(())),
                () = tokio::time::sleep_until(due), if self.looking.is_none() => self.look(),
            }
        }
        self.farewell().await;
    }

    /// Starts a look.
    fn look(&mut self) {
        let now = Instant::now();
        self.looks.begun(now);
        self.looking = Some(now);
        self.sought = self.shared.registered.borrow().clone();
        let reconciler = self.reconciler.clone();
        self.tasks.spawn(async move { Done::Looked(reconciler.observe().await) });
    }

    /// Takes in what a task came back with.
    fn done(&mut self, done: Result<(Id, Done<R>), JoinError>) {
        match done {
            Ok((_, Done::Looked(result))) => self.looked(result),
            Ok((id, Done::Worked(worked))) => self.worked(id, worked),
            // A task that panicked has failed; the loop goes on.
            Err(error) => {
                let failure = HostError::new(Reason::Failed, "The daemon has a defect here; its log has the details");
                if self.workers.contains_key(&error.id()) {
                    self.worked(error.id(), Worked::Failed { step: "a step".to_owned(), error: failure });
                } else {
                    self.looked(Err(failure));
                }
            }
        }
    }

    fn looked(&mut self, result: Result<R::Observed, HostError>) {
        let now = Instant::now();
        let began = self.looking.take().unwrap_or(now);
        match result {
            // What is new in the manifests may be about what it did not look at: the place of a disk.
            Ok(_) if self.outrun < MOST_OUTRUN && !Arc::ptr_eq(&self.sought, &self.shared.registered.borrow()) => {
                self.outrun += 1;
                self.looks.urgent(now);
            }
            Ok(observed) => {
                self.outrun = 0;
                self.blind.settle();
                self.pass(Arc::new(observed), began);
            }
            Err(error) => {
                debug!(kind = %Self::kind(), %error, "can't look");
                self.blind.fail("look".to_owned(), error.clone(), now);
                self.report_unseen(&error);
                self.looks.retry(self.blind.rests_until);
            }
        }
        self.looks.ended(began, Instant::now());
    }

    fn worked(&mut self, id: Id, worked: Worked) {
        let Some(name) = self.workers.remove(&id) else { return };
        let now = Instant::now();
        let subject = self.subjects.entry(name.clone()).or_default();
        subject.under_way = None;
        subject.ended = Some(now);
        match worked {
            Worked::Done => {}
            Worked::Abandoned => subject.repeated.clear(),
            Worked::Failed { step, error } => {
                journal::failed(&self.shared.store, Self::kind(), &name, subject.generation, &step, &error);
                // What is gone was seen too early: a look shows how it is, and only a second time is a failure.
                if error.reason != Reason::Gone {
                    subject.repeated.clear();
                    subject.fail(step, error, now);
                }
            }
        }
        self.shared.bells.ring(Self::kind());
        if self.workers.is_empty() {
            self.looks.urgent(now);
        } else {
            self.looks.step_ended(now);
        }
    }

    async fn farewell(mut self) {
        info!(kind = %Self::kind(), under_way = self.workers.len(), "stopping");
        let workers = &mut self.workers;
        let tasks = &mut self.tasks;
        let ended = tokio::time::timeout(FAREWELL, async {
            while !workers.is_empty() {
                match tasks.join_next_with_id().await {
                    Some(Ok((id, _))) => workers.remove(&id),
                    Some(Err(error)) => workers.remove(&error.id()),
                    None => break,
                };
            }
        });
        if ended.await.is_err() {
            warn!(kind = %Self::kind(), "steps under way are abandoned; they are planned again at the next start");
        }
        self.tasks.shutdown().await;
    }
}

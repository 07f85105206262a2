//! One pass: from what was seen to what is started.

use std::{collections::BTreeMap, sync::Arc};

use piccolo_schema::{Declared, Desired, Kind};
use tokio::time::Instant;
use tracing::info_span;

use super::{Controller, Done, journal, observe::Observed, preview, removal, status::Todo, worker};
use crate::{
    host::{HostError, Reason},
    reconcile::{Plan, Reconciler, Step, Waiting},
};

impl<R: Reconciler> Controller<R> {
    pub(super) const fn kind() -> Kind {
        R::Manifest::KIND
    }

    /// Returns the name under which the health of this kind is listed.
    pub(super) const fn component() -> &'static str {
        R::Manifest::KIND.plural()
    }

    /// Plans what was seen by a look that began at `began`, starts what may start, and reports.
    pub(super) fn pass(&mut self, observed: Arc<R::Observed>, began: Instant) {
        let _span = info_span!("pass", kind = %Self::kind()).entered();
        let registered = self.shared.registered.borrow_and_update().clone();
        let desired: Desired<R::Manifest> = registered.snapshot.desired();
        let plan = R::plan(&desired, &observed);
        let (plan, held) = removal::hold(
            Self::kind(),
            plan,
            R::owned(&observed),
            &desired.consented,
            registered.snapshot.declared.is_empty(),
        );
        let only_observed = Observed::of(self.shared.mode, &desired.manifests);
        self.publish(&plan, held.as_ref(), &only_observed, desired.complete);
        self.journal_held(held);
        for manifest in &desired.manifests {
            if let Some(declared) = registered.declared(Self::kind(), manifest.name()) {
                self.subjects.entry(manifest.name().to_owned()).or_default().meet(declared);
            }
        }
        let Plan { steps, waiting } = plan;
        let steps = by_subject(steps);
        for (name, subject) in &mut self.subjects {
            if only_observed.has(name) {
                subject.stop.cancel();
            }
            // What has no steps to do rests from nothing: it is settled, waits for others, or is only observed.
            if subject.under_way.is_none() && (!steps.contains_key(name) || only_observed.has(name)) {
                subject.settle();
            }
        }
        for (name, steps) in steps.iter().filter(|(name, _)| !only_observed.has(name)) {
            self.start(name, steps, began);
        }
        let waiting: BTreeMap<&str, &Waiting> = waiting.iter().map(|it| (it.subject.as_str(), it)).collect();
        let mut notes = R::notes(&desired.manifests, &observed).into_iter();
        for (manifest, report) in desired.manifests.iter().zip(R::report(&desired.manifests, &observed)) {
            let name = manifest.name();
            let todo = Todo {
                steps: steps.get(name).map(|steps| steps.iter().map(ToString::to_string).collect()).unwrap_or_default(),
                waiting: waiting.get(name).copied(),
                only_observed: only_observed.has(name),
            };
            self.report(name, report, &todo, &notes.next().unwrap_or_default(), &registered, began);
        }
        let declared = |name: &str| desired.manifests.binary_search_by(|it| it.name().cmp(name)).is_ok();
        self.subjects.retain(|name, it| it.under_way.is_some() || steps.contains_key(name) || declared(name));
        self.looks
            .retry(self.subjects.values().filter(|it| it.under_way.is_none()).filter_map(|it| it.rests_until).min());
        self.shared.store.passed(Self::kind());
        self.shared.store.health(Self::component(), true, "can be seen");
        self.seen.send_replace(Some(observed));
    }

    /// Starts the steps of one subject unless it rests, is busy, or was seen before its last steps ended.
    fn start(&mut self, name: &str, steps: &[R::Step], began: Instant) {
        let now = Instant::now();
        let subject = self.subjects.entry(name.to_owned()).or_default();
        if !subject.is_free(began, now) {
            // It was seen too early or rests; either way it must be looked at once more.
            if subject.under_way.is_none() && subject.rests_until.is_none_or(|until| until <= now) {
                self.looks.urgent(now);
            }
            return;
        }
        subject.rests_until = None;
        let words: Vec<String> = steps.iter().map(ToString::to_string).collect();
        if subject.repeated == words {
            let error = HostError::new(Reason::Failed, "The step succeeds, but the machine looks as before");
            subject.fail(words.first().cloned().unwrap_or_default(), error, now);
            subject.repeated.clear();
            return;
        }
        let follows = steps.iter().all(Step::is_follow_up);
        if !follows && subject.tires(words.first(), now) {
            return;
        }
        journal::planned(&self.shared.store, Self::kind(), name, subject, &words, follows);
        subject.acted = true;
        subject.said = None;
        subject.under_way = words.first().cloned();
        subject.repeated = words;
        let (store, kind, generation) = (self.shared.store.clone(), Self::kind(), subject.generation);
        let applied = move |step: &R::Step| journal::applied(&store, kind, step, generation);
        let (reconciler, lanes) = (self.reconciler.clone(), self.shared.lanes.clone());
        subject.stop = self.shared.shutdown.child_token();
        let (steps, stop) = (steps.to_vec(), subject.stop.clone());
        let task =
            self.tasks.spawn(async move { Done::Worked(worker::work(reconciler, steps, lanes, stop, applied).await) });
        self.workers.insert(task.id(), name.to_owned());
    }

    fn publish(&self, plan: &Plan<R::Step>, held: Option<&removal::Held>, observed: &Observed, complete: bool) {
        self.shared.store.plan(Self::kind(), preview::view(Self::kind(), plan, held, observed, complete));
    }

    fn journal_held(&mut self, held: Option<removal::Held>) {
        let id = held.as_ref().map(|held| held.id.clone());
        if let Some(held) = held.filter(|_| id != self.held) {
            journal::held(&self.shared.store, Self::kind(), &held);
        }
        self.held = id;
    }
}

/// Groups steps by subject; the order within a subject stays.
pub(super) fn by_subject<S: Step>(steps: Vec<S>) -> BTreeMap<String, Vec<S>> {
    let mut all: BTreeMap<String, Vec<S>> = BTreeMap::new();
    for step in steps {
        all.entry(step.subject().to_owned()).or_default().push(step);
    }
    all
}

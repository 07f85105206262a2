//! What a pass says of each subject.

use piccolo_schema::{Condition, Declared, Desired};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Controller,
    condition::{self, Outcome},
    journal, preview,
    registrar::Registered,
    subject::Subject,
};
use crate::{
    clock,
    host::HostError,
    reconcile::{Note, Reconciler, Report, Waiting},
};

/// What the plan has for one subject.
#[derive(Debug)]
pub(super) struct Todo<'a> {
    /// The steps in words, in order.
    pub(super) steps: Vec<String>,
    /// What it waits for.
    pub(super) waiting: Option<&'a Waiting>,
    /// Whether the steps are said and not done.
    pub(super) only_observed: bool,
}

impl Todo<'_> {
    const fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }
}

impl<R: Reconciler> Controller<R> {
    /// Reports one subject. `todo` is what the plan has for it, from a look that began at `began`.
    pub(super) fn report(
        &mut self,
        name: &str,
        report: Report,
        todo: &Todo<'_>,
        notes: &[Note],
        registered: &Registered,
        began: Instant,
    ) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if subject.conditions.is_empty() {
            subject.remember(self.shared.store.status(Self::kind(), name));
        }
        let generation = subject.generation;
        let seen_in_time = subject.ended.is_none_or(|ended| ended <= began);
        let settled = todo.is_empty() && subject.under_way.is_none() && seen_in_time;
        if settled {
            subject.settle();
        }
        let now = clock::now_text();
        let outcome = if settled { Outcome::Settled(&report) } else { unsettled(subject, todo) };
        let (waits, observed) = (matches!(outcome, Outcome::Waiting(_)), matches!(outcome, Outcome::Observed(_)));
        let ready = condition::ready(&outcome, generation, subject.condition("Ready"), &now);
        let store = &self.shared.store;
        match todo.waiting.filter(|_| waits) {
            Some(waiting) => journal::waiting(store, Self::kind(), name, subject, waiting),
            None if settled => journal::settled(store, Self::kind(), name, subject, &ready),
            None if observed => journal::observed(store, Self::kind(), name, subject, &ready),
            None => {}
        }
        let stale = registered.stale(Self::kind(), name);
        let stale = stale.as_ref().map(|(reason, message)| (*reason, message.as_str()));
        let accepted = condition::accepted(stale, generation, subject.condition("Accepted"), &now);
        let notes = notes.iter().map(|note| condition::note(note, generation, subject.condition(note.name), &now));
        subject.conditions = [ready, accepted].into_iter().chain(notes.collect::<Vec<_>>()).collect();
        let status = status(report.fields, generation, &subject.conditions);
        self.shared.store.report(Self::kind(), name, status);
    }

    /// Reports that nothing of this kind can be seen: what was known of it is no more than a memory, so it is not repeated.
    pub(super) fn report_unseen(&mut self, error: &HostError) {
        let registered = self.shared.registered.borrow_and_update().clone();
        let desired: Desired<R::Manifest> = registered.snapshot.desired();
        let now = clock::now_text();
        for manifest in &desired.manifests {
            let name = manifest.name();
            let subject = self.subjects.entry(name.to_owned()).or_default();
            if let Some(declared) = registered.declared(Self::kind(), name) {
                subject.meet(declared);
            }
            if subject.conditions.is_empty() {
                subject.remember(self.shared.store.status(Self::kind(), name));
            }
            let generation = subject.generation;
            let ready = condition::ready(&Outcome::Unseen(error), generation, subject.condition("Ready"), &now);
            subject.conditions.retain(|condition| condition.r#type != "Ready");
            subject.conditions.insert(0, ready);
            let status = status(json!({}), generation, &subject.conditions);
            self.shared.store.report(Self::kind(), name, status);
        }
        self.shared.store.plan(Self::kind(), preview::unseen(Self::kind(), &error.message));
        self.shared.store.health(Self::component(), false, error.message.clone());
    }
}

/// Says what keeps a subject from being settled: its last failure first, then its work, then what it waits for.
fn unsettled<'a>(subject: &'a Subject, todo: &'a Todo<'_>) -> Outcome<'a> {
    let failure = subject.failure.as_ref().filter(|_| !todo.steps.is_empty());
    match (failure, &subject.under_way, todo.waiting, todo.steps.first()) {
        (Some((step, error)), ..) => Outcome::Failed { step, error, failures: subject.backoff.failures() },
        (None, Some(step), ..) => Outcome::Working(step),
        (None, None, _, Some(_)) if todo.only_observed => Outcome::Observed(&todo.steps),
        (None, None, Some(waiting), _) => Outcome::Waiting(waiting),
        (None, None, None, Some(step)) => Outcome::Working(step),
        (None, None, None, None) => Outcome::Working("another look"),
    }
}

fn status(mut fields: Value, generation: i64, conditions: &[Condition]) -> Value {
    if let Some(map) = fields.as_object_mut() {
        map.insert("observedGeneration".to_owned(), json!(generation));
        map.insert("conditions".to_owned(), json!(conditions));
    }
    fields
}

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

impl<R: Reconciler> Controller<R> {
    #[expect(clippy::too_many_arguments, reason = "all that a pass knows of a subject")]
    /// Reports one subject. `todo` are the steps that the plan has for it, from a look that began at `began`.
    pub(super) fn report(
        &mut self,
        name: &str,
        report: Report,
        todo: Option<&[R::Step]>,
        waiting: Option<&Waiting>,
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
        let first = todo.and_then(<[_]>::first).map(ToString::to_string);
        let settled = todo.is_none() && waiting.is_none() && subject.under_way.is_none() && seen_in_time;
        if settled {
            subject.settle();
        }
        let now = clock::now_text();
        let outcome = if settled { Outcome::Settled(&report) } else { unsettled(subject, waiting, first) };
        let waits = matches!(outcome, Outcome::Waiting(_));
        let ready = condition::ready(&outcome, generation, subject.condition("Ready"), &now);
        match waiting.filter(|_| waits) {
            Some(waiting) => journal::waiting(&self.shared.store, Self::kind(), name, subject, waiting),
            None if settled => journal::settled(&self.shared.store, Self::kind(), name, subject, &ready),
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
fn unsettled<'a>(subject: &'a Subject, waiting: Option<&'a Waiting>, first: Option<String>) -> Outcome<'a> {
    let failure = subject.failure.as_ref().filter(|_| first.is_some());
    match (failure, &subject.under_way, waiting, first) {
        (Some((step, error)), ..) => Outcome::Failed { step, error, failures: subject.backoff.failures() },
        (None, Some(step), ..) => Outcome::Working(step.clone()),
        (None, None, Some(waiting), _) => Outcome::Waiting(waiting),
        (None, None, None, Some(step)) => Outcome::Working(step),
        (None, None, None, None) => Outcome::Working("another look".to_owned()),
    }
}

fn status(mut fields: Value, generation: i64, conditions: &[Condition]) -> Value {
    if let Some(map) = fields.as_object_mut() {
        map.insert("observedGeneration".to_owned(), json!(generation));
        map.insert("conditions".to_owned(), json!(conditions));
    }
    fields
}

//! What a controller would do, in words: for people, and for manifests that are not there yet.

use std::sync::Arc;

use piccolo_schema::{Declared, Kind, Mode};
use tokio::sync::watch;

use super::{
    observe::Observed,
    removal::{self, Held},
};
use crate::{
    manifests::Snapshot,
    reconcile::{Plan, Reconciler, Step},
    store::{HeldView, PlanView, StepView, WaitingView},
};

/// Answers "what would you do" for one kind.
pub trait KindPreview: Send + Sync {
    /// Plans other manifests against what was seen last.
    fn plan(&self, snapshot: &Snapshot) -> PlanView;
}

/// A preview from the last look of a controller.
#[derive(Debug)]
pub struct SeenPreview<R: Reconciler> {
    seen: watch::Receiver<Option<Arc<R::Observed>>>,
    mode: Mode,
}

impl<R: Reconciler> SeenPreview<R> {
    pub(super) const fn new(seen: watch::Receiver<Option<Arc<R::Observed>>>, mode: Mode) -> Self {
        Self { seen, mode }
    }
}

impl<R: Reconciler> KindPreview for SeenPreview<R> {
    fn plan(&self, snapshot: &Snapshot) -> PlanView {
        let kind = R::Manifest::KIND;
        let Some(observed) = self.seen.borrow().clone() else {
            return unseen(kind, "the machine was not looked at yet");
        };
        let desired = snapshot.desired::<R::Manifest>();
        let plan = R::plan(&desired, &observed);
        let (plan, held) =
            removal::hold(kind, plan, R::owned(&observed), &desired.consented, snapshot.declared.is_empty());
        let only_observed = Observed::of(self.mode, &desired.manifests);
        view(kind, &plan, held.as_ref(), &only_observed, desired.complete)
    }
}

/// Says that nobody knows what is to be done, and why.
pub(super) fn unseen(kind: Kind, why: &str) -> PlanView {
    let unseen = Some(why.to_owned());
    PlanView { kind, complete: false, unseen, steps: Vec::new(), waiting: Vec::new(), held: None }
}

/// Says a plan in words.
pub(super) fn view<S: Step>(
    kind: Kind,
    plan: &Plan<S>,
    held: Option<&Held>,
    only_observed: &Observed,
    complete: bool,
) -> PlanView {
    let step = |step: &S| StepView {
        subject: step.subject().to_owned(),
        text: step.to_string(),
        disruption: step.disruption().to_string(),
        removal: step.is_removal(),
        loses: step.loses().map(str::to_owned),
        observed: only_observed.has(step.subject()),
        trial: step.begins_trial(),
    };
    let waiting = plan.waiting.iter().map(|it| WaitingView {
        subject: it.subject.clone(),
        reason: it.reason.clone(),
        message: it.message.clone(),
    });
    PlanView {
        kind,
        complete,
        unseen: None,
        steps: plan.steps.iter().map(step).collect(),
        waiting: waiting.collect(),
        held: held.map(|held| HeldView { id: held.id.clone(), names: held.names.clone() }),
    }
}

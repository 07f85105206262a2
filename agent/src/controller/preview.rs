//! What a controller would do, in words: for people, and for manifests that are not there yet.

use std::sync::Arc;

use piccolo_schema::{Declared, Kind};
use tokio::sync::watch;

use super::removal::{self, Held};
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
pub struct SeenPreview<R: Reconciler>(watch::Receiver<Option<Arc<R::Observed>>>);

impl<R: Reconciler> SeenPreview<R> {
    pub(super) const fn new(seen: watch::Receiver<Option<Arc<R::Observed>>>) -> Self {
        Self(seen)
    }
}

impl<R: Reconciler> KindPreview for SeenPreview<R> {
    fn plan(&self, snapshot: &Snapshot) -> PlanView {
        let kind = R::Manifest::KIND;
        let Some(observed) = self.0.borrow().clone() else {
            return unseen(kind, "the machine was not looked at yet");
        };
        let desired = snapshot.desired::<R::Manifest>();
        let plan = R::plan(&desired, &observed);
        let (plan, held) =
            removal::hold(kind, plan, R::owned(&observed), &desired.consented, snapshot.declared.is_empty());
        view(kind, &plan, held.as_ref(), desired.complete)
    }
}

/// Says that nobody knows what is to be done, and why.
pub(super) fn unseen(kind: Kind, why: &str) -> PlanView {
    let unseen = Some(why.to_owned());
    PlanView { kind, complete: false, unseen, steps: Vec::new(), waiting: Vec::new(), held: None }
}

/// Says a plan in words.
pub(super) fn view<S: Step>(kind: Kind, plan: &Plan<S>, held: Option<&Held>, complete: bool) -> PlanView {
    let step = |step: &S| StepView {
        subject: step.subject().to_owned(),
        text: step.to_string(),
        disruption: step.disruption().to_string(),
        removal: step.is_removal(),
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

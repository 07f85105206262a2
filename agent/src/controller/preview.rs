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
    /// Plans other manifests against what was seen last; `None` before the first look.
    fn plan(&self, snapshot: &Snapshot) -> Option<PlanView>;
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
    fn plan(&self, snapshot: &Snapshot) -> Option<PlanView> {
        let observed = self.0.borrow().clone()?;
        let desired = snapshot.desired::<R::Manifest>();
        let plan = R::plan(&desired, &observed);
        let kind = R::Manifest::KIND;
        let (plan, held) = removal::hold(kind, plan, R::owned(&observed), &desired.consented);
        Some(view(kind, &plan, held.as_ref(), desired.complete))
    }
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
        steps: plan.steps.iter().map(step).collect(),
        waiting: waiting.collect(),
        held: held.map(|held| HeldView { id: held.id.clone(), names: held.names.clone() }),
    }
}

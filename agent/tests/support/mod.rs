//! A tiny synchronous driver: what the controller does, without tasks or clocks.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses a part of it")]

pub mod disks;
pub mod golden;
pub mod links;
pub mod scenes;

use std::{collections::BTreeSet, sync::Arc};

use futures_util::FutureExt;
use piccolo_agent::{
    host::fake::FakeEngine,
    reconcile::{Plan, Reconciler, Step, container::Containers},
};
use piccolo_schema::Desired;
use proptest::test_runner::Config as ProptestConfig;

/// Returns how a property is tried: on so many cases as a rule, on as many times more as `PICCOLO_MORE_CASES` says for whoever
/// hunts for what is rare.
pub fn cases(usual: u32) -> ProptestConfig {
    let times = std::env::var("PICCOLO_MORE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    ProptestConfig { cases: usual.saturating_mul(times), failure_persistence: None, ..ProptestConfig::default() }
}

/// Returns a reconciler of containers that has just been started on this machine.
pub fn containers(engine: &Arc<FakeEngine>) -> Containers<FakeEngine> {
    Containers(Arc::clone(engine), Arc::clone(engine), Arc::clone(engine))
}

/// Looks and plans. `None` when the look failed or never came back.
pub fn plan<R: Reconciler>(reconciler: &R, desired: &Desired<R::Manifest>) -> Option<Plan<R::Step>> {
    let observed = reconciler.observe().now_or_never()?.ok()?;
    Some(R::plan(desired, &observed))
}

/// Applies a plan. A subject whose step failed is left alone until the next pass; a step that never answers is dropped.
pub fn apply<R: Reconciler>(reconciler: &R, steps: &[R::Step]) {
    let mut failed = BTreeSet::new();
    for step in steps {
        if !failed.contains(step.subject()) && !matches!(reconciler.apply(step).now_or_never(), Some(Ok(()))) {
            failed.insert(step.subject().to_owned());
        }
    }
}

/// One pass: look, plan, apply. Returns true if there was nothing to do.
pub fn pass<R: Reconciler>(reconciler: &R, desired: &Desired<R::Manifest>) -> bool {
    let Some(plan) = plan(reconciler, desired) else { return false };
    apply(reconciler, &plan.steps);
    plan.steps.is_empty()
}

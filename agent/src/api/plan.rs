//! The plan as it is, and as it would be.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Json,
    extract::State as Extract,
    response::{IntoResponse, Response},
};
use piccolo_schema::{API_VERSION, Kind, Manifest};
use serde::Serialize;
use serde_json::{Value, json};

use super::{State, fault, trial};
use crate::{
    clock,
    manifests::{Declaration, Identity, Problem, Snapshot},
    store::PlanView,
};

/// Answers with the latest plan of every kind, the files that can't be used, the change on trial, the reset that is
/// ordered, and what is to be done about the keys of the system's own disk.
pub(super) async fn show(Extract(state): Extract<State>) -> Json<Value> {
    let plans = state.store.plans();
    let in_order: Vec<_> = Kind::ALL.iter().filter_map(|kind| plans.get(kind)).map(AsRef::as_ref).collect();
    let mut document = document(&in_order, &state.manifests.snapshot());
    if let Some(pending) = state.manifests.trial() {
        document["trial"] = trial::show(&pending);
    }
    if let Some(order) = state.resetter.pending() {
        document["reset"] = json!({ "ordered": clock::text(order.ordered), "text": order.words() });
    }
    if let Some(keys) = state.trust.state().filter(|it| !it.notes.is_empty()) {
        document["state"] = json!(keys.notes);
    }
    Json(document)
}

/// Answers with the files that can't be used.
pub(super) async fn problems(Extract(state): Extract<State>) -> Json<Value> {
    let problems = all_problems(&state.manifests.snapshot());
    Json(json!({ "apiVersion": API_VERSION, "kind": "ProblemList", "items": problems }))
}

/// Returns what the directory would say with this manifest in it.
pub(super) fn with(now: &Snapshot, manifest: Manifest) -> Snapshot {
    let mut snapshot = now.clone();
    let identity = (manifest.kind(), manifest.name().to_owned());
    if snapshot.declared.get(&identity).is_some_and(|it| *it.manifest == manifest) {
        return snapshot;
    }
    let path = PathBuf::from(format!("{}/{}.toml", identity.0.plural(), identity.1));
    let declaration =
        Declaration { manifest: Arc::new(manifest), path, text: Arc::default(), etag: String::new(), stale: None };
    snapshot.declared.insert(identity, declaration);
    snapshot
}

/// Returns what the directory would say without this manifest.
pub(super) fn without(now: &Snapshot, identity: Identity) -> Snapshot {
    let mut snapshot = now.clone();
    snapshot.declared.remove(&identity);
    // Whoever removes it by name has confirmed it.
    snapshot.consented.insert(identity);
    snapshot
}

/// Answers with the plan that these manifests would lead to.
pub(super) fn preview(state: &State, snapshot: &Snapshot) -> Response {
    Json(document(&state.preview.plan(snapshot), snapshot)).into_response()
}

/// Renders plans and the files that can't be used.
pub(super) fn document<P: std::borrow::Borrow<PlanView> + Serialize>(plans: &[P], snapshot: &Snapshot) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": "Plan", "plans": plans, "problems": all_problems(snapshot) })
}

fn all_problems(snapshot: &Snapshot) -> Vec<Value> {
    let stale = snapshot.declared.values().filter_map(|declaration| declaration.stale.as_ref());
    let hidden = stale.filter(|stale| !snapshot.problems.contains(stale));
    snapshot.problems.iter().chain(hidden).map(problem).collect()
}

fn problem(it: &Problem) -> Value {
    let errors: Value = it.diagnostics.iter().map(fault::diagnostic).collect();
    json!({
        "path": it.path.display().to_string(), "kind": it.kind, "name": it.name, "reason": it.reason,
        "message": it.message, "errors": errors,
    })
}

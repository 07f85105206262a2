//! Changes that are put back unless they are confirmed.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::State;
use crate::{
    clock,
    manifests::{Manifests, Snapshot, Trial},
    store::PlanView,
};

/// The header that names the change on trial.
const TRIAL: HeaderName = HeaderName::from_static("piccolo-trial");

/// The header that names the Links whose change is put back unless somebody confirms it over the network.
const LINKS: HeaderName = HeaderName::from_static("piccolo-links-on-trial");

/// Returns the Links that a change of the manifests puts on trial.
pub(super) fn links(state: &State, after: &Snapshot) -> Vec<String> {
    let plans = state.preview.plan(after);
    plans.iter().filter(|plan| plan.kind == Kind::Link).flat_map(PlanView::tried).map(str::to_owned).collect()
}

/// Names Links that are put on trial in the answer to the write that does so.
pub(super) fn with_links(mut response: Response, links: &[String]) -> Response {
    if let Some(names) = HeaderValue::try_from(links.join(",")).ok().filter(|_| !links.is_empty()) {
        response.headers_mut().insert(LINKS, names);
    }
    response
}

/// Returns the directory, to be written on trial if that is asked for.
pub(super) fn writer(state: &State, within: Option<Duration>) -> Manifests {
    within.map_or_else(|| state.manifests.clone(), |within| state.manifests.on_trial(within))
}

/// Names the change on trial in the answer to a write that asked for it. One that changed nothing is none.
pub(super) fn named(mut response: Response, state: &State, within: Option<Duration>) -> Response {
    let trial = within.and_then(|_| state.manifests.trial());
    if let Some(id) = trial.and_then(|trial| HeaderValue::try_from(&trial.id).ok()) {
        response.headers_mut().insert(TRIAL, id);
    }
    response
}

/// Shows a change on trial.
pub(super) fn show(trial: &Trial) -> Value {
    let files: Vec<_> = trial.paths().map(|path| path.display().to_string()).collect();
    json!({
        "id": trial.id, "until": clock::text(trial.until), "secondsLeft": trial.time_left().as_secs(), "files": files,
    })
}

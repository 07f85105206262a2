//! Changes that are put back unless they are confirmed.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use serde_json::{Value, json};

use super::State;
use crate::{
    clock,
    manifests::{Manifests, Trial},
};

/// The header that names the change on trial.
const TRIAL: HeaderName = HeaderName::from_static("piccolo-trial");

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

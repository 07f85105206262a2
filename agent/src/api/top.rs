//! What containers use.

use std::time::Duration;

use axum::{Json, extract::State as Extract};
use futures_util::{StreamExt, stream};
use piccolo_schema::Kind;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::State;
use crate::console::Usage;

/// Questions of one request to the engine, side by side.
const QUESTIONS: usize = 8;
/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn show(Extract(state): Extract<State>) -> Json<Value> {
    let items = usages(&state).await.into_iter().map(|(name, usage)| match usage {
        Ok(usage) => json!({ "kind": Kind::Container, "name": name, "usage": usage }),
        Err(error) => json!({ "kind": Kind::Container, "name": name, "error": error }),
    });
    Json(json!({ "items": items.collect::<Vec<_>>() }))
}

/// Counts what every running container uses, in the order of their names. An error is a sentence for people.
pub(super) async fn usages(state: &State) -> Vec<(String, Result<Usage, String>)> {
    let deadline = Instant::now() + PATIENCE;
    let questions = running(state).into_iter().map(|(name, id)| async move {
        let answer = timeout_at(deadline, state.gauges.usage(&id)).await;
        (name, answer.unwrap_or_else(|_| Err("the engine did not answer in time".to_owned())))
    });
    stream::iter(questions).buffered(QUESTIONS).collect().await
}

/// Returns names and identifiers of containers that run.
fn running(state: &State) -> Vec<(String, String)> {
    let (_, objects) = state.store.list(Kind::Container);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let running = objects.iter().filter(|it| it["status"]["state"] == "running");
    running.filter_map(|it| Some((text(&it["metadata"]["name"])?, text(&it["status"]["containerId"])?))).collect()
}

//! The changes of a kind as a stream.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use axum::{http::StatusCode, response::Response};
use futures_util::{Stream, stream};
use piccolo_schema::Kind;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    State,
    fault::Fault,
    params::Params,
    selector::Selection,
    stream::{self as lines, Ending},
    table,
};
use crate::store::{Change, ChangeType};

/// How long a watch lasts that does not say so itself.
const LASTS: u64 = 30 * 60;
/// How long a watch may last.
const LONGEST: u64 = 24 * 60 * 60;

/// Answers with the changes after the version that the client names; with everything there is when it names none.
pub(super) fn watch(
    state: &State,
    kind: Kind,
    selection: Selection,
    as_table: bool,
    params: &Params,
    ending: Ending,
) -> Result<Response, Fault> {
    if params.flag("sendInitialEvents")? {
        let detail = "sendInitialEvents is not offered";
        return Err(Fault::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", detail).help("list, then watch from there"));
    }
    let lasts = params.number("timeoutSeconds")?.unwrap_or(LASTS).min(LONGEST);
    let from = params.number("resourceVersion")?.unwrap_or(0);
    let (version, mut objects) = state.store.list(kind);
    let (missed, receiver) = state.store.since(if from == 0 { version } else { from }).ok_or_else(Fault::expired)?;
    objects.retain(|object| selection.takes(object));
    let mut known: BTreeSet<_> =
        objects.iter().filter_map(|it| it["metadata"]["name"].as_str().map(str::to_owned)).collect();
    let mut pending = VecDeque::new();
    if from > 0 {
        known.extend(missed.iter().filter(|change| change.kind == kind).map(|change| change.name.clone()));
    }
    let mut view = View { kind, selection, as_table, params: params.clone(), known };
    if from == 0 {
        pending.extend(objects.iter().map(|object| view.document(ChangeType::Added, object)));
    }
    pending.extend(missed.iter().filter_map(|change| view.show(change)));
    let time = Some(Duration::from_secs(lasts));
    Ok(lines::lines(documents(Watch { view, pending, receiver: Some(receiver) }), "application/json", time, ending))
}

struct Watch {
    view: View,
    pending: VecDeque<Value>,
    /// None once the client has missed something.
    receiver: Option<Receiver<Change>>,
}

/// What one client sees of the changes.
struct View {
    kind: Kind,
    selection: Selection,
    as_table: bool,
    params: Params,
    /// The objects that the client may hold.
    known: BTreeSet<String>,
}

fn documents(watch: Watch) -> impl Stream<Item = Value> + Send {
    stream::unfold(watch, async |mut watch| {
        loop {
            if let Some(document) = watch.pending.pop_front() {
                return Some((document, watch));
            }
            match watch.receiver.as_mut()?.recv().await {
                Ok(change) => watch.pending.extend(watch.view.show(&change)),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => {
                    watch.receiver = None;
                    return Some((json!({ "type": "ERROR", "object": Fault::expired().kubernetes() }), watch));
                }
            }
        }
    })
}

impl View {
    fn show(&mut self, change: &Change) -> Option<Value> {
        if change.kind != self.kind {
            return None;
        }
        let chosen = self.selection.takes(&change.object);
        if change.r#type == ChangeType::Deleted || !chosen {
            // What does not match any more is gone for this client.
            return self.known.remove(&change.name).then(|| self.document(ChangeType::Deleted, &change.object));
        }
        let new = self.known.insert(change.name.clone());
        Some(self.document(if new { ChangeType::Added } else { change.r#type }, &change.object))
    }

    fn document(&self, r#type: ChangeType, object: &Value) -> Value {
        if !self.as_table {
            return json!({ "type": r#type, "object": object });
        }
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        json!({ "type": r#type, "object": table::table(self.kind, &[object], version, &self.params) })
    }
}

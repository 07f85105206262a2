//! The journal as events of the Kubernetes API, for `kubectl describe` and `kubectl get events`.

use axum::{Json, extract::State as Extract, http::StatusCode};
use piccolo_schema::API_VERSION;
use serde_json::{Value, json};

use super::{State, fault::Fault, params::Params, selector::Selection};
use crate::store::{Event, EventQuery, Severity};

/// The fields that events can be selected by.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.uid",
    "reason",
    "type",
];

pub(super) async fn list(Extract(state): Extract<State>, params: Params) -> Result<Json<Value>, Fault> {
    if params.flag("watch")? {
        return Err(Fault::of_status(StatusCode::METHOD_NOT_ALLOWED).help("follow /journal?follow=true instead"));
    }
    let selection = Selection::read(&params, FIELDS)?;
    let events = state.store.events(&EventQuery { limit: EventQuery::MAX, ..EventQuery::default() });
    let items = events.iter().map(|event| kubernetes(&state, event)).filter(|event| selection.takes(event));
    let version = state.store.counters().resource_version.to_string();
    Ok(Json(json!({
        "kind": "EventList", "apiVersion": "v1", "metadata": { "resourceVersion": version },
        "items": items.collect::<Vec<_>>(),
    })))
}

fn kubernetes(state: &State, event: &Event) -> Value {
    let severity = match event.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    let object = event.kind.zip(event.name.as_deref()).and_then(|(kind, name)| state.store.get(kind, name));
    json!({
        "kind": "Event", "apiVersion": "v1",
        "metadata": {
            "name": format!("piccolo.{}", event.id), "creationTimestamp": event.time,
            "resourceVersion": event.id.to_string(),
        },
        "involvedObject": {
            "apiVersion": API_VERSION, "kind": event.kind, "name": event.name,
            "uid": object.as_ref().map(|object| &object["metadata"]["uid"]),
        },
        "type": severity, "reason": event.reason, "message": event.message, "count": 1,
        "source": { "component": "piccolod" }, "firstTimestamp": event.time, "lastTimestamp": event.time,
    })
}

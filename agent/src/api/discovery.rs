//! What a Kubernetes client asks before anything else: which groups, versions and kinds there are.

use axum::{
    Extension, Json, Router,
    extract::State as Extract,
    http::StatusCode,
    routing::{get, post},
};
use piccolo_schema::{API_VERSION, GROUP, Kind, Role, VERSION};
use serde_json::{Value, json};

use super::{BASE, State, kinds};
use crate::access::Caller;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/version", get(version))
        .route("/api", get(async || Json(json!({ "kind": "APIVersions", "versions": ["v1"] }))))
        .route("/api/v1", get(core_resources))
        .route("/apis", get(groups))
        .route("/apis/piccolo.os", get(async || Json(group())))
        .route(BASE, get(resources))
        .route(REVIEWS, post(access_review))
}

async fn version(Extract(state): Extract<State>) -> Json<Value> {
    // Clients compare these two numbers with their own: they name the version of the Kubernetes API that is spoken.
    Json(json!({
        "major": "1", "minor": "32", "gitVersion": "v1.32.0+piccolo", "piccoloVersion": state.version, "mode": state.mode,
        "listen": state.plate.listen,
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

/// Clients take an empty list here for a broken server, and ask for events anyway.
async fn core_resources() -> Json<Value> {
    Json(json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [{
        "name": "events", "singularName": "event", "namespaced": true, "kind": "Event", "shortNames": ["ev"],
        "verbs": ["list"],
    }] }))
}

fn group() -> Value {
    let version = json!({ "groupVersion": API_VERSION, "version": VERSION });
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version })
}

async fn groups() -> Json<Value> {
    Json(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group()] }))
}

async fn resources() -> Json<Value> {
    let all: Vec<_> = Kind::ALL.iter().flat_map(|kind| [resource(*kind), status_resource(*kind)]).collect();
    Json(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": all }))
}

fn resource(kind: Kind) -> Value {
    let names = kinds::names(kind);
    json!({
        "name": kind.plural(), "singularName": kind.singular(), "namespaced": false, "kind": kind.as_str(),
        "shortNames": names["shortNames"], "categories": names["categories"],
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    })
}

fn status_resource(kind: Kind) -> Value {
    json!({
        "name": format!("{}/status", kind.plural()), "singularName": "", "namespaced": false, "kind": kind.as_str(),
        "verbs": ["get"],
    })
}

/// Answers `kubectl auth can-i`: operators may do whatever Kubernetes clients ask for. The question is not read, as kubectl
/// asks it in protobuf.
async fn access_review(Extension(caller): Extension<Caller>) -> (StatusCode, Json<Value>) {
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": { "allowed": caller.role >= Role::Operator },
    });
    (StatusCode::CREATED, Json(review))
}

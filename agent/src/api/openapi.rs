//! The description of the API for programs, made from the kinds' definitions.

use axum::{Json, Router, extract::State as Extract, http::header, response::IntoResponse, routing::get};
use piccolo_schema::{API_VERSION, GROUP, Kind, VERSION};
use serde_json::{Map, Value, json};

use super::{BASE, PATHS, State, kinds};

/// An OpenAPI v2 document that says nothing, as protobuf: kubectl before 1.27 wants one before it applies anything, and
/// reads nothing from it.
const EMPTY_V2: &[u8] = b"\x0a\x032.0\x12\x0f\x0a\x07Piccolo\x12\x041.32\x42\x00";

const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const FORCED: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const LIST: &[&str] = &["watch", "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds"];

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/openapi.json", get(whole))
        .route("/openapi/v2", get(async || ([(header::CONTENT_TYPE, "application/octet-stream")], EMPTY_V2)))
        .route("/openapi/v3", get(index))
        .route("/openapi/v3/apis/piccolo.os/v1alpha1", get(async || Json(document(&kind_paths(), VERSION))))
}

async fn index(Extract(state): Extract<State>) -> impl IntoResponse {
    let url = format!("/openapi/v3{BASE}?hash={}", state.version);
    Json(json!({ "paths": { format!("apis/{API_VERSION}"): { "serverRelativeURL": url } } }))
}

async fn whole(Extract(state): Extract<State>) -> Json<Value> {
    let mut paths = kind_paths();
    for path in PATHS.iter().filter(|path| !["/adopt", "/confirm", "/update"].contains(path)) {
        paths.insert((*path).to_owned(), json!({ "get": { "responses": { "200": { "description": "OK" } } } }));
    }
    paths.insert("/adopt".to_owned(), consent("Takes over a container that runs.", &["container"]));
    paths.insert("/confirm".to_owned(), consent("Confirms removals that are held.", &["id"]));
    paths.insert("/update".to_owned(), consent("Approves the update of a container.", &["container", "digest"]));
    Json(document(&paths, state.version))
}

/// Describes a request that holds these texts.
fn consent(summary: &str, fields: &[&str]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|field| ((*field).to_owned(), json!({ "type": "string" }))).collect();
    let body = json!({ "type": "object", "required": fields, "properties": properties });
    json!({ "post": {
        "summary": summary,
        "requestBody": { "content": { "application/json": { "schema": body } } },
        "responses": { "200": { "description": "Done" } },
    } })
}

fn document(paths: &Map<String, Value>, version: &str) -> Value {
    let mut schemas: Map<_, _> = Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), model(*kind))).collect();
    schemas.insert("ObjectMeta".to_owned(), metadata());
    json!({
        "openapi": "3.0.0", "info": { "title": "Piccolo", "version": version }, "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn model(kind: Kind) -> Value {
    let mut model = kinds::schema(kind).clone();
    let properties = &mut model["properties"];
    properties["apiVersion"] = json!({ "type": "string", "description": format!("`{API_VERSION}`.") });
    properties["kind"] = json!({ "type": "string", "description": format!("`{kind}`.") });
    properties["metadata"] = json!({
        "allOf": [{ "$ref": "#/components/schemas/ObjectMeta" }], "default": {}, "description": "The name and labels.",
    });
    model["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    model
}

fn metadata() -> Value {
    let words = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    json!({
        "type": "object", "description": "The name and labels.",
        "properties": { "name": { "type": "string" }, "labels": words, "annotations": words },
    })
}

fn kind_paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for kind in Kind::ALL.iter().copied() {
        let all = json!({ "get": operation(kind, "list", LIST), "post": operation(kind, "post", WRITE) });
        let one = json!({
            "get": operation(kind, "get", &[]), "put": operation(kind, "put", WRITE),
            "patch": operation(kind, "patch", FORCED), "delete": operation(kind, "delete", &["dryRun"]),
            "parameters": [{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }],
        });
        paths.insert(format!("{BASE}/{}", kind.plural()), all);
        paths.insert(format!("{BASE}/{}/{{name}}", kind.plural()), one);
    }
    paths
}

fn operation(kind: Kind, action: &str, parameters: &[&str]) -> Value {
    let parameter = |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    let schema = json!({ "$ref": format!("#/components/schemas/{kind}") });
    json!({
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind),
        "parameters": parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": { "200": { "description": "OK", "content": { "application/json": { "schema": schema } } } },
    })
}

fn gvk(kind: Kind) -> Value {
    json!({ "group": GROUP, "version": VERSION, "kind": kind.as_str() })
}

//! The description of the API for programs, made from the kinds' definitions.

mod asks;

use axum::{Json, Router, extract::State as Extract, http::header, response::IntoResponse, routing::get};
use piccolo_schema::{API_VERSION, GROUP, Kind, VERSION};
use serde_json::{Map, Value, json};

use super::{
    BASE, State, kinds,
    operations::{Needs, TABLE},
    proof,
};

/// An OpenAPI v2 document that says nothing, as protobuf: kubectl before 1.27 wants one before it applies anything, and
/// reads nothing from it.
const EMPTY_V2: &[u8] = b"\x0a\x032.0\x12\x0f\x0a\x07Piccolo\x12\x041.32\x42\x00";

/// The name of the way in which programs prove themselves.
const TOKEN: &str = "token";
/// The names of the two halves in which a browser does.
const COOKIE: &str = "cookie";
const KEY: &str = "key";
/// What stands for a kind in a path.
const PLURAL: &str = "{plural}";

const WRITE: &[&str] = &["confirmWithin", "dryRun", "fieldManager", "fieldValidation"];
const FORCED: &[&str] = &["confirmWithin", "dryRun", "fieldManager", "fieldValidation", "force"];
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
    paths.insert("/adopt".to_owned(), consent("Takes over a container that runs.", &["container"]));
    paths.insert("/images/import".to_owned(), upload("Takes in the images of an archive, or one of them `as` a name."));
    paths.insert("/confirm".to_owned(), consent("Confirms removals that are held, or a change on trial.", &["id"]));
    paths.insert("/update".to_owned(), consent("Approves the update of a container.", &["container", "digest"]));
    paths.insert("/trust/quote".to_owned(), quote());
    paths.insert(
        "/trust/disks/reseal".to_owned(),
        consent("Binds the slots of a disk to this start.", &["disk", "key"]),
    );
    let bind = "Binds the slots of the TPM to this start, for the `disk` of a manifest or the `state` of the system.";
    paths.insert("/disks/reseal".to_owned(), consent(bind, &["key"]));
    paths.insert("/claim".to_owned(), consent("Gives the first token to whoever knows the code.", &["code", "label"]));
    let words = ["challenge", "label", "signature"];
    paths.insert("/claim/key".to_owned(), consent("Gives the first token to who owns the key of the seed.", &words));
    paths.insert("/tokens".to_owned(), consent("Makes a token.", &["label", "role"]));
    paths.insert("/login".to_owned(), consent("Begins a session of a browser.", &["name", "password"]));
    paths.insert("/users".to_owned(), consent("Makes a user.", &["name", "role", "password"]));
    paths.insert("/webhooks/{source}".to_owned(), webhook());
    asks::erasure(&mut paths);
    guard(&mut paths);
    asks::describe(&mut paths);
    let mut document = document(&paths, state.version);
    document["components"]["securitySchemes"] = json!({
        TOKEN: { "type": "http", "scheme": "bearer" },
        COOKIE: { "type": "apiKey", "in": "cookie", "name": proof::COOKIE },
        KEY: { "type": "apiKey", "in": "header", "name": proof::KEY.as_str() },
    });
    Json(document)
}

/// Says of every operation what it takes, from the table of the checks, and names those that nobody described.
fn guard(paths: &mut Map<String, Value>) {
    for operation in TABLE.iter().filter(|it| !it.path.starts_with("/git/")) {
        for path in expanded(operation.path) {
            let place = paths.entry(path).or_insert_with(|| json!({}));
            let described = &mut place[operation.method.to_ascii_lowercase()];
            if described.is_null() {
                *described = json!({ "responses": { "200": { "description": "OK" } } });
            }
            let role = match operation.needs {
                Needs::Nothing | Needs::Claimed => None,
                Needs::Role(role) => Some(role.as_str()),
                Needs::Root => Some("root"),
            };
            described["security"] = match operation.needs {
                Needs::Nothing | Needs::Claimed => json!([]),
                Needs::Role(_) => json!([{ TOKEN: [] }, { COOKIE: [], KEY: [] }]),
                Needs::Root => json!([{ TOKEN: [] }]),
            };
            described["x-piccolo-role"] = json!(role);
            if place["parameters"].is_null() && operation.path.contains('{') {
                place["parameters"] = parameters(operation.path);
            }
        }
    }
}

/// Returns the paths of the kinds that a path stands for, or itself.
fn expanded(path: &str) -> Vec<String> {
    let is_container = ["log", "exec", "rollback"].iter().any(|word| path.ends_with(&format!("{{name}}/{word}")));
    let kinds = if is_container { &[Kind::Container] } else { Kind::ALL };
    match path.contains(PLURAL) {
        true => kinds.iter().map(|kind| path.replace(PLURAL, kind.plural())).collect(),
        false => vec![path.to_owned()],
    }
}

/// Describes what varies in a path.
fn parameters(path: &str) -> Value {
    let names = path.split(['{', '}']).skip(1).step_by(2).filter(|name| *name != "plural");
    let all = names.map(|it| json!({ "name": it, "in": "path", "required": true, "schema": { "type": "string" } }));
    all.collect()
}

/// Describes the word that a repository has something new.
fn webhook() -> Value {
    json!({ "post": {
        "summary": "Has the repository of a ConfigSource asked soon.",
        "responses": { "202": { "description": "It is asked" }, "404": { "description": "There is no such source" } },
    } })
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

/// Describes the wish for a quote.
fn quote() -> Value {
    let registers = json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 23 } });
    let body = json!({
        "type": "object", "required": ["nonce", "pcrs"],
        "properties": { "nonce": { "type": "string" }, "pcrs": registers },
    });
    json!({ "post": {
        "summary": "Has the TPM sign what registers hold.",
        "requestBody": { "content": { "application/json": { "schema": body } } },
        "responses": { "200": { "description": "The quote" } },
    } })
}

/// Describes a request whose body is an archive.
fn upload(summary: &str) -> Value {
    let schema = json!({ "type": "string", "format": "binary" });
    json!({ "post": {
        "summary": summary,
        "requestBody": { "content": { "application/x-tar": { "schema": schema } } },
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
            "patch": operation(kind, "patch", FORCED), "delete": operation(kind, "delete", &["confirmWithin", "dryRun"]),
            "parameters": [{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }],
        });
        paths.insert(format!("{BASE}/{}", kind.plural()), all);
        paths.insert(format!("{BASE}/{}/{{name}}", kind.plural()), one);
    }
    paths
}

fn operation(kind: Kind, action: &str, parameters: &[&str]) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{kind}") });
    let body = asks::body(action, &schema);
    let mut operation = json!({
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind),
        "parameters": asks::queries(parameters),
        "responses": { "200": { "description": "OK", "content": { "application/json": { "schema": schema } } } },
    });
    if !body.is_null() {
        operation["requestBody"] = body;
    }
    operation
}

fn gvk(kind: Kind) -> Value {
    json!({ "group": GROUP, "version": VERSION, "kind": kind.as_str() })
}

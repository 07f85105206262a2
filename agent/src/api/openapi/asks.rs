//! What requests may hold besides their path: the parameters behind the question mark, and bodies.

use piccolo_schema::Kind;
use serde_json::{Map, Value, json};

use super::super::kinds;

/// The parameters of what reads, by the end of its path; those of the kinds are told where the kinds are.
const QUERIES: &[(&str, &[&str])] = &[
    ("/api/v1/events", LISTED),
    ("/namespaces/{namespace}/events", LISTED),
    ("/readyz", &["verbose"]),
    ("/history", &["limit"]),
    ("/history/diff", &["from", "to"]),
    ("/audit", &["limit"]),
    ("/journal", &["limit", "since", "kind", "name", "follow"]),
    ("/images/export", &["name"]),
    ("/{name}/log", &["follow", "tail", "since", "until", "timestamps"]),
    ("/{name}/exec", &["command", "stdin", "stdout", "stderr", "tty"]),
];
const LISTED: &[&str] = &["watch", "labelSelector", "fieldSelector", "resourceVersion", "timeoutSeconds"];

/// The forms in which a patch is sent.
const PATCHES: &[&str] = &["application/merge-patch+json", "application/apply-patch+yaml"];

/// Describes parameters behind the question mark.
pub(super) fn queries(names: &[&str]) -> Vec<Value> {
    let one = |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    names.iter().map(one).collect()
}

/// Describes the parameters of every path that takes some.
pub(super) fn describe(paths: &mut Map<String, Value>) {
    for (path, place) in paths {
        let known = QUERIES.iter().find(|(end, _)| if end.contains('{') { path.ends_with(end) } else { path == end });
        if let (Some((_, names)), false) = (known, place["get"].is_null()) {
            place["get"]["parameters"] = queries(names).into();
        }
    }
}

/// Describes the body of an operation on a kind; null for one that takes none.
pub(super) fn body(action: &str, manifest: &Value) -> Value {
    match action {
        "post" | "put" => json!({ "required": true, "content": { "application/json": { "schema": manifest } } }),
        "patch" => {
            let change = json!({ "schema": { "type": "object" } });
            let forms: Map<_, _> = PATCHES.iter().map(|media| ((*media).to_owned(), change.clone())).collect();
            let operations = json!({ "type": "array", "items": { "type": "object" } });
            let mut content = Value::from(forms);
            content["application/json-patch+json"] = json!({ "schema": operations });
            json!({ "required": true, "content": content })
        }
        _ => Value::Null,
    }
}

/// Describes what is asked for where disks or the whole machine are erased, and where the system is installed.
pub(super) fn erasure(paths: &mut Map<String, Value>) {
    let word = || json!({ "type": "string" });
    let typed = || object(&["disk", "serial"], json!({ "disk": word(), "serial": word() }));
    let erased = object(&["erase"], json!({ "erase": { "type": "array", "minItems": 1, "items": typed() } }));
    let data = json!({ "oneOf": [{ "type": "string", "enum": ["keep"] }, erased] });
    let install = &kinds::schema(Kind::Install)["properties"]["spec"];
    let asked = [
        ("/disks/tickets", "Gives leave to erase a disk.", typed()),
        ("/install/tickets", "Gives leave to erase a disk.", typed()),
        ("/install", "Installs the system on a disk, and tells how far it is.", install.clone()),
        (
            "/disks/state/replace",
            "Takes a disk in the place of a lost one of two that the system lies on, and tells how far it is.",
            install["properties"]["mirror"].clone(),
        ),
        (
            "/reset/tickets",
            "Gives leave to reset the machine, to whoever types its name and says what becomes of disks for data.",
            object(&["machine", "data"], json!({ "machine": word(), "data": data })),
        ),
        (
            "/reset",
            "Has the next start reset the machine, by leave.",
            object(&["ticket"], json!({ "ticket": word(), "restart": { "type": "boolean", "default": false } })),
        ),
    ];
    for (path, summary, schema) in asked {
        let post = json!({
            "summary": summary,
            "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
            "responses": { "200": { "description": "OK" } },
        });
        paths.insert(path.to_owned(), json!({ "post": post }));
    }
}

fn object(required: &[&str], properties: Value) -> Value {
    let mut object = json!({ "type": "object", "required": required });
    object["properties"] = properties;
    object
}

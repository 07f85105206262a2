//! The schema of a kind with every reference followed, so that it can be read like a book.

use piccolo_schema::{Kind, json};
use serde_json::{Map, Value};

/// No schema nests deeper; a reference to itself ends here.
const DEEPEST: usize = 16;

/// Returns the schema of a kind without references.
pub(super) fn manual(kind: Kind) -> Value {
    let schema = json::schema(kind);
    expand(&schema, &schema["definitions"], DEEPEST)
}

fn expand(schema: &Value, definitions: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    match schema {
        Value::Object(fields) => {
            let inner = |it: &Value| expand(it, definitions, depth - 1);
            let own = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "$ref" | "allOf" | "definitions"));
            let mut whole: Map<_, _> = own.map(|(key, it)| (key.clone(), inner(it))).collect();
            for part in parts(fields, definitions) {
                let Value::Object(part) = inner(part) else { continue };
                part.into_iter().for_each(|(key, it)| {
                    // What is said at the place itself is closer to it.
                    whole.entry(key).or_insert(it);
                });
            }
            Value::Object(whole)
        }
        Value::Array(items) => items.iter().map(|it| expand(it, definitions, depth - 1)).collect(),
        other => other.clone(),
    }
}

/// Returns the schemas that this one is made of.
fn parts<'a>(fields: &'a Map<String, Value>, definitions: &'a Value) -> Vec<&'a Value> {
    let name = fields.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/definitions/"));
    let all = fields.get("allOf").and_then(Value::as_array).into_iter().flatten();
    name.and_then(|name| definitions.get(name)).into_iter().chain(all).collect()
}

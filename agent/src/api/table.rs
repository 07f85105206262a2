//! Tables: what kubectl prints, made from the columns of the kinds' definitions.

use std::borrow::Borrow;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use piccolo_schema::Kind;
use serde_json::{Value, json};

use super::{kinds, params::Params};
use crate::clock;

/// Returns true if the client asks for a table.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("as=Table"))
}

/// Makes the table of these objects.
pub(super) fn table(kind: Kind, objects: &[impl Borrow<Value>], version: &str, params: &Params) -> Value {
    let columns = kinds::columns(kind);
    let mut definitions = vec![definition("Name", "name", 0)];
    definitions.extend(columns.iter().map(|column| definition(&column.name, "", column.priority)));
    definitions.push(definition("Age", "", 0));
    let rows: Vec<_> = objects.iter().map(|object| row(object.borrow(), &columns, params)).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": { "resourceVersion": version },
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn definition(name: &str, format: &str, priority: i64) -> Value {
    json!({ "name": name, "type": "string", "format": format, "description": "", "priority": priority })
}

fn row(object: &Value, columns: &[kinds::Column], params: &Params) -> Value {
    let metadata = &object["metadata"];
    let mut cells = vec![metadata["name"].clone()];
    cells.extend(columns.iter().map(|column| dig(object, &column.path).cloned().unwrap_or_else(|| json!(""))));
    let created = metadata["creationTimestamp"].as_str().and_then(|created| created.parse::<Timestamp>().ok());
    cells.push(json!(created.map_or_else(|| "<unknown>".to_owned(), clock::age)));
    let shown = match params.text("includeObject") {
        Some("Object") => object.clone(),
        Some("None") => Value::Null,
        _ => json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata }),
    };
    json!({ "cells": cells, "object": shown })
}

/// Follows a path of a definition's column: `.a.b` and `.list[?(@.key=="value")]`.
pub(super) fn dig<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (test, after) = filter.split_once(")]")?;
            let (key, value) = test.split_once("==")?;
            let value = value.trim_matches(['"', '\'']);
            found = found.as_array()?.iter().find(|item| item[key].as_str() == Some(value))?;
            rest = after;
        } else {
            let field = rest.strip_prefix('.')?;
            let end = field.find(['.', '[']).unwrap_or(field.len());
            found = found.get(&field[..end])?;
            rest = &field[end..];
        }
    }
    Some(found)
}

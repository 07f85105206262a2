//! What the custom resource definitions say about the kinds.

use std::sync::OnceLock;

use piccolo_schema::{Kind, json};
use serde_json::Value;

/// One column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) name: String,
    /// Where its value is found in an object.
    pub(super) path: String,
    /// Above zero it is shown in wide tables only.
    pub(super) priority: i64,
}

/// Returns the columns of a kind between its name and its age.
pub(super) fn columns(kind: Kind) -> Vec<Column> {
    let text = |column: &Value, key: &str| column[key].as_str().unwrap_or_default().to_owned();
    let columns = version(kind)["additionalPrinterColumns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let column = |it: &Value| Column {
        name: text(it, "name"),
        path: text(it, "jsonPath"),
        priority: it["priority"].as_i64().unwrap_or(0),
    };
    columns.iter().map(column).collect()
}

/// Returns the names of a kind: singular, short names, categories.
pub(super) fn names(kind: Kind) -> &'static Value {
    &definition(kind)["spec"]["names"]
}

/// Returns the schema of a kind's objects.
pub(super) fn schema(kind: Kind) -> &'static Value {
    &version(kind)["schema"]["openAPIV3Schema"]
}

fn version(kind: Kind) -> &'static Value {
    &definition(kind)["spec"]["versions"][0]
}

fn definition(kind: Kind) -> &'static Value {
    static DEFINITIONS: OnceLock<Vec<(Kind, Value)>> = OnceLock::new();
    let all = DEFINITIONS.get_or_init(|| Kind::ALL.iter().map(|kind| (*kind, json::crd(*kind))).collect());
    all.iter().find(|(of, _)| *of == kind).map_or(&Value::Null, |(_, definition)| definition)
}

//! How a manifest and a status become one object of the API.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One object and what the API does not show of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) object: Arc<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settled_generation: Option<i64>,
}

/// What the store writes into `metadata`.
pub(super) struct Stamp {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) created: String,
}

impl Record {
    pub(super) fn stamp(&self) -> Stamp {
        let text = |key: &str| self.object["metadata"][key].as_str().unwrap_or_default().to_owned();
        Stamp {
            uid: text("uid"),
            generation: self.object["metadata"]["generation"].as_i64().unwrap_or(1),
            created: text("creationTimestamp"),
        }
    }

    /// Returns true if the manifest asks for what this object already asks for, labels and annotations included.
    pub(super) fn asks_the_same(&self, manifest: &Value) -> bool {
        let same = |key: &str| self.object["metadata"].get(key) == manifest["metadata"].get(key);
        self.has_spec_of(manifest) && same("labels") && same("annotations")
    }

    pub(super) fn has_spec_of(&self, manifest: &Value) -> bool {
        self.object.get("spec") == manifest.get("spec")
    }
}

/// Puts the parts together in the order in which people read them.
pub(super) fn assemble(manifest: &Value, stamp: &Stamp, version: u64, status: Option<Value>) -> Value {
    let mut metadata = manifest.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.insert("uid".to_owned(), json!(stamp.uid));
    metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
    metadata.insert("generation".to_owned(), json!(stamp.generation));
    metadata.insert("creationTimestamp".to_owned(), json!(stamp.created));
    let mut object = Map::new();
    for key in ["apiVersion", "kind"] {
        object.insert(key.to_owned(), manifest.get(key).cloned().unwrap_or_default());
    }
    object.insert("metadata".to_owned(), Value::Object(metadata));
    object.insert("spec".to_owned(), manifest.get("spec").cloned().unwrap_or_default());
    if let Some(status) = status {
        object.insert("status".to_owned(), status);
    }
    Value::Object(object)
}

/// Returns the object with another version.
pub(super) fn restamp(object: &Value, version: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

//! JSON Schemas for editors and custom resource definitions for Kubernetes clients.

use kube::CustomResourceExt;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    API_VERSION, ConfigSource, ConfigSourceSpec, Container, ContainerSpec, Disk, DiskSpec, Firewall, FirewallSpec,
    Host, HostSpec, Image, ImageSpec, Install, InstallSpec, Kind, Link, LinkSpec, Mode, Network, NetworkSpec, Secret,
    SecretSpec, Volume, VolumeSpec,
};

/// The form of the name of a manifest.
pub const NAME_PATTERN: &str = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// Returns the custom resource definition of a kind.
pub fn crd(kind: Kind) -> Value {
    let crd = match kind {
        Kind::Container => Container::crd(),
        Kind::Network => Network::crd(),
        Kind::Volume => Volume::crd(),
        Kind::Secret => Secret::crd(),
        Kind::Image => Image::crd(),
        Kind::ConfigSource => ConfigSource::crd(),
        Kind::Link => Link::crd(),
        Kind::Host => Host::crd(),
        Kind::Firewall => Firewall::crd(),
        Kind::Disk => Disk::crd(),
        Kind::Install => Install::crd(),
    };
    serde_json::to_value(crd).unwrap_or_default()
}

/// Returns the JSON Schema, draft 07, of a whole manifest of a kind.
///
/// Beside the spec it describes the envelope strictly: no key but `apiVersion`, `kind`, `metadata` and `spec`.
pub fn schema(kind: Kind) -> Value {
    let mut spec = match kind {
        Kind::Container => root_of::<ContainerSpec>(),
        Kind::Network => root_of::<NetworkSpec>(),
        Kind::Volume => root_of::<VolumeSpec>(),
        Kind::Secret => root_of::<SecretSpec>(),
        Kind::Image => root_of::<ImageSpec>(),
        Kind::ConfigSource => root_of::<ConfigSourceSpec>(),
        Kind::Link => root_of::<LinkSpec>(),
        Kind::Host => root_of::<HostSpec>(),
        Kind::Firewall => root_of::<FirewallSpec>(),
        Kind::Disk => root_of::<DiskSpec>(),
        Kind::Install => root_of::<InstallSpec>(),
    };
    let about = spec.remove("description").unwrap_or_default();
    for key in ["$schema", "title"] {
        spec.remove(key);
    }
    let definitions = spec.remove("definitions");
    let needs_spec = spec.contains_key("required");
    let mut required = vec!["apiVersion", "kind", "metadata"];
    required.extend(needs_spec.then_some("spec"));
    let mut whole = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": kind.as_str(),
        "description": about,
        "type": "object",
        "properties": {
            "apiVersion": {
                "description": "The edition of the kinds that this file is written for.",
                "type": "string",
                "enum": [API_VERSION],
            },
            "kind": { "description": "What this file declares.", "type": "string", "enum": [kind.as_str()] },
            "metadata": metadata(),
            "spec": spec,
        },
        "required": required,
        "additionalProperties": false,
    });
    if let (Some(definitions), Some(whole)) = (definitions, whole.as_object_mut()) {
        whole.insert("definitions".to_owned(), definitions);
    }
    simplify(&mut whole);
    whole
}

fn root_of<T: JsonSchema>() -> Map<String, Value> {
    let root = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    root.as_object().cloned().unwrap_or_default()
}

fn metadata() -> Value {
    let words = json!({ "type": "string" });
    json!({
        "description": "Who this is.",
        "type": "object",
        "properties": {
            "name": {
                "description": "The name, unique among the manifests of this kind.",
                "type": "string",
                "pattern": NAME_PATTERN,
                "examples": ["web"],
            },
            "labels": {
                "description": "Words to select manifests by.",
                "type": "object",
                "additionalProperties": words,
            },
            "annotations": {
                "description": "Notes for people and tools. Piccolo reads `piccolo.os/mode` alone.",
                "type": "object",
                "properties": {
                    Mode::ANNOTATION: {
                        "description": "Whether what is planned for this manifest is done (`enforce`), or only said \
                                        (`observe`).",
                        "type": "string",
                        "enum": Mode::WORDS,
                        "default": "enforce",
                    },
                },
                "additionalProperties": words,
            },
        },
        "required": ["name"],
        "additionalProperties": false,
    })
}

/// Writes a schema in the plain words that every editor knows, and that TOML can satisfy: it has no `null`.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(simplify),
        Value::Object(map) => {
            drop_null(map);
            gather_words(map);
            hand_down_hint(map);
            // What is left of the formats is Rust's: `uint16`, `double`.
            if map.get("format").is_some_and(|format| format != "ip") {
                map.remove("format");
            }
            map.values_mut().for_each(simplify);
        }
        _ => {}
    }
}

/// `["string", "null"]` becomes `"string"`, any-of-this-or-null becomes this.
fn drop_null(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get("type")
        && let Some(only) = types.iter().find(|it| *it != "null").cloned()
    {
        map.insert("type".to_owned(), only);
    }
    if let Some(Value::Array(choices)) = map.get("anyOf")
        && let [only, null] = choices.as_slice()
        && null["type"] == "null"
    {
        let only = only.clone();
        map.remove("anyOf");
        map.insert("allOf".to_owned(), json!([only]));
    }
}

/// A choice of constants becomes an enumeration with a description of each word.
fn gather_words(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get("oneOf") else { return };
    let words: Vec<_> = choices.iter().filter_map(|it| it.get("const").cloned()).collect();
    if words.len() != choices.len() {
        return;
    }
    let about: Vec<_> = choices.iter().map(|it| it["description"].clone()).collect();
    map.remove("oneOf");
    map.insert("type".to_owned(), json!("string"));
    map.insert("enum".to_owned(), Value::Array(words));
    map.insert("enumDescriptions".to_owned(), Value::Array(about));
}

/// A list of texts can't say in its own attributes what is wrong with one of them: the hint stands at the list.
fn hand_down_hint(map: &mut Map<String, Value>) {
    if map.get("type").is_some_and(|it| it == "array")
        && let Some(hint) = map.remove("patternErrorMessage")
        && let Some(Value::Object(items)) = map.get_mut("items")
    {
        items.insert("patternErrorMessage".to_owned(), hint);
    }
}

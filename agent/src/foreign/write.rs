//! Manifests as a person would write them.

use piccolo_schema::{API_VERSION, Kind, parse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The longest line on which a list or table stands whole.
const WIDEST: usize = 100;
/// Maps that get a table of their own.
const TABLES: &[&str] = &["env", "labels", "extraHosts", "sysctls", "ulimits", "healthCheck", "log"];

/// A manifest, written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Writes a manifest of this spec, and reads it again to see that it is right.
///
/// # Errors
/// Why it would be refused.
pub fn manifest(kind: Kind, name: &str, spec: &Map<String, Json>) -> Result<Written, Vec<String>> {
    let first = text(kind, name, spec.iter());
    let parsed = parse::parse(&first).map_err(|rejected| {
        rejected.diagnostics.iter().map(|it| format!("`{}`: {}", it.path, it.reason)).collect::<Vec<_>>()
    })?;
    // In the order in which the manual tells of the fields.
    let order: Vec<String> = match serde_json::to_value(&parsed) {
        Ok(whole) => whole["spec"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect(),
        Err(error) => return Err(vec![error.to_string()]),
    };
    let known = order.iter().filter_map(|key| spec.get_key_value(key));
    let rest = spec.iter().filter(|(key, _)| !order.contains(key));
    Ok(Written { kind, name: name.to_owned(), text: text(kind, name, known.chain(rest)) })
}

/// Writes the Volume of a volume of the engine. None if there is no such kind, or if its name can't be that of a manifest:
/// the engine makes the volume all the same.
pub(crate) fn volume_manifest(name: &str) -> Option<Written> {
    let kind = "Volume".parse().ok()?;
    manifest(kind, name, &Map::new()).ok()
}

fn text<'a>(kind: Kind, name: &str, spec: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let mut out =
        format!("apiVersion = \"{API_VERSION}\"\nkind = \"{kind}\"\n\n[metadata]\nname = {}\n\n[spec]\n", word(name));
    let mut tables = String::new();
    for (key, value) in spec {
        match value {
            Json::Object(map) if TABLES.contains(&key.as_str()) => {
                tables.push_str(&format!("\n[spec.{key}]\n"));
                map.iter().for_each(|(key, value)| line(&mut tables, key, value));
            }
            value => line(&mut out, key, value),
        }
    }
    out + &tables
}

fn line(out: &mut String, key: &str, value: &Json) {
    let key = bare(key);
    let whole = format!("{key} = {}", inline(value));
    match value {
        Json::Array(items) if whole.chars().count() > WIDEST => {
            let items: String = items.iter().map(|item| format!("  {},\n", inline(item))).collect();
            out.push_str(&format!("{key} = [\n{items}]\n"));
        }
        _ => out.push_str(&format!("{whole}\n")),
    }
}

fn inline(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Json::Object(map) => {
            let fields: Vec<_> = map.iter().map(|(key, value)| format!("{} = {}", bare(key), inline(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Json::String(text) => word(text),
        // Numbers and switches are written alike in both.
        other => other.to_string(),
    }
}

fn word(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain { key.to_owned() } else { word(key) }
}

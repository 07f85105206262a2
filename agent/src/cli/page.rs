//! The manual as pages of Markdown: every field of a kind, every mistake.

use std::fmt::Write;

use piccolo_schema::{Kind, parse::Code};
use serde_json::Value;

use super::{explain::type_of, manual};

/// Returns the page of a kind: each field with its type, what it may be, and what it does.
pub(super) fn kind(kind: Kind) -> String {
    let schema = manual::manual(kind);
    let mut page = format!("# {kind}\n\n{}\n", text(&schema));
    fields(&mut page, &schema, "");
    page
}

/// Returns the page of all mistakes.
pub(super) fn mistakes() -> String {
    let mut page = "# Mistakes\n\nEach mistake in a manifest has a code that never changes its meaning; \
                    `piccolo explain PIC0002` shows the same.\n"
        .to_owned();
    for code in Code::ALL {
        // Writing to a text can't fail.
        let _ = write!(page, "\n## {code}\n\n{}\n", code.explain());
    }
    page
}

fn fields(page: &mut String, schema: &Value, path: &str) {
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        let key_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let must = if required.iter().any(|it| it == key) { ", required" } else { "" };
        let _ = write!(page, "\n## `{key_path}`\n\n*{}{must}{}*\n", type_of(field), limits(field));
        if !text(field).is_empty() {
            let _ = write!(page, "\n{}\n", text(field));
        }
        match field.get("items") {
            Some(items) => fields(page, items, &format!("{key_path}[]")),
            None => fields(page, field, &key_path),
        }
    }
}

/// Says what a value may be beside its type.
fn limits(field: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), |word| format!("`{word}`"));
    let mut said = String::new();
    for (key, before) in [("minimum", "at least "), ("maximum", "at most "), ("default", "default ")] {
        if let Some(value) = field.get(key) {
            said.push_str(&format!(", {before}{}", word(value)));
        }
    }
    if let Some(example) = field["examples"].get(0) {
        said.push_str(&format!(", such as {}", word(example)));
    }
    said
}

fn text(field: &Value) -> &str {
    field["description"].as_str().unwrap_or_default()
}

//! Reading JSON whose keys may be missing or null. Pure.

use serde_json::{Map, Value as Json};

/// Returns true if a value says nothing: null, false, 0, or empty all through.
pub(super) fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(on) => !on,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.iter().all(is_nothing),
        Json::Object(map) => map.is_empty(),
    }
}

/// Returns a text, empty if there is none.
pub(super) fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a number, 0 if there is none.
pub(super) fn number(value: &Json) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// Returns a list, empty if there is none.
pub(super) fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the texts of a list.
pub(super) fn words(value: &Json) -> Vec<&str> {
    list(value).iter().filter_map(Json::as_str).collect()
}

/// Returns the keys and values of an object.
pub(super) fn entries(value: &Json) -> impl Iterator<Item = (&String, &Json)> {
    value.as_object().into_iter().flatten()
}

/// Makes an object of these pairs.
pub(super) fn object<const N: usize>(pairs: [(&str, Json); N]) -> Map<String, Json> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

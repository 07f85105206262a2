//! From the body of a request to the manifest that it asks for.

use axum::http::{HeaderMap, StatusCode, header};
use piccolo_schema::{Kind, Manifest, parse};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fault::Fault;

/// A manifest as a client sent it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The checked manifest.
    pub(super) manifest: Manifest,
    /// What is written.
    pub(super) content: Content,
    /// The version of the object that the client changed, if it says so.
    pub(super) version: Option<String>,
}

/// What is written for a manifest.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// These fields, merged into the file.
    Tree(Value),
    /// This very text.
    Text(String),
}

/// Returns the media type without its parameters, in lower case.
pub(super) fn media(headers: &HeaderMap) -> String {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a manifest in any of its forms. A body that doesn't say what it is, as `curl -T` sends it, is JSON when it begins
/// like JSON and TOML otherwise.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Wanted, Fault> {
    let begins_as_json = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match media(headers).as_str() {
        "application/toml" | "text/toml" | "text/x-toml" => from_text(body),
        "" if !begins_as_json => from_text(body),
        "" | "application/json" => from_tree(json(body)?),
        "application/yaml" | "application/x-yaml" | "text/yaml" => from_tree(yaml(body)?),
        other => Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("a manifest can't be sent as {other}"),
        )
        .help("send application/toml, application/json or application/yaml as content type")),
    }
}

/// Checks a tree and takes the part of it that is the client's to decide.
pub(super) fn from_tree(mut tree: Value) -> Result<Wanted, Fault> {
    if !tree.is_object() {
        return Err(Fault::bad_request("a manifest is an object"));
    }
    strip_nulls(&mut tree);
    let version = tree["metadata"]["resourceVersion"].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    let manifest = parse::parse_value(&tree).map_err(Fault::invalid)?;
    Ok(Wanted { manifest, content: Content::Tree(own_part(&tree)), version })
}

/// Reads a document of a known form. It must say that it is JSON: a page of others can't have a browser say so unasked.
pub(super) fn parsed<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Fault> {
    if media(headers) != "application/json" {
        let detail = "this is sent as application/json";
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", detail));
    }
    serde_json::from_slice(body).map_err(|error| Fault::bad_request(format!("this is not what is asked for: {error}")))
}

/// The same of a document that holds something secret: what is wrong with it is told without a word of it.
pub(super) fn parsed_secret<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Fault> {
    // The media type is looked at there.
    parsed::<T>(headers, body).map_err(|fault| match fault.status {
        StatusCode::BAD_REQUEST => Fault::bad_request("this is not what is asked for; `/openapi.json` says what is"),
        _ => fault,
    })
}

pub(super) fn json(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::bad_request(format!("the body is not JSON: {error}")))
}

pub(super) fn yaml(body: &[u8]) -> Result<Value, Fault> {
    let refuse = |error: String| Fault::bad_request(format!("the body is not YAML: {error}"));
    let text = text(body)?;
    serde_saphyr::from_str(text)
        .map_err(|error| refuse(error.to_string().lines().next().unwrap_or_default().to_owned()))
}

fn from_text(body: &[u8]) -> Result<Wanted, Fault> {
    let text = text(body)?;
    let manifest = parse::parse(text).map_err(Fault::invalid)?;
    Ok(Wanted { manifest, content: Content::Text(text.to_owned()), version: None })
}

fn text(body: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(body).map_err(|error| {
        Fault::bad_request(format!("the body is not UTF-8: the first wrong byte is number {}", error.valid_up_to() + 1))
    })
}

/// Returns what a file can hold: no status, none of the metadata that the store gives.
fn own_part(tree: &Value) -> Value {
    let pick = |from: &Value, keys: &[&str]| -> Value {
        let present = keys.iter().filter_map(|key| Some(((*key).to_owned(), from.get(*key)?.clone())));
        Value::Object(present.collect::<Map<_, _>>())
    };
    let mut own = pick(tree, &["apiVersion", "kind", "metadata", "spec"]);
    own["metadata"] = pick(&tree["metadata"], &["name", "labels", "annotations"]);
    own
}

/// Takes out keys without a value: in JSON a null says that a key is absent, and TOML has no null.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

impl Wanted {
    /// Refuses a manifest that is sent to the path of another one.
    pub(super) fn check_path(&self, kind: Kind, name: Option<&str>) -> Result<(), Fault> {
        let (found, its_name) = (self.manifest.kind(), self.manifest.name());
        if found == kind && name.is_none_or(|name| name == its_name) {
            return Ok(());
        }
        let path = format!("{}/{}", kind.plural(), name.unwrap_or_default());
        Err(Fault::bad_request(format!("the manifest declares {found} `{its_name}`, but was sent to {path}")))
    }
}

//! One object, and how the store comes to show what was written.

use std::{os::unix::ffi::OsStrExt, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State as Extract},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use piccolo_schema::{Kind, Manifest};
use serde_json::{Value, json};

use super::{State, fault::Fault, lookup, params::Params, table};

/// How long an answer waits for the controller to take in what was written.
const PATIENCE: Duration = Duration::from_secs(2);

/// The header that names the file of a manifest, under the directory of the manifests.
const FILE: HeaderName = HeaderName::from_static("piccolo-file");

/// Answers for `/<name>` and for `/<name>/status`: the status is a part of the object.
pub(super) async fn get(
    Extract(state): Extract<State>,
    Path((plural, name)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    if headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/toml") {
        return text(&state, kind, &name).await;
    }
    // Body and fingerprint must speak of the same text, or a later `If-Match` would overwrite what nobody has seen.
    let object = caught_up(&state, kind, &name).await.ok_or_else(|| lookup::no_such(&state, kind, &name))?;
    if table::wanted(&headers) {
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        return Ok(Json(table::table(kind, &[object], &version, &params)).into_response());
    }
    Ok(answer(&object, etag(&state, kind, &name)))
}

/// Answers with the very text of the manifest, and names its file.
async fn text(state: &State, kind: Kind, name: &str) -> Result<Response, Fault> {
    let (text, etag) = state.manifests.text(kind, name).await?;
    let headers = [(header::CONTENT_TYPE, "application/toml".to_owned()), (header::ETAG, format!("\"{etag}\""))];
    let mut response = (headers, text).into_response();
    let path = state.manifests.snapshot().declared.get(&(kind, name.to_owned())).map(|it| it.path.clone());
    if let Some(file) = path.and_then(|path| HeaderValue::from_bytes(path.as_os_str().as_bytes()).ok()) {
        response.headers_mut().insert(FILE, file);
    }
    Ok(response)
}

/// Returns the fingerprint of the file that declares the manifest. It changes with the file, not with the status.
pub(super) fn etag(state: &State, kind: Kind, name: &str) -> Option<String> {
    state.manifests.snapshot().declared.get(&(kind, name.to_owned())).map(|it| it.etag.clone())
}

/// Answers with an object and its fingerprint.
pub(super) fn answer(object: &Value, etag: Option<String>) -> Response {
    let mut response = Json(object).into_response();
    if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(format!("\"{etag}\"")).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// Waits, not for long, until the store shows what the directory declares, and returns it; without what only the store
/// knows if the controller takes longer.
pub(super) async fn caught_up(state: &State, kind: Kind, name: &str) -> Option<Arc<Value>> {
    let declared =
        || state.manifests.snapshot().declared.get(&(kind, name.to_owned())).map(|it| Arc::clone(&it.manifest));
    let shown = async {
        loop {
            // Followed before it is looked at, so that no change is missed in between.
            let changes = state.store.since(state.store.counters().resource_version);
            let (manifest, object) = (declared(), state.store.get(kind, name));
            if shows(object.as_deref(), manifest.as_deref()) {
                return object;
            }
            match changes {
                Some((_, mut changes)) => drop(changes.recv().await),
                None => tokio::task::yield_now().await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, shown).await {
        Ok(object) => object,
        Err(_) => declared().map(|manifest| Arc::new(json!(*manifest))),
    }
}

pub(super) fn shows(object: Option<&Value>, manifest: Option<&Manifest>) -> bool {
    match (object, manifest) {
        (None, None) => true,
        (Some(object), Some(manifest)) => {
            let manifest = json!(manifest);
            let same = |key: &str| object["metadata"].get(key) == manifest["metadata"].get(key);
            object["spec"] == manifest["spec"] && same("labels") && same("annotations")
        }
        _ => false,
    }
}

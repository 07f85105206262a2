//! All objects of a kind.

use axum::{
    Json,
    extract::{Path, State as Extract},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use piccolo_schema::API_VERSION;
use serde_json::json;

use super::{State, fault::Fault, lookup, params::Params, selector::Selection, stream::Ending, table, watch};

/// The fields that objects can be selected by.
const FIELDS: &[&str] = &["metadata.name", "metadata.namespace"];

pub(super) async fn list(
    Extract(state): Extract<State>,
    Path(plural): Path<String>,
    params: Params,
    ending: Ending,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let kind = lookup::kind(&plural)?;
    let selection = Selection::read(&params, FIELDS)?;
    let as_table = table::wanted(&headers);
    if params.flag("watch")? {
        return watch::watch(&state, kind, selection, as_table, &params, ending);
    }
    let (version, mut objects) = state.store.list(kind);
    objects.retain(|object| selection.takes(object));
    let version = version.to_string();
    if as_table {
        return Ok(Json(table::table(kind, &objects, &version, &params)).into_response());
    }
    let items: Vec<_> = objects.iter().map(AsRef::as_ref).collect();
    let list = json!({
        "apiVersion": API_VERSION, "kind": format!("{kind}List"), "metadata": { "resourceVersion": version },
        "items": items,
    });
    Ok(Json(list).into_response())
}

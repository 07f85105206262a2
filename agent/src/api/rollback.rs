//! The way back of a container to what it ran before its last update.

use axum::{
    Json,
    extract::{Path, State as Extract},
};
use piccolo_schema::{Container, Declared, Kind};
use serde_json::{Value, json};

use super::{State, fault::Fault, lookup};

/// Takes down that a container shall go back, and answers with the digest that it goes back to.
pub(super) async fn container(
    Extract(state): Extract<State>,
    Path((plural, name)): Path<(String, String)>,
) -> Result<Json<Value>, Fault> {
    let kind = lookup::kind(&plural)?;
    if kind != Kind::Container {
        return Err(Fault::bad_request(format!("a {kind} has no image to go back to")));
    }
    let snapshot = state.manifests.snapshot();
    let declared = snapshot.declared.get(&(kind, name.clone())).ok_or_else(|| lookup::no_such(&state, kind, &name))?;
    if Container::of(&declared.manifest).is_none_or(|it| it.spec.update.is_none()) {
        let fault = Fault::conflict(format!("`{name}` does not follow its image, so no image of before is kept"));
        return Err(fault.help("write another image into its manifest").about(kind, name));
    }
    let digest = state.updates.go_back(&name).await;
    let digest = digest.map_err(|why| Fault::conflict(format!("`{name}`: {why}")).about(kind, name.as_str()))?;
    Ok(Json(json!({ "container": name, "digest": digest })))
}

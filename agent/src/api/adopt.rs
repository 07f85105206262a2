//! Taking over a container that others began. It does not notice.

use axum::{Json, http::StatusCode};
use bytes::Bytes;
use piccolo_schema::{Container, ContainerSpec, Declared, Kind, Mode, parse};
use serde_json::{Value, json};

use super::{State, authored::Authored, body, fault::Fault, object};
use crate::{capture::Captured, foreign::Written, manifests::Expect};

/// Adopts a container: gives it the name of its manifest, writes the manifest, then writes down that it is ours.
///
/// In this order nothing bad comes of an end in between: a manifest whose name a container of others has waits, and the
/// next try goes on; a stamp without a manifest would have the container removed.
pub(super) async fn adopt(Authored(state): Authored, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let Some(container) = request["container"].as_str() else {
        return Err(Fault::bad_request("an adoption is `{ \"container\": \"…\", \"acceptLoss\": false }`"));
    };
    if state.mode == Mode::Observe {
        return Err(Fault::conflict("this machine is only observed, and nothing is taken over"));
    }
    let found = state.strangers.find(container).await.map_err(unavailable)?;
    let found = found.ok_or_else(|| no_stranger(&state, container))?;
    let manifest = adoptable(&found, request["acceptLoss"] == true)?;
    let spec = read(manifest)?;
    let is_new = is_new(&state, &found.name, &spec)?;
    rename(&state, &found, &found.name).await?;
    if is_new && let Err(error) = write(&state, manifest).await {
        // As far as it goes: the container is as well off under either name.
        let _ = rename(&state, &found, &found.called).await;
        return Err(error);
    }
    state.strangers.adopt(&found.id, &found.name, spec).await.map_err(unavailable)?;
    object::caught_up(&state, Kind::Container, &found.name).await;
    Ok(Json(json!({ "container": found.name, "called": found.called, "report": found.rows })))
}

fn unavailable(why: String) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "EngineUnavailable", why)
}

fn no_stranger(state: &State, name: &str) -> Fault {
    let declared = state.manifests.snapshot().declared.contains_key(&(Kind::Container, name.to_owned()));
    if declared {
        return Fault::conflict(format!("`{name}` is Piccolo's already"));
    }
    let detail = format!("the engine has no container `{name}` that is not Piccolo's");
    Fault::new(StatusCode::NOT_FOUND, "NotFound", detail).help("`docker ps` lists the names")
}

/// Returns the manifest of a container that can be taken over as it is.
fn adoptable(found: &Captured, accept_loss: bool) -> Result<&Written, Fault> {
    let name = &found.called;
    if !found.runs {
        return Err(Fault::conflict(format!("`{name}` does not run")).help("start it first, or unpause it"));
    }
    let losses: Vec<String> = found.losses().chain(found.gives_up.as_ref().map(|name| given_up(name))).collect();
    let Some(manifest) = &found.manifest else {
        return Err(Fault::conflict(format!("`{name}` can't be declared: {}", losses.join("; "))));
    };
    if losses.is_empty() || accept_loss {
        return Ok(manifest);
    }
    let detail = format!("a manifest can't say all that `{name}` is: {}", losses.join("; "));
    let help = "it runs on as it is until it is replaced, and loses this then: `--accept-loss` if that is meant";
    Err(Fault::conflict(detail).help(help))
}

fn given_up(name: &str) -> String {
    format!("Name: others on its networks reach it as `{name}`, and don't from now on until it is replaced")
}

fn read(manifest: &Written) -> Result<ContainerSpec, Fault> {
    let manifest = parse::parse(&manifest.text).map_err(Fault::invalid)?;
    let container = Container::of(&manifest).map(|it| it.spec.clone());
    container.ok_or_else(|| Fault::conflict("it is no container"))
}

/// Returns true if there is no manifest of this name yet. One that is there has to say the same, or the container would
/// be replaced at once.
fn is_new(state: &State, name: &str, spec: &ContainerSpec) -> Result<bool, Fault> {
    let snapshot = state.manifests.snapshot();
    let Some(declared) = snapshot.declared.get(&(Kind::Container, name.to_owned())) else { return Ok(true) };
    if Container::of(&declared.manifest).is_some_and(|it| it.spec == *spec) {
        return Ok(false);
    }
    let detail = format!("there is a Container manifest `{name}` already, and it says something else");
    Err(Fault::conflict(detail).about(Kind::Container, name).help("remove that manifest, or rename one of the two"))
}

async fn rename(state: &State, found: &Captured, name: &str) -> Result<(), Fault> {
    if found.called == found.name {
        return Ok(());
    }
    state.strangers.rename(&found.id, name).await.map_err(Fault::conflict)
}

async fn write(state: &State, manifest: &Written) -> Result<(), Fault> {
    let Written { kind, name, text } = manifest;
    state.manifests.put_text(*kind, name, text, Expect::Absent).await.map(drop).map_err(Fault::from)
}

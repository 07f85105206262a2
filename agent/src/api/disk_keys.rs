//! What people do with the keys of encrypted disks. A key comes and goes in bodies alone, which nobody writes down.

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use piccolo_schema::{Declared, Desired, Disk, Kind, Mode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{State, audit::Told, body, fault::Fault};

/// A disk by the name of its manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    disk: String,
}

/// A disk, and a key of it that a person typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    disk: String,
    key: Zeroizing<String>,
}

/// Opens a disk that the machine does not open by itself.
pub(super) async fn unlock(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let Typed { disk, key } = body::parsed_secret(&headers, &bytes)?;
    let manifest = declared(&state, &disk)?;
    state.disks.unlock(manifest.name(), &manifest.spec, &key).await.map_err(refused)?;
    Ok(told(&disk, json!({ "disk": disk })))
}

/// Answers with a new recovery key, this once.
pub(super) async fn recovery_key(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let Named { disk } = body::parsed(&headers, &bytes)?;
    let manifest = declared(&state, &disk)?;
    let (slot, key) = state.disks.recovery_key(manifest.name(), &manifest.spec).await.map_err(refused)?;
    Ok(told(&disk, json!({ "disk": disk, "slot": slot, "recoveryKey": &*key })))
}

/// Takes down that somebody has the recovery key.
pub(super) async fn proof(Extract(state): Extract<State>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Fault> {
    let Typed { disk, key } = body::parsed_secret(&headers, &bytes)?;
    let manifest = declared(&state, &disk)?;
    let slot = state.disks.prove_recovery(manifest.name(), &manifest.spec, &key).await.map_err(refused)?;
    let kept = manifest.spec.adopt.is_some();
    Ok(told(&disk, json!({ "disk": disk, "slot": slot, "othersKept": kept })))
}

/// Answers so that the audit names the disk.
fn told(disk: &str, answer: Value) -> Response {
    let mut response = Json(answer).into_response();
    response.extensions_mut().insert(Told { who: None, object: Some(format!("disk/{disk}")) });
    response
}

/// Finds the manifest of an encrypted disk.
fn declared(state: &State, name: &str) -> Result<Disk, Fault> {
    if state.mode == Mode::Observe {
        return Err(Fault::conflict("this machine is only observed, and no disk is changed"));
    }
    let disks: Desired<Disk> = state.manifests.snapshot().desired();
    let disk = disks.manifests.into_iter().find(|it| it.name() == name);
    let disk = disk.ok_or_else(|| Fault::not_found(Kind::Disk, name))?;
    if disk.spec.encryption.is_none() {
        return Err(Fault::conflict(format!("the manifest of `{name}` has no `encryption`")));
    }
    Ok(disk)
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "DiskKeysUnchanged", why).help("see `piccolo describe disk NAME`")
}

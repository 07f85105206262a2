//! What people do with the keys of encrypted disks. A key comes and goes in bodies alone, which nobody writes down.

use std::time::Instant;

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::TryFutureExt as _;
use piccolo_schema::{Declared, Desired, Disk, Kind, Mode};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{State, audit::Told, body, fault::Fault};
use crate::trust::{Meant, Rebound, Undone};

/// Whose keys are meant, and one of them that a person typed where one is needed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The name of a manifest.
    #[serde(default)]
    disk: Option<String>,
    /// True for the state of the system itself.
    #[serde(default)]
    state: bool,
    #[serde(default)]
    key: Option<Zeroizing<String>>,
}

impl Asked {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, Fault> {
        body::parsed_secret(headers, bytes)
    }

    /// Finds out whose keys they are.
    fn meant(&self, state: &State) -> Result<Meant, Fault> {
        match (&self.disk, self.state) {
            (Some(name), false) => {
                let spec = Box::new(declared(state, name)?.spec);
                Ok(Meant::Declared { name: name.clone(), spec })
            }
            (None, true) => Ok(Meant::State),
            _ => Err(Fault::bad_request("say either `disk`, the name of a manifest, or `state`: true")),
        }
    }

    fn typed(&self) -> Result<&Zeroizing<String>, Fault> {
        self.key.as_ref().ok_or_else(|| Fault::bad_request("`key` is missing: one that opens the disk"))
    }
}

/// Opens a disk that the machine does not open by itself.
pub(super) async fn unlock(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let asked = Asked::read(&headers, &bytes)?;
    let meant = asked.meant(&state)?;
    let Meant::Declared { name, spec } = &meant else {
        return Err(Fault::bad_request("the state is open while the system runs: say `disk`, the name of a manifest"));
    };
    let key = asked.typed()?;
    let opened = async {
        match state.disks.unlock(name, spec, key).await.map_err(refused)? {
            // It is no right one: who has a key of one partition might guess at those of others.
            Some(Undone::Partly(left)) => Err(partly(&left)),
            Some(Undone::NotAdded(left)) => Ok(Some(left)),
            None => Ok(None),
        }
    };
    match tried(&state, &meant, opened).await? {
        Some(left) => Err(not_added(left)),
        None => Ok(told(&meant, json!({}))),
    }
}

/// Answers with a new recovery key, this once.
pub(super) async fn recovery_key(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let asked = Asked::read(&headers, &bytes)?;
    let meant = asked.meant(&state)?;
    let made = state.disks.recovery_key(&meant, asked.key.as_ref()).map_err(refused);
    let (slot, key) = match asked.key {
        Some(_) => tried(&state, &meant, made).await?,
        // What the machine has opens it, and nothing is tried.
        None => made.await?,
    };
    Ok(told(&meant, json!({ "slot": slot, "recoveryKey": &*key })))
}

/// Takes down that somebody has the recovery key.
pub(super) async fn proof(Extract(state): Extract<State>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Fault> {
    let asked = Asked::read(&headers, &bytes)?;
    let meant = asked.meant(&state)?;
    let slot = tried(&state, &meant, state.disks.prove_recovery(&meant, asked.typed()?).map_err(refused)).await?;
    Ok(told(&meant, json!({ "slot": slot, "othersKept": meant.is_adopted() })))
}

/// Binds the slots of the TPM to how the machine started this time. It takes a key that opens the disk: a slot goes, and somebody
/// has to be known to have another way in.
pub(super) async fn rebind(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let asked = Asked::read(&headers, &bytes)?;
    let meant = asked.meant(&state)?;
    let rebound = tried(&state, &meant, state.disks.rebind(&meant, asked.typed()?).map_err(refused)).await?;
    if rebound.failed.is_some() {
        return Err(unfinished(&rebound));
    }
    Ok(told(&meant, json!({ "slots": rebound.moved })))
}

/// Does something by a key that was typed, unless too many were tried in vain just before.
async fn tried<T>(
    state: &State,
    meant: &Meant,
    work: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T, Fault> {
    let disk = object(meant);
    state.access.try_key(&disk, Instant::now())?;
    let done = work.await?;
    state.access.key_is_right(&disk);
    Ok(done)
}

/// Answers so that the audit names the disk.
fn told(meant: &Meant, mut answer: Value) -> Response {
    match meant {
        Meant::Declared { name, .. } => answer["disk"] = json!(name),
        Meant::State => answer["state"] = json!(true),
    }
    let mut response = Json(answer).into_response();
    response.extensions_mut().insert(Told { who: None, object: Some(object(meant)) });
    response
}

/// Names it as the audit does.
fn object(meant: &Meant) -> String {
    match meant {
        Meant::Declared { name, .. } => format!("disk/{name}"),
        Meant::State => "state".to_owned(),
    }
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

/// Says how far it came, and that it can go on.
pub(super) fn unfinished(rebound: &Rebound) -> Fault {
    Fault::new(StatusCode::CONFLICT, "DiskKeysUnfinished", rebound.to_string())
        .help("once that is mended, the same command goes on where it was broken off")
}

/// Says what a key that opens something of a disk left shut.
fn partly(left: &str) -> Fault {
    Fault::new(StatusCode::CONFLICT, "DiskPartlyUnlocked", format!("the key opens only a part of the disk: {left}"))
        .help("see `piccolo describe disk NAME` for the rest")
}

/// Says which keys a disk lacks that is open.
fn not_added(left: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "DiskKeysUnfinished", left)
        .help("the disk is open; once that is mended, the same command adds the key")
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "DiskKeysUnchanged", why)
        .help("see `piccolo describe disk NAME`, or `piccolo trust status` for the system's own disk")
}

//! What the keys of the machine rest on, and quotes of what it started.

use std::path::{Path, PathBuf};

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use piccolo_schema::API_VERSION;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{State, body, fault::Fault};
use crate::trust::{DiskKey, DiskRecovery, DiskWish, LARGEST_NONCE, Pcrs, Quote, Standing, Wish};

/// The least bytes of a nonce that nobody guesses.
const LEAST_NONCE: usize = 8;

/// What shall be signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// In hexadecimal.
    nonce: String,
    #[serde(default)]
    pcrs: Pcrs,
}

/// Answers how the keys stand, and what chip there is.
pub(super) async fn show(Extract(state): Extract<State>) -> Json<Value> {
    Json(document(&state.trust.look().await))
}

/// Answers with a quote.
pub(super) async fn quote(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Quote>, Fault> {
    let asked: Asked = body::parsed(&headers, &bytes)?;
    let nonce = HEXLOWER_PERMISSIVE.decode(asked.nonce.as_bytes()).ok();
    let nonce = nonce.filter(|it| (LEAST_NONCE..=LARGEST_NONCE).contains(&it.len()));
    let wrong = || {
        let detail = format!("`nonce` is {LEAST_NONCE} to {LARGEST_NONCE} bytes in hexadecimal, fresh for each quote");
        Fault::bad_request(detail)
    };
    if asked.pcrs.is_empty() {
        return Err(Fault::bad_request("`pcrs` names the registers to be signed, as in [0, 7]"));
    }
    Ok(Json(state.trust.quote(&nonce.ok_or_else(wrong)?, asked.pcrs).await.map_err(refused)?))
}

/// How keys shall be sealed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealing {
    #[serde(default)]
    pcrs: Pcrs,
    /// Who can open the keys when the chip can't, `age1…`.
    #[serde(default)]
    recovery: Vec<String>,
}

/// Seals every key to the chip.
pub(super) async fn seal(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let Sealing { pcrs, recovery } = body::parsed(&headers, &bytes)?;
    let recovery = recovery.iter().map(|it| it.parse()).collect::<Result<_, _>>().map_err(Fault::bad_request)?;
    let wish = Wish { pcrs, recovery };
    state.trust.seal(wish).await.map(|it| Json(document(&it))).map_err(refused)
}

/// Puts every key back into a file.
pub(super) async fn unseal(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.trust.unseal().await.map(|it| Json(document(&it))).map_err(refused)
}

/// A slot of a disk that shall open no more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forgotten {
    disk: PathBuf,
    key: Zeroizing<String>,
    slot: u8,
}

/// Lets the chip open an encrypted disk.
pub(super) async fn enrol(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let wish: DiskWish = body::parsed(&headers, &bytes)?;
    is_path(&wish.disk)?;
    let slot = state.trust.enrol(wish).await.map_err(refused)?;
    Ok(Json(json!({ "slot": slot })))
}

/// Answers with a recovery key of a disk, this once.
pub(super) async fn recovery(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<DiskRecovery>, Fault> {
    let at: DiskKey = body::parsed(&headers, &bytes)?;
    is_path(&at.disk)?;
    state.trust.recovery(at).await.map(Json).map_err(refused)
}

/// Wipes a slot of a disk.
pub(super) async fn forget(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let Forgotten { disk, key, slot } = body::parsed(&headers, &bytes)?;
    is_path(&disk)?;
    state.trust.forget(DiskKey { disk, key }, slot).await.map_err(refused)?;
    Ok(Json(json!({ "slot": slot })))
}

/// A disk is named by a whole path, so it is never taken for something else than one.
fn is_path(disk: &Path) -> Result<(), Fault> {
    let wrong = || Fault::bad_request("`disk` is an absolute path, as in /dev/disk/by-id");
    disk.is_absolute().then_some(()).ok_or_else(wrong)
}

/// Writes it down as the API shows it.
fn document(standing: &Standing) -> Value {
    let mut document = json!(standing);
    document["apiVersion"] = json!(API_VERSION);
    document["kind"] = json!("Trust");
    document["conditions"] = json!([{
        "type": "TrustLevel",
        "status": if standing.is_well() { "True" } else { "False" },
        "reason": standing.level.reason(),
        "message": standing.message,
    }]);
    document
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TrustUnavailable", why).help("see `piccolo trust status`")
}

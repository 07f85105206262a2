//! What the keys of the machine rest on, and quotes of what it started.

use std::path::{Path, PathBuf};

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use futures_util::future::BoxFuture;
use piccolo_schema::API_VERSION;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{State, body, disk_keys::unfinished, fault::Fault};
use crate::trust::{
    DiskKey, DiskRebinding, DiskRecovery, DiskWish, LARGEST_NONCE, Next, NextFile, Pcrs, Quote, Rebinding, Rebound,
    Standing, StateStanding, Why, Wish,
};

/// The least bytes of a nonce that nobody guesses.
const LEAST_NONCE: usize = 8;

/// Knows what the machine's keys rest on. An error is a sentence for people.
pub trait Trust: Send + Sync {
    /// Says how the keys stand, and what chip there is.
    fn look(&self) -> BoxFuture<'_, Standing>;
    /// Says how the encrypted state of the system stands, where it has one, as it was last seen.
    fn state(&self) -> Option<StateStanding>;
    /// Has the chip sign what these registers hold, with these bytes of whoever asks.
    fn quote<'a>(&'a self, nonce: &'a [u8], pcrs: Pcrs) -> BoxFuture<'a, Result<Quote, String>>;
    /// Says what changed since the last good start.
    fn why(&self) -> BoxFuture<'_, Result<Why, String>>;
    /// Seals every key to the chip.
    fn seal(&self, wish: Wish) -> BoxFuture<'_, Result<Standing, String>>;
    /// Binds the keys to this start.
    fn reseal(&self, wish: Rebinding) -> BoxFuture<'_, Result<Standing, String>>;
    /// Puts every key back into a file.
    fn unseal(&self) -> BoxFuture<'_, Result<Standing, String>>;
    /// Lets the chip open an encrypted disk, and returns the slot.
    fn enrol(&self, wish: DiskWish) -> BoxFuture<'_, Result<u8, String>>;
    /// Binds the slots of an encrypted disk to this start, and returns which, also where it went no further.
    fn rebind(&self, wish: DiskRebinding) -> BoxFuture<'_, Result<Rebound, String>>;
    /// Makes a recovery key of an encrypted disk.
    fn recovery(&self, at: DiskKey) -> BoxFuture<'_, Result<DiskRecovery, String>>;
    /// Wipes a slot of an encrypted disk; the key has to open another one.
    fn forget(&self, at: DiskKey, slot: u8) -> BoxFuture<'_, Result<(), String>>;
}

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

/// Answers what changed since the last good start.
pub(super) async fn why(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let why = state.trust.why().await.map_err(refused)?;
    let mut document = json!(why);
    document["apiVersion"] = json!(API_VERSION);
    document["kind"] = json!("TrustWhy");
    Ok(Json(document))
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

/// How keys shall be bound anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resealing {
    #[serde(default)]
    pcrs: Option<Pcrs>,
    /// The recovery key, where the chip does not open the keys.
    #[serde(default)]
    recovery: Option<Zeroizing<String>>,
    /// The file with the kernel, or its image, that starts next.
    #[serde(default)]
    image: Option<PathBuf>,
    /// Other files that GRUB reads then.
    #[serde(default)]
    files: Vec<NextFile>,
    /// The whole command line of the kernel, if GRUB gives it another one then.
    #[serde(default)]
    cmdline: Option<String>,
}

/// Binds the keys to this start.
pub(super) async fn reseal(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let Resealing { pcrs, recovery, image, files, cmdline } = body::parsed_secret(&headers, &bytes)?;
    let next = match image {
        Some(path) => {
            let read = spawn_blocking(move || read_next(&path, &files, cmdline));
            Some(read.await.map_err(|_| ends())??)
        }
        None if !files.is_empty() || cmdline.is_some() => {
            return Err(Fault::bad_request("name the kernel that starts next with them (image)"));
        }
        None => None,
    };
    let wish = Rebinding::new(pcrs, recovery.as_deref().map(String::as_str), next).map_err(Fault::bad_request)?;
    state.trust.reseal(wish).await.map(|it| Json(document(&it))).map_err(refused)
}

/// Binds the slots of an encrypted disk to this start.
pub(super) async fn rebind(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let wish: DiskRebinding = body::parsed_secret(&headers, &bytes)?;
    is_path(&wish.disk)?;
    let rebound = state.trust.rebind(wish).await.map_err(refused)?;
    if rebound.failed.is_some() {
        return Err(unfinished(&rebound));
    }
    Ok(Json(json!({ "slots": rebound.moved })))
}

fn read_next(image: &Path, files: &[NextFile], cmdline: Option<String>) -> Result<Next, Fault> {
    if let Some(path) = files.iter().map(|it| it.path.as_path()).chain([image]).find(|it| !it.is_absolute()) {
        let how = "write an absolute path, as the daemon runs in another directory";
        return Err(Fault::bad_request(format!("{}: {how}", path.display())));
    }
    Next::open(image, files, cmdline).map_err(|error| Fault::bad_request(error.to_string()))
}

fn ends() -> Fault {
    refused("the daemon ends".to_owned())
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
    let wish: DiskWish = body::parsed_secret(&headers, &bytes)?;
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
    let at: DiskKey = body::parsed_secret(&headers, &bytes)?;
    is_path(&at.disk)?;
    state.trust.recovery(at).await.map(Json).map_err(refused)
}

/// Wipes a slot of a disk.
pub(super) async fn forget(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let Forgotten { disk, key, slot } = body::parsed_secret(&headers, &bytes)?;
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
    let level = json!({
        "type": "TrustLevel",
        "status": if standing.is_well() { "True" } else { "False" },
        "reason": standing.level.reason(),
        "message": standing.message,
    });
    let changed = standing
        .start()
        .map(|message| json!({ "type": "StartChanged", "status": "True", "reason": "KeysShut", "message": message }));
    let notes = standing.state.iter().flat_map(|it| &it.notes);
    let notes =
        notes.map(|it| json!({ "type": it.name, "status": "True", "reason": it.reason, "message": it.message }));
    document["conditions"] = json!([Some(level), changed].into_iter().flatten().chain(notes).collect::<Vec<_>>());
    document
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::SERVICE_UNAVAILABLE, "TrustUnavailable", why).help("see `piccolo trust status`")
}

//! The system of a stick: where it can be installed, leave to erase a disk for it, and the installation.

use axum::{
    Json,
    extract::State as Extract,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use piccolo_schema::{Mode, install::Mirror};
use serde_json::Value;

use super::{
    State, body,
    fault::Fault,
    stream::{Ending, lines},
};
use crate::install::Order;

/// One document a line.
const LINES: &str = "application/x-ndjson";

/// Installs the system of a stick. An error is a sentence for people.
pub trait Installer: Send + Sync {
    /// Lists all disks with what can be done with them.
    fn look(&self) -> BoxFuture<'_, Result<Value, String>>;
    /// Makes leave to erase a disk, if its serial number was typed.
    fn ticket<'a>(&'a self, disk: &'a str, typed: &'a str) -> BoxFuture<'a, Result<Value, String>>;
    /// Installs, and tells how far it is. Dropped, it goes on.
    fn install(&self, order: Order) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>>;
    /// Takes a disk in the place of a lost one of two that this system lies on, and tells how far it is. Dropped, it goes on.
    fn replace(&self, with: Mirror) -> BoxFuture<'_, Result<BoxStream<'static, Value>, String>>;
}

/// Lists the disks with what can be done with them.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.installer.look().await.map(Json).map_err(refused)
}

/// Makes leave to erase a disk, whose serial number a person has typed.
pub(super) async fn ticket(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let (Some(disk), Some(serial)) = (request["disk"].as_str(), request["serial"].as_str()) else {
        let fault = Fault::bad_request("leave is asked for by `{ \"disk\": \"…\", \"serial\": \"…\" }`");
        return Err(fault.help("`GET /install` shows the serial numbers"));
    };
    writable(&state)?;
    state.installer.ticket(disk, serial).await.map(Json).map_err(refused)
}

/// Installs, and tells how far it is, a line each time. One has the recovery key; the last says that it is
/// complete, or why it is not. It goes on when nobody listens any more; then the key is on the machine's screen alone.
pub(super) async fn install(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    ending: Ending,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let order: Order = body::parsed(&headers, &bytes)?;
    writable(&state)?;
    let told = state.installer.install(order).await.map_err(refused)?;
    Ok(lines(told, LINES, None, ending))
}

/// Takes a disk in the place of a lost one of two that this system lies on, and tells how far it is, a line each time. The last
/// says that it is complete, or why it is not. It goes on when nobody listens any more.
pub(super) async fn replace(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    ending: Ending,
    bytes: Bytes,
) -> Result<Response, Fault> {
    let with: Mirror = body::parsed(&headers, &bytes)?;
    writable(&state)?;
    let told = state.installer.replace(with).await.map_err(refused)?;
    Ok(lines(told, LINES, None, ending))
}

fn writable(state: &State) -> Result<(), Fault> {
    if state.mode == Mode::Observe {
        return Err(Fault::conflict("this machine is only observed, and nothing is installed"));
    }
    Ok(())
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "NotInstalled", why)
}

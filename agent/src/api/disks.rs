//! The disks of the machine, and leave to erase one.

use axum::{Json, extract::State as Extract, http::StatusCode};
use bytes::Bytes;
use piccolo_schema::Mode;
use serde_json::{Value, json};

use super::{State, body, fault::Fault};

/// Lists all disks with what is on them.
pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let disks = state.disks.list().await;
    let disks = disks.map_err(|why| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "DisksUnavailable", why))?;
    Ok(Json(json!({ "items": disks })))
}

/// Makes a ticket for a disk whose serial number a person has typed.
pub(super) async fn ticket(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let (Some(disk), Some(serial)) = (request["disk"].as_str(), request["serial"].as_str()) else {
        let fault = Fault::bad_request("a ticket is asked for by `{ \"disk\": \"…\", \"serial\": \"…\" }`");
        return Err(fault.help("`GET /disks` shows the serial numbers"));
    };
    if state.mode == Mode::Observe {
        return Err(Fault::conflict("this machine is only observed, and no disk is erased"));
    }
    let ticket = state.disks.wipe_ticket(disk, serial).await.map_err(Fault::conflict)?;
    Ok(Json(json!(ticket)))
}

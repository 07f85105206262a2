//! The factory reset: what there is to be reset, leave to do it, the order for the next start, and how it is taken back.

use axum::{Json, extract::State as Extract, http::StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{State, body, fault::Fault};
use crate::reset::{Asked, ResetOrder};

/// Has the machine become as new. An error is a sentence for people.
pub trait Resetter: Send + Sync {
    /// Shows what there is to be reset, and what is ordered.
    fn look(&self) -> BoxFuture<'_, Result<Value, String>>;
    /// Gives leave, if what was typed is right.
    fn ticket<'a>(&'a self, asked: &'a Asked) -> BoxFuture<'a, Result<Value, String>>;
    /// Has the next start do what leave was given for.
    fn order<'a>(&'a self, ticket: &'a str) -> BoxFuture<'a, Result<Value, String>>;
    /// Starts the machine anew.
    fn restart(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Takes the order back, and says whether there was one.
    fn cancel(&self) -> BoxFuture<'_, Result<bool, String>>;
    /// Returns what the next start does.
    fn pending(&self) -> Option<ResetOrder>;
}

/// Shows what there is to be reset, and what is ordered.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let mut seen = state.resetter.look().await.map_err(refused)?;
    if let Some(order) = state.resetter.pending() {
        seen["text"] = order.words().into();
    }
    Ok(Json(seen))
}

/// Gives leave for what a person has typed.
pub(super) async fn ticket(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let form = "leave is asked for by `{ \"machine\": \"…\", \"data\": \"keep\" }`, or `\"data\": { \"erase\": [{ \"disk\": \"…\", \"serial\": \"…\" }] }`";
    let help = "`GET /reset` shows the name of the machine and the serial numbers of its disks";
    let asked: Asked = serde_json::from_value(body::json(&bytes)?)
        .map_err(|error| Fault::bad_request(format!("{form} ({error})")).help(help))?;
    state.resetter.ticket(&asked).await.map(Json).map_err(refused)
}

/// Has the next start do what leave was given for, and starts anew at once if that is asked for.
pub(super) async fn order(Extract(state): Extract<State>, bytes: Bytes) -> Result<Json<Value>, Fault> {
    let request = body::json(&bytes)?;
    let Some(ticket) = request["ticket"].as_str() else {
        let fault = Fault::bad_request("a reset is ordered by `{ \"ticket\": \"…\", \"restart\": false }`");
        return Err(fault.help("`POST /reset/tickets` makes a ticket"));
    };
    let ordered = state.resetter.order(ticket).await.map_err(refused)?;
    if request["restart"] == true {
        state.resetter.restart().await.map_err(|why| not_restarted(&why))?;
    }
    Ok(Json(ordered))
}

/// Takes the order back.
pub(super) async fn cancel(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    let was_ordered = state.resetter.cancel().await.map_err(refused)?;
    Ok(Json(json!({ "cancelled": was_ordered })))
}

fn refused(why: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "NotReset", why)
}

fn not_restarted(why: &str) -> Fault {
    let detail = format!("the reset is ordered, but the machine does not start anew by itself: {why}");
    Fault::new(StatusCode::CONFLICT, "NotRestarted", detail)
        .help("its next start resets it; `piccolo reset --cancel` takes that back")
}

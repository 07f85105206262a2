//! Links of the machine, and a change of them that waits to be confirmed.

use axum::{Extension, Json, extract::State as Extract, http::StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Arrival, Peer, State, body, fault::Fault};

/// The links of the machine. An error is a sentence for people.
pub trait Nets: Send + Sync {
    /// Shows links, addresses, routes and name servers, and which manifest each is from.
    fn show(&self) -> BoxFuture<'_, Result<Value, String>>;
    /// Lets a change on trial stay: the one of this name, or whichever it is if none is named. Without an arrival a person on
    /// this machine says so; with one, its connection has to show that the machine is reached.
    fn confirm<'a>(
        &'a self,
        trial: Option<&'a str>,
        arrival: Option<Arrival>,
    ) -> BoxFuture<'a, Result<(), Unconfirmed>>;
    /// Has a change that was put back be tried again.
    fn retry(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a change of links is not confirmed, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// Not yet: the change is not in force, or the connection is older than it. A later request may well count.
    Early(String),
    /// Nor will it be by asking again.
    Refused(String),
}

/// The reason why a request that comes a moment later may count.
const EARLY: &str = "TooEarly";

/// Shows links, addresses, routes and name servers, and which manifest each is from.
pub(super) async fn show(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.nets.show().await.map(Json).map_err(unable)
}

/// Lets a change of links stay: the one that the body names, or whichever it is. Over a network the connection is the proof
/// that the machine is reached, so it has to be newer than the change. On this machine whoever asks says so himself.
pub(super) async fn confirm(
    Extract(state): Extract<State>,
    Extension(peer): Extension<Peer>,
    arrival: Option<Extension<Arrival>>,
    bytes: Bytes,
) -> Result<Json<Value>, Fault> {
    let wish = if bytes.is_empty() { Value::Null } else { body::json(&bytes)? };
    let arrival = match (peer, arrival) {
        (Peer::User(_), _) => None,
        (Peer::Remote(_), Some(Extension(arrival))) => Some(arrival),
        (Peer::Remote(_), None) => return Err(unable("Nobody knows how this request came".to_owned())),
    };
    match state.nets.confirm(wish["trial"].as_str(), arrival).await {
        Ok(()) => Ok(Json(json!({ "confirmed": true }))),
        Err(Unconfirmed::Early(why)) => Err(Fault::new(StatusCode::CONFLICT, EARLY, why)),
        Err(Unconfirmed::Refused(why)) => Err(unable(why)),
    }
}

/// Has a change that was put back be tried again.
pub(super) async fn retry(Extract(state): Extract<State>) -> Result<Json<Value>, Fault> {
    state.nets.retry().await.map(|()| Json(json!({ "retried": true }))).map_err(unable)
}

fn unable(sentence: String) -> Fault {
    Fault::new(StatusCode::CONFLICT, "NotPossible", sentence)
}

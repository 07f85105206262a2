//! The journal, by the page and as it grows.

use std::collections::VecDeque;

use axum::{
    Json,
    extract::State as Extract,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use piccolo_schema::{API_VERSION, Kind};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    State,
    fault::Fault,
    params::Params,
    stream::{self as lines, Ending},
};
use crate::store::{self, Event, EventQuery};

/// How many events a page holds that does not say so itself.
const PAGE: usize = 100;

pub(super) async fn read(Extract(state): Extract<State>, params: Params, ending: Ending) -> Result<Response, Fault> {
    let query = query(&params)?;
    if !params.flag("follow")? {
        let events = state.store.events(&query);
        let next = events.last().map(|event| event.id).or(query.since).unwrap_or(0);
        let page = json!({ "apiVersion": API_VERSION, "kind": "EventList", "items": events, "next": next });
        return Ok(Json(page).into_response());
    }
    let (events, receiver) = state.store.follow_events(&query);
    let last = events.last().map(|event| event.id).or(query.since);
    let behind = query.since.is_some();
    let follow = Follow {
        store: state.store,
        last,
        query,
        behind: behind && !events.is_empty(),
        pending: events.into(),
        receiver,
    };
    Ok(lines::lines(documents(follow), "application/x-ndjson", None, ending))
}

fn query(params: &Params) -> Result<EventQuery, Fault> {
    let kind = params
        .text("kind")
        .map(|word| Kind::from_word(word).ok_or_else(|| Fault::bad_request(format!("there is no kind `{word}`"))));
    Ok(EventQuery {
        since: params.number("since")?,
        limit: params.number("limit")?.unwrap_or(PAGE),
        kind: kind.transpose()?,
        name: params.text("name").map(str::to_owned),
    })
}

struct Follow {
    store: store::Reader,
    query: EventQuery,
    /// The newest event that the client has.
    last: Option<u64>,
    pending: VecDeque<Event>,
    /// Whether the journal may hold more than was read of it.
    behind: bool,
    receiver: Receiver<Arc<Event>>,
}

fn documents(follow: Follow) -> impl Stream<Item = Value> + Send {
    stream::unfold(follow, async |mut follow| {
        loop {
            if let Some(event) = follow.pending.pop_front() {
                return Some((json!(event), follow));
            }
            if follow.behind {
                follow.catch_up();
                continue;
            }
            match follow.receiver.recv().await {
                Ok(event) => follow.take(&event),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => follow.behind = true,
            }
        }
    })
}

impl Follow {
    fn take(&mut self, event: &Event) {
        let wanted = self.query.kind.is_none_or(|kind| event.kind == Some(kind))
            && self.query.name.as_ref().is_none_or(|name| event.name.as_ref() == Some(name));
        if wanted && self.last.is_none_or(|last| event.id > last) {
            self.last = Some(event.id);
            self.pending.push_back(event.clone());
        }
    }

    /// Reads what a slow client missed, which the journal still has.
    fn catch_up(&mut self) {
        let query = EventQuery { since: self.last, limit: EventQuery::MAX, ..self.query.clone() };
        let events = self.store.events(&query);
        self.behind = !events.is_empty();
        self.last = events.last().map(|event| event.id).or(self.last);
        self.pending.extend(events);
    }
}

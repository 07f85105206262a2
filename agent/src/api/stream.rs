//! Answers that go on: one JSON document a line.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Tells streams when the server stops, and the server which of those that outlive their request still go on.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    stop: CancellationToken,
    /// Ends what goes on in the name of somebody who may no more.
    barred: CancellationToken,
    streams: TaskTracker,
}

impl Ending {
    pub(super) fn new(stop: CancellationToken, streams: TaskTracker) -> Self {
        Self { stop, barred: CancellationToken::new(), streams }
    }

    /// Returns it for somebody for whom all ends with this.
    pub(super) fn of(&self, barred: CancellationToken) -> Self {
        Self { barred, ..self.clone() }
    }

    /// Waits until the server stops, or this client may no more.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let (stop, barred) = (self.stop.clone(), self.barred.clone());
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = barred.cancelled() => {}
            }
        }
    }

    /// Says which of the two it was.
    pub(super) fn why(&self) -> &'static str {
        if self.barred.is_cancelled() {
            "the token or session that this belongs to has ended"
        } else {
            "piccolod stops"
        }
    }

    /// Lets the end of the server wait until this is dropped.
    pub(super) fn hold(&self) -> TaskTrackerToken {
        self.streams.token()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ending {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Sends documents, one a line, until they end, the time is over or the server stops.
pub(super) fn lines(
    documents: impl Stream<Item = Value> + Send + 'static,
    media: &'static str,
    time: Option<Duration>,
    ending: Ending,
) -> Response {
    let over = async move {
        tokio::select! {
            () = ending.stopped() => {}
            () = sleep(time) => {}
        }
    };
    let lines = documents.take_until(Box::pin(over)).map(|document| {
        let mut line = document.to_string();
        line.push('\n');
        Ok::<_, Infallible>(Bytes::from(line))
    });
    ([(header::CONTENT_TYPE, media)], Body::from_stream(lines)).into_response()
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

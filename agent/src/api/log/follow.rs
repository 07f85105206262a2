//! What a container of a manifest prints, over its restarts and replacements.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use piccolo_schema::Kind;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;

use super::super::State;
use crate::{
    clock,
    console::{self, Excerpt},
};

/// How long it rests after a container's output has ended; twice as long each time that nothing new came.
const REST: Duration = Duration::from_millis(250);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What an engine prints, or a sentence for people.
pub(super) type Printed = BoxStream<'static, Result<Bytes, String>>;

/// Follows a manifest's container, whichever that is.
struct Follow {
    state: State,
    name: String,
    until: Option<Timestamp>,
    timestamps: bool,
    /// The container that is read.
    id: String,
    printed: Printed,
    /// What was shown up to here is not shown again.
    shown: Option<Timestamp>,
    /// The time of the newest line; when it began as long as there was none.
    newest: Result<Timestamp, Timestamp>,
    rest: Duration,
}

/// Returns what is asked of an engine for this: each line with its time, so that none is shown twice.
pub(super) fn dated(excerpt: &Excerpt) -> Excerpt {
    Excerpt { timestamps: true, ..excerpt.clone() }
}

/// Goes on from what a container prints to what the next one prints, until the manifest goes.
pub(super) fn follow(
    state: State,
    name: String,
    id: String,
    printed: Printed,
    excerpt: &Excerpt,
) -> impl Stream<Item = Result<Bytes, String>> + Send + 'static {
    let Excerpt { until, timestamps, .. } = *excerpt;
    let newest = Err(clock::now());
    let follow = Follow { state, name, until, timestamps, id, printed, shown: None, newest, rest: REST };
    stream::unfold(follow, async |mut follow| {
        let line = follow.next().await?;
        Some((Ok(line), follow))
    })
}

impl Follow {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.printed.next().await {
                Some(Ok(line)) => match self.show(line) {
                    Some(line) => return Some(line),
                    None => continue,
                },
                // The engine may have ended, and come back.
                Some(Err(_)) | None => self.again().await?,
            }
        }
    }

    /// Returns the line as it is to be shown; none if it was.
    fn show(&mut self, line: Bytes) -> Option<Bytes> {
        // The rest of a very long line on a terminal has no time of its own.
        let Some((time, text)) = console::dated(&line) else { return Some(line) };
        if self.shown.is_some_and(|shown| time <= shown) {
            return None;
        }
        self.newest = Ok(self.newest.map_or(time, |newest| newest.max(time)));
        self.rest = REST;
        Some(if self.timestamps { line } else { text })
    }

    /// Waits until there may be more, and opens that. None if there will never be.
    async fn again(&mut self) -> Option<()> {
        if self.until.is_some_and(|until| until < clock::now()) {
            return None;
        }
        tokio::time::sleep(self.rest).await;
        self.rest = (self.rest * 2).min(LONGEST_REST);
        self.id = prints_again(&self.state, &self.name, &self.id).await?;
        self.shown = Some(self.newest.unwrap_or_else(|began| began));
        let excerpt = Excerpt { follow: true, tail: None, since: self.shown, until: self.until, timestamps: true };
        self.printed = self.state.logs.read(&self.id, &excerpt);
        Some(())
    }
}

/// Waits until a manifest has another container than this one, or one that does not lie still, and returns it.
async fn prints_again(state: &State, name: &str, known: &str) -> Option<String> {
    let mut is_news = false;
    loop {
        // Followed before it is looked at, so that no change is missed in between.
        let Some((_, mut changes)) = state.store.since(state.store.counters().resource_version) else {
            tokio::task::yield_now().await;
            continue;
        };
        let object = state.store.get(Kind::Container, name)?;
        if let Some(id) = object["status"]["containerId"].as_str()
            && (is_news || id != known || !lies_still(&object))
        {
            return Some(id.to_owned());
        }
        is_news = loop {
            match changes.recv().await {
                Ok(change) if change.kind == Kind::Container && change.name == name => break true,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break true,
                Err(RecvError::Closed) => return None,
            }
        };
    }
}

/// Returns true if a container does not run and is not about to.
fn lies_still(object: &Value) -> bool {
    matches!(object["status"]["state"].as_str(), Some("created" | "exited" | "dead"))
}

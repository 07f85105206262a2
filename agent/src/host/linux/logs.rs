//! What containers write, from the engine.

use bollard::{
    Docker as Client,
    query_parameters::{LogsOptions, LogsOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use jiff::Timestamp;

use super::error;
use crate::{console::Excerpt, host::HostError};

/// Reads a part of what a container wrote.
pub(super) fn read(
    client: Result<Client, HostError>,
    name: String,
    excerpt: &Excerpt,
) -> impl Stream<Item = Result<Bytes, HostError>> + Send + 'static {
    let options = options(excerpt);
    stream::once(future::ready(client))
        .map_ok(move |client| {
            let parts = client.logs(&name, Some(options.clone()));
            parts.map(|part| {
                part.map(bollard::container::LogOutput::into_bytes).map_err(|error| error::translate(&error))
            })
        })
        .try_flatten()
}

fn options(excerpt: &Excerpt) -> LogsOptions {
    let tail = excerpt.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&tail);
    let options = options.follow(excerpt.follow).timestamps(excerpt.timestamps);
    // To the engine, 0 means no bound.
    let options = options.since(excerpt.since.map_or(0, |since| seconds(since).max(1)));
    options.until(excerpt.until.map_or(0, |until| seconds(until).saturating_add(1).max(1))).build()
}

fn seconds(instant: Timestamp) -> i32 {
    let seconds = instant.as_second();
    i32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_never_mistaken_for_none() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let bounds = |excerpt: &Excerpt| (options(excerpt).since, options(excerpt).until);
        assert_eq!(bounds(&Excerpt::default()), (0, 0));
        for (since, until, expected) in
            [(0, 0, (1, 1)), (-5, -5, (1, 1)), (100, 200, (100, 201)), (1 << 36, 1 << 36, (i32::MAX, i32::MAX))]
        {
            let excerpt = Excerpt { since: Some(at(since)), until: Some(at(until)), ..Excerpt::default() };
            assert_eq!(bounds(&excerpt), expected);
        }
    }
}

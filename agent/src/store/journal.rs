//! The journal in memory: the newest events as they are on disk, so that 10,000 of them stay small.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast;

use super::view::{Event, EventQuery};

/// How many events are kept.
pub(super) const KEPT: usize = 10_000;
/// How many are dropped at once, so that pruning is rare.
const SLACK: usize = 500;

/// Events with consecutive numbers.
pub(super) struct Journal {
    /// The number of the first line; the number of the next event when there is none.
    first: u64,
    lines: VecDeque<Box<[u8]>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Journal {
    pub(super) fn new(first: u64, lines: VecDeque<Box<[u8]>>) -> Self {
        Self { first: first.max(1), lines, live: broadcast::channel(256).0 }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Returns the number that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Gives the event its number and appends it.
    pub(super) fn append(&mut self, mut event: Event) {
        event.id = self.next();
        let Ok(line) = serde_json::to_vec(&event) else { return };
        self.lines.push_back(line.into_boxed_slice());
        if self.lines.len() >= KEPT + SLACK {
            self.lines.drain(..SLACK);
            self.first += SLACK as u64;
        }
        // Nobody listening is fine.
        let _ = self.live.send(Arc::new(event));
    }

    /// Returns the stored line of this event.
    pub(super) fn line(&self, id: u64) -> Option<&[u8]> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.lines.get(index).map(AsRef::as_ref)
    }

    /// Returns what the query asks for, the newest last.
    pub(super) fn read(&self, query: &EventQuery) -> Vec<Event> {
        let Some(since) = query.since else {
            let newest = self.lines.iter().rev().filter_map(|line| wanted(line, query)).take(query.limit());
            let mut events: Vec<Event> = newest.collect();
            events.reverse();
            return events;
        };
        let skip = usize::try_from(since.saturating_add(1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.lines.iter().skip(skip).filter_map(|line| wanted(line, query)).take(query.limit()).collect()
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }
}

fn wanted(line: &[u8], query: &EventQuery) -> Option<Event> {
    serde_json::from_slice::<Event>(line).ok().filter(|event| query.takes(event))
}

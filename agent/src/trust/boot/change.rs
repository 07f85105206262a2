//! What differs between two starts, part by part.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use serde::Serialize;

use super::{Event, Part, Story};

/// How much of a digest is shown: enough to tell two apart.
const SHOWN: usize = 6;
/// The most differences of one part that are told.
const MOST: usize = 32;

/// A part that was measured as something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Into which register.
    pub pcr: u8,
    /// What it is.
    pub part: Part,
    /// What was measured then and is not any more.
    pub before: Vec<String>,
    /// What is measured now and was not then.
    pub after: Vec<String>,
}

/// Returns what differs, register by register. How far a start has come is no difference.
pub(super) fn between(before: &Story, after: &Story) -> Vec<Change> {
    (0..24).flat_map(|pcr| of_register(pcr, &of(before, pcr), &of(after, pcr))).collect()
}

fn of(story: &Story, pcr: u8) -> Vec<&Event> {
    story.events.iter().filter(|it| it.pcr == pcr && it.part != Part::Phase).collect()
}

fn of_register(pcr: u8, before: &[&Event], after: &[&Event]) -> Vec<Change> {
    let (gone, new) = (without(before, after), without(after, before));
    let parts: BTreeSet<Part> = gone.iter().chain(&new).map(|it| it.part).collect();
    let told = |all: &[&Event], part: Part| {
        all.iter().filter(|it| it.part == part).take(MOST).map(|it| shown(it)).collect::<Vec<_>>()
    };
    if parts.is_empty() {
        let digests = |all: &[&Event]| all.iter().map(|it| it.digest).collect::<Vec<_>>();
        let is_moved = digests(before) != digests(after);
        let moved = Change { pcr, part: Part::Order, before: Vec::new(), after: Vec::new() };
        return is_moved.then_some(moved).into_iter().collect();
    }
    parts.into_iter().map(|part| Change { pcr, part, before: told(&gone, part), after: told(&new, part) }).collect()
}

/// Returns those of the first that the second has not, one for one.
fn without<'a>(all: &[&'a Event], others: &[&Event]) -> Vec<&'a Event> {
    let mut others: Vec<_> = others.iter().map(|it| (it.part, it.digest)).collect();
    let mut is_left = |event: &&Event| match others.iter().position(|it| *it == (event.part, event.digest)) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    };
    all.iter().copied().filter(|event| is_left(event)).collect()
}

fn shown(event: &Event) -> String {
    let digest = HEXLOWER.encode(&event.digest[..SHOWN]);
    if event.detail.is_empty() { digest } else { format!("{} ({digest})", event.detail) }
}

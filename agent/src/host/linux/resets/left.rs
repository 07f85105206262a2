//! What the machine and the start that resets it leave for each other, and how a start is told from others.

use std::{fs, io, path::Path};

use super::{
    super::installs::{keys::show, running},
    ESP, Mark,
};
use crate::{
    file,
    host::{HostError, ResetDone, ResetOrder, RunsFrom},
};

/// What is left for the new machine to tell, where a state keeps what it remembers.
pub(super) const DONE: &str = "reset.json";
/// The digest of the order that the machine gave, beside it.
pub(super) const ORDERED: &str = "reset-order";

/// Shows something of the reset on the screens of the machine.
pub fn show_of_reset(text: &str) {
    show("reset", text);
}

/// Returns why nothing came of the last reset, if that was left to tell. Blocks.
pub fn reset_word() -> Option<String> {
    if running().from == RunsFrom::Disk { Mark::on(Path::new(ESP)).word() } else { None }
}

/// Returns what the next start resets, if it does. Blocks.
///
/// # Errors
/// When the first partition can't be read.
pub fn reset_pending() -> Result<Option<ResetOrder>, HostError> {
    if running().from == RunsFrom::Disk { Mark::on(Path::new(ESP)).read() } else { Ok(None) }
}

/// Returns what the last reset left to tell, once. Blocks.
pub fn reset_done(state: &Path) -> Option<ResetDone> {
    let path = state.join(DONE);
    let done = serde_json::from_slice(&fs::read(&path).ok()?).ok();
    drop(fs::remove_file(&path));
    done
}

/// Has the state know an order, so that the start which does it believes that the machine gave it. Blocks.
///
/// # Errors
/// When it can't be written down.
pub fn keep_order(state: &Path, order: &ResetOrder) -> io::Result<()> {
    file::replace(&state.join(ORDERED), order.digest().as_bytes())
}

/// Has the state know of no order. Blocks.
///
/// # Errors
/// When what it knows can't be removed.
pub fn forget_order(state: &Path) -> io::Result<()> {
    file::remove(&state.join(ORDERED))
}

/// Returns true in the rescue.
pub fn is_rescue() -> bool {
    is_started_as("piccolo.rescue")
}

/// Returns true if the kernel was started with this word.
pub(super) fn is_started_as(word: &str) -> bool {
    let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    words.split_whitespace().any(|it| it.split('=').next() == Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
    fn what_was_done_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reset_done(dir.path()), None);
        let done = ResetDone { erased: vec!["a disk".to_owned()], ..ResetDone::default() };
        fs::write(dir.path().join("reset.json"), serde_json::to_vec(&done).unwrap()).unwrap();
        assert_eq!(reset_done(dir.path()), Some(done));
        assert_eq!(reset_done(dir.path()), None);
    }
}

//! The partition of the state beside the system that runs, whether it is open or not.

use std::path::Path;

use super::{super::partition::place, SHORT, live::slots, parts, run};
use crate::host::{HostError, Reason, STATE};

/// What a partition holds that is one half of something.
const HALF: &str = "linux_raid_member";
/// What the halves of a state are together, by our rules of udev.
const WHOLE: &str = "/dev/piccolo/state";
/// The most letters of a word that `lsblk` tells.
const LONGEST: usize = 64;
/// How long it is waited for that: longer than a start waits for the other half.
const PATIENCE: &str = "--timeout=60";

/// The partition of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::linux) struct StatePart {
    /// Where the state is: in this partition, or in what it is one half of.
    pub(in crate::host::linux) path: String,
    /// The partition.
    pub(in crate::host::linux) part: String,
    /// Its UUID in the table.
    pub(in crate::host::linux) id: String,
}

/// Finds it on the disk that the system runs from.
pub(in crate::host::linux) async fn state() -> Result<StatePart, HostError> {
    let (system, _) = slots().await?;
    let strange = || HostError::new(Reason::Failed, format!("The disk of {system} is not known to the kernel"));
    let disk = place(Path::new(&system)).ok_or_else(strange)?.disk;
    let found = parts::of(&disk).await?.into_iter().find(|it| it.name == STATE);
    let none = || HostError::new(Reason::Refused, format!("/dev/{disk}, from which this system runs, has no state"));
    let part = found.ok_or_else(none)?.path;
    let (id, holds) = (told(&part, "PARTUUID").await?, told(&part, "FSTYPE").await?);
    if !is_uuid(&id) {
        return Err(HostError::new(Reason::Failed, format!("`lsblk` tells no UUID of the partition {part}")));
    }
    if holds != HALF {
        return Ok(StatePart { path: part.clone(), part, id });
    }
    // Where the state is not the root, nothing waited for it before.
    if run("udevadm", ["wait", PATIENCE, WHOLE], SHORT).await.is_err() {
        let message = format!("{part} is one half of a state, which was not joined with the other one");
        return Err(HostError::new(Reason::Failed, message));
    }
    Ok(StatePart { path: WHOLE.to_owned(), part, id })
}

/// Returns what `lsblk` tells of a device, nothing if it tells nothing.
async fn told(device: &str, what: &str) -> Result<String, HostError> {
    let text = run("lsblk", ["--noheadings", "--nodeps", "--output", what, device], SHORT).await?;
    let strange = || HostError::new(Reason::Failed, format!("`lsblk` tells of {device} what is no {what}"));
    Ok(word(&text).ok_or_else(strange)?.to_owned())
}

/// Reads one word, or nothing, as the name of a file system or a UUID is one.
fn word(text: &str) -> Option<&str> {
    let word = text.trim();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    (word.len() <= LONGEST && word.chars().all(is_plain)).then_some(word)
}

/// Returns true for the UUID of a partition.
fn is_uuid(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|it| it.is_ascii_hexdigit() || it == '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const UUID: &str = "0a6e2cb4-7d3c-4f0e-9c7e-2f1f0f5b8c11\n";

    #[test]
    fn one_word_or_none_is_told_of_a_partition() {
        assert_eq!(word(UUID), Some("0a6e2cb4-7d3c-4f0e-9c7e-2f1f0f5b8c11"));
        assert_eq!([word("\n"), word("linux_raid_member\n")], [Some(""), Some(HALF)]);
        assert!(is_uuid("12345678-02") && !is_uuid("") && !is_uuid(HALF));
        for text in ["one two\n", "one\ntwo\n", "../one\n", "\u{fffd}\n"] {
            assert_eq!(word(text), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(text in malformed(UUID)) {
            let plain = |it: &str| it.len() <= LONGEST && !it.contains(|it: char| it.is_whitespace() || it == '/');
            prop_assert!(word(&text).is_none_or(plain), "{:?}", text);
            prop_assert!(!is_uuid(&text) || word(&text) == Some(text.trim()));
        }
    }
}

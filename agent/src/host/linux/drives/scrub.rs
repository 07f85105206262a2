//! Scrubs: all that is stored is read and compared with its checksums. The program that begins one leaves another behind,
//! which goes on for hours; what it found is kept by the program itself.

use std::time::Duration;

use piccolo_schema::disk::Filesystem;

use super::{LOOK, book::Book, place::mounted_of, program};
use crate::{
    clock,
    host::{HostError, Mount, ScrubSeen},
};

/// How long it may take to begin one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Begins a scrub, or goes on with one that was broken off. Where one runs already, the program says so and nothing is done.
///
/// Dropped before its end, it began or did not; either way the next look sees what is under way.
pub(super) async fn scrub(book: &Book, subject: &str, resumes: bool) -> Result<(), HostError> {
    let (_, at) = mounted_of(book, subject)?;
    let verb = if resumes { "resume" } else { "start" };
    program::begun("btrfs", ["scrub", verb, &at], PATIENCE).await?;
    book.scrubbed(subject, clock::now())
}

/// Breaks off what goes on by itself, if anything does, so that its file system can be unmounted.
pub(super) async fn give_up(mount: &Mount, at: &str) {
    if mount.filesystem == Filesystem::Btrfs {
        // Where none runs, the program says so.
        drop(program::run("btrfs", ["scrub", "cancel", at], PATIENCE).await);
    }
    if mount.mirror.is_some() {
        // What was moved about goes on after the next mount.
        drop(program::run("btrfs", ["balance", "cancel", at], PATIENCE).await);
    }
}

/// Returns what is known of the scrubs of a mounted file system. What can't be seen is taken for none.
pub(super) async fn seen(mount: &Mount, begun: Option<jiff::Timestamp>) -> Option<ScrubSeen> {
    let at = mount.at.as_ref().filter(|_| mount.filesystem == Filesystem::Btrfs)?;
    let text = program::run("btrfs", ["scrub", "status", "--raw", at], LOOK).await.ok()?;
    Some(ScrubSeen { begun: begun.unwrap_or_else(clock::now), ..parse(&text) })
}

fn parse(text: &str) -> ScrubSeen {
    let word = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
        Some(line.trim())
    };
    let count = |key| word(key).and_then(|it| it.parse::<u64>().ok()).unwrap_or_default();
    let status = word("Status:").unwrap_or_default();
    // One that has just begun has counted nothing yet.
    let runs = status == "running" || (status.is_empty() && word("Time left:").is_some());
    ScrubSeen {
        runs,
        broken_off: status == "interrupted",
        ended: status == "finished",
        mended: count("Corrected:"),
        lost: count("Uncorrectable:"),
        ..ScrubSeen::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "UUID:             1d5\nScrub started:    Sat Nov 28 23:00:12 2026\nStatus:           finished\n\
        Duration:         0:00:00\nTotal to scrub:   210288640\nError summary:    csum=12048\n  Corrected:      12040\n  \
        Uncorrectable:  8\n  Unverified:     0\n";

    #[test]
    fn what_a_scrub_found_is_read() {
        let seen = parse(TEXT);
        assert!(seen.ended && !seen.runs && !seen.broken_off);
        assert_eq!((seen.mended, seen.lost), (12040, 8));
        assert!(parse(&TEXT.replace("finished", "running")).runs);
        assert!(parse(&TEXT.replace("finished", "interrupted")).broken_off);
        // A person broke it off, or there was none.
        assert_eq!(parse("Status: aborted\nError summary:    no errors found\n"), ScrubSeen::default());
        assert_eq!(parse("UUID: 1d5\n\tno stats available\nTotal to scrub:   105\n"), ScrubSeen::default());
        assert!(parse("\tno stats available\nTime left:        0:00:00\nError summary:    no errors found\n").runs);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..TEXT.len(), what in "[\\PC \n]{0,12}") {
            let _ = parse(&format!("{}{what}{}", &TEXT[..at], &TEXT[at..]));
        }
    }
}

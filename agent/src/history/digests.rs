//! Which images ran with a revision: a note on its commit, in git's own form (`git notes --ref=digests`).
//!
//! A tag may name another image tomorrow. The note says what it named as long as the revision was the latest one, so that a
//! return to it can be a return to the same images.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use super::{History, HistoryError, NOTES, read::resolve};
use crate::git::{Git, read};

/// What each container ran, by its name.
pub type Digests = BTreeMap<String, Resolved>;

/// An image as a manifest names it, and which one that was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Resolved {
    /// The reference in the manifest, `nginx:1.27`.
    pub image: String,
    /// The digest, `sha256:…`.
    pub digest: String,
}

impl History {
    /// Returns what containers ran with a revision, as far as it was known when the next one was made.
    pub async fn digests(&self, revision: &str) -> Result<Digests, HistoryError> {
        let commit = resolve(&self.git, revision).await?;
        Ok(of(&self.git, &commit).await?)
    }
}

/// Returns what is noted on a commit.
pub(super) async fn of(git: &Git, commit: &str) -> Result<Digests, crate::git::GitError> {
    if read::resolve(git, NOTES).await?.is_none() {
        return Ok(Digests::new());
    }
    let notes = format!("--notes={NOTES}");
    let note = git.run(&["log", "-1", "--no-notes", &notes, "--format=%N", commit, "--"], b"").await?;
    Ok(parse(&String::from_utf8_lossy(&note)))
}

/// Writes a note, a line for each container.
pub(super) fn text(digests: &Digests) -> String {
    digests.iter().fold(String::new(), |mut text, (name, Resolved { image, digest })| {
        // A text takes everything.
        let _ = writeln!(text, "container/{name} {image} {digest}");
        text
    })
}

/// Reads a note. A line that is something else speaks of nothing that is known here.
fn parse(note: &str) -> Digests {
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (name, image, digest) =
            (words.next()?.strip_prefix("container/")?.to_owned(), words.next()?, words.next()?);
        Some((name, Resolved { image, digest }))
    };
    note.lines().filter_map(line).collect()
}

/// Says what differs, in the form of a diff; nothing if nothing does.
pub(super) fn diff(before: &Digests, after: &Digests) -> String {
    let (before, after) = (text(before), text(after));
    let gone = before.lines().filter(|line| !after.lines().any(|it| it == *line)).map(|line| (line, '-'));
    let come = after.lines().filter(|line| !before.lines().any(|it| it == *line)).map(|line| (line, '+'));
    let mut lines: Vec<_> = gone.chain(come).collect();
    if lines.is_empty() {
        return String::new();
    }
    let name = |line: &str| line.split(' ').next().map(str::to_owned);
    lines.sort_by_key(|(line, sign)| (name(line), *sign == '+'));
    let head = "diff digests\n--- a/digests\n+++ b/digests\n".to_owned();
    lines.into_iter().fold(head, |text, (line, sign)| text + &format!("{sign}{line}\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_note_breaks_it(note in malformed("container/db db:2 sha256:b\ncontainer/web nginx:1.27 sha256:a\n")) {
            for (name, it) in parse(&note) {
                prop_assert!([name, it.image, it.digest].iter().all(|it| !it.contains([' ', '\n'])), "{:?}", note);
            }
        }
    }

    fn digests(all: &[(&str, &str, &str)]) -> Digests {
        let one = |(name, image, digest): &(&str, &str, &str)| {
            ((*name).to_owned(), Resolved { image: (*image).to_owned(), digest: (*digest).to_owned() })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_is_noted_is_read_again() {
        let all = digests(&[("db", "db:2", "sha256:b"), ("web", "nginx:1.27", "sha256:a")]);
        assert_eq!(text(&all), "container/db db:2 sha256:b\ncontainer/web nginx:1.27 sha256:a\n");
        assert_eq!(parse(&text(&all)), all);
        assert_eq!(parse("\nhello\nimage/x y z\ncontainer/a b\n"), Digests::new());
    }

    #[test]
    fn a_diff_tells_what_moved_and_nothing_else() {
        let before = digests(&[("db", "db:2", "sha256:b"), ("old", "x", "sha256:x"), ("web", "nginx", "sha256:a")]);
        let after = digests(&[("db", "db:2", "sha256:b"), ("web", "nginx", "sha256:c")]);
        let told = "diff digests\n--- a/digests\n+++ b/digests\n-container/old x sha256:x\n-container/web nginx sha256:a\n\
                    +container/web nginx sha256:c\n";
        assert_eq!(diff(&before, &after), told);
        assert_eq!(diff(&after, &after), "");
    }
}

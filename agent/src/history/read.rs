//! What the history says.

use serde::Serialize;

use super::{BRANCH, History, HistoryError, digests, files::Files};
use crate::{
    git::{Git, read},
    manifests::Texts,
};

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Its name.
    pub revision: String,
    /// When it was made.
    pub time: String,
    /// Who made the change.
    pub author: String,
    /// What changed.
    pub message: String,
    /// All that it says, the way in included.
    pub body: String,
}

impl History {
    /// Returns the latest revisions, the newest first.
    pub async fn log(&self, limit: u32) -> Result<Vec<Revision>, HistoryError> {
        let head = match resolve(&self.git, BRANCH).await {
            Err(HistoryError::NoSuch(_)) => return Ok(Vec::new()),
            head => head?,
        };
        let most = format!("--max-count={limit}");
        let format = "--format=tformat:%H%n%aI%n%an%n%s%n%b";
        let log = self.git.run(&["log", "-z", "--no-show-signature", &most, format, &head, "--"], b"").await?;
        let text = String::from_utf8_lossy(&log);
        text.split_terminator('\0').map(|one| revision(one).ok_or(HistoryError::Garbled("a commit"))).collect()
    }

    /// Returns the name and the texts of a revision.
    pub async fn texts(&self, revision: &str) -> Result<(String, Texts), HistoryError> {
        let commit = resolve(&self.git, revision).await?;
        let texts = files(&self.git, &commit).await?;
        Ok((commit, texts))
    }

    /// Returns what changed from one revision to another, as a unified diff, and which images were others.
    pub async fn diff(&self, from: &str, to: &str) -> Result<String, HistoryError> {
        let (from, to) = (resolve(&self.git, from).await?, resolve(&self.git, to).await?);
        let arguments =
            ["diff-tree", "-r", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv", &from, &to, "--"];
        let diff = self.git.run(&arguments, b"").await?;
        let images = digests::diff(&digests::of(&self.git, &from).await?, &digests::of(&self.git, &to).await?);
        Ok(String::from_utf8_lossy(&diff).into_owned() + &images)
    }
}

/// Returns the commit that a person calls this.
pub(super) async fn resolve(git: &Git, revision: &str) -> Result<String, HistoryError> {
    let no_such = || HistoryError::NoSuch(revision.chars().take(100).collect());
    read::resolve(git, revision).await?.ok_or_else(no_such)
}

/// Returns the texts that a commit holds.
pub(super) async fn files(git: &Git, commit: &str) -> Result<Files, HistoryError> {
    let contents = read::contents(git, commit, usize::MAX, usize::MAX).await?.into_iter();
    let texts = contents.map(|(path, bytes)| Some((path, read::text(&bytes)?)));
    texts.collect::<Option<_>>().ok_or(HistoryError::Garbled("a text"))
}

/// Reads a commit. What others wrote into theirs is shown to people, so that nothing in it may move a terminal.
fn revision(text: &str) -> Option<Revision> {
    let text: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    let mut lines = text.trim_start_matches('\n').splitn(5, '\n');
    let mut next = || lines.next().map(str::to_owned);
    let (revision, time, author, message, body) = (next()?, next()?, next()?, next()?, next()?);
    Some(Revision { revision, time, author, message, body: body.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const COMMIT: &str =
        "5fe9149cd2c1b3f0\n2026-03-01T12:00:00+00:00\nroot\ncontainer/web is new\nby an editor\n\nMore.\n";

    #[test]
    fn a_commit_is_read() {
        let it = revision(COMMIT).unwrap();
        assert_eq!((&*it.author, &*it.message), ("root", "container/web is new"));
        assert_eq!(it.body, "by an editor\n\nMore.");
        assert_eq!(revision("5fe9149cd2c1b3f0\n2026-03-01T12:00:00+00:00\nroot"), None);
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(text in malformed(COMMIT)) {
            let Some(it) = revision(&text) else { return Ok(()) };
            let told = [it.revision, it.time, it.author, it.message, it.body.replace('\n', "")];
            prop_assert!(!told.iter().any(|it| it.contains(|it: char| it.is_control())), "{:?}", told);
        }
    }
}

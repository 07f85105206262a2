//! What comes in by a push: looked at in the quarantine where git keeps it, never written to files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::{History, HistoryError, PUSHED, read::resolve};
use crate::{
    git::{Git, GitError, guard, read},
    manifests::Texts,
};

/// How long a push waits for the one before it.
const TURN: Duration = Duration::from_secs(60);
/// The most bytes of one file.
const LARGEST_FILE: u64 = 1 << 20;
/// The most bytes of one commit, its message included.
const LARGEST_COMMIT: u64 = 64 << 10;
/// The most bytes of all files of a revision.
const MOST_BYTES: usize = 64 << 20;
/// The most files of a revision, and the most revisions of a push.
const MOST: usize = 10_000;

/// A push that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// What it brings may not come in.
    #[error("{why}")]
    Refused {
        /// All of it in a few words.
        why: &'static str,
        /// Each reason in a sentence.
        reasons: Vec<String>,
    },
    /// The history can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<GitError> for PushError {
    fn from(error: GitError) -> Self {
        Self::History(error.into())
    }
}

/// The one push at a time that is looked at or taken.
#[derive(Debug)]
pub struct Turn {
    git: Git,
    _turn: OwnedMutexGuard<()>,
}

impl History {
    /// Waits until no other push is looked at. What comes in waits in this directory; none if it is accepted already.
    pub async fn turn(&self, quarantine: Option<&Path>) -> Result<Turn, PushError> {
        let quarantine = quarantine.map(|path| self.quarantine(path)).transpose()?;
        let turn = timeout(TURN, self.turns.clone().lock_owned()).await;
        let turn = turn.map_err(|_| refused("another push is under way", Vec::new()))?;
        Ok(Turn { git: self.git.narrow(quarantine), _turn: turn })
    }

    /// Returns the real path of a quarantine, which only git makes, and only beside the objects.
    fn quarantine(&self, path: &Path) -> Result<PathBuf, PushError> {
        let real = fs::canonicalize(path).ok();
        let objects = fs::canonicalize(self.git.directory().join("objects")).ok();
        let is_one = |path: &PathBuf| {
            let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
            let is_named = name.starts_with(b"tmp_objdir-incoming-") || name.starts_with(b"incoming-");
            path.parent() == objects.as_deref() && is_named && path.is_dir()
        };
        real.filter(is_one).ok_or_else(|| refused("that is no quarantine of this repository", Vec::new()))
    }
}

impl Turn {
    /// Looks at everything that lies between two revisions and returns the texts of the later one.
    pub async fn texts(&self, from: Option<&str>, to: &str) -> Result<Texts, PushError> {
        match resolve(&self.git, to).await {
            Ok(commit) if commit == to => {}
            Ok(_) | Err(HistoryError::NoSuch(_)) => return Err(refused("what is pushed is no commit", Vec::new())),
            Err(error) => return Err(error.into()),
        }
        if let Some(from) = from
            && !read::is_ancestor(&self.git, from, to).await?
        {
            return Err(refused(
                "what is pushed does not follow what is here",
                vec!["only a fast-forward comes in: git pull --rebase first".to_owned()],
            ));
        }
        let commits = self.commits(to).await?;
        let brought = self.brought(&commits).await?;
        self.check(&commits, &brought).await?;
        self.tip(to, &brought).await
    }

    /// Remembers this revision as one that was pushed. When the directory says what it holds, the recorder takes it for
    /// the latest.
    pub async fn keep(&self, to: &str) -> Result<(), HistoryError> {
        self.git.run(&["update-ref", PUSHED, to], b"").await?;
        Ok(())
    }

    /// Forgets what was kept.
    pub async fn forget(&self) {
        if let Err(error) = self.git.run(&["update-ref", "-d", PUSHED], b"").await {
            tracing::warn!(%error, "a push can't be forgotten");
        }
    }

    /// Returns true if the history goes through this revision.
    pub async fn holds(&self, head: Option<&str>, revision: &str) -> Result<bool, HistoryError> {
        match head {
            Some(head) => Ok(read::is_ancestor(&self.git, revision, head).await?),
            None => Ok(false),
        }
    }

    /// Returns the revisions that are new. That nothing is missing of them git has seen to.
    async fn commits(&self, to: &str) -> Result<String, PushError> {
        let most = format!("--max-count={}", MOST + 1);
        let commits = self.git.run(&["rev-list", &most, to, "--not", "--branches"], b"").await?;
        let commits = String::from_utf8_lossy(&commits).into_owned();
        if commits.lines().count() > MOST {
            return Err(refused("there are more than 10,000 revisions", Vec::new()));
        }
        Ok(commits)
    }

    /// Returns everything that a revision has and one before it has not.
    async fn brought(&self, commits: &str) -> Result<BTreeSet<guard::Brought>, PushError> {
        let arguments =
            ["diff-tree", "--stdin", "-r", "-z", "-m", "--root", "--no-commit-id", "--no-renames", "--diff-filter=d"];
        let answer = match self.git.run(&arguments, commits.as_bytes()).await {
            Err(GitError::TooMuch(_) | GitError::Failed { .. } | GitError::TimedOut(..)) => {
                return Err(refused("there is more in it than anybody can look at", Vec::new()));
            }
            answer => answer?,
        };
        guard::brought(&answer).ok_or_else(|| HistoryError::Garbled("a tree").into())
    }

    /// Refuses what is no manifest by its kind, its place or its size.
    async fn check(&self, commits: &str, brought: &BTreeSet<guard::Brought>) -> Result<(), PushError> {
        let reasons = guard::refused(brought);
        if !reasons.is_empty() {
            return Err(refused("there is something else than manifests", reasons));
        }
        let mut asked = commits.to_owned();
        brought.iter().for_each(|it| asked.extend([&*it.object, "\n"]));
        let sizes = self.git.run(&["cat-file", "--batch-check=%(objecttype) %(objectsize)"], asked.as_bytes()).await?;
        let reasons = too_large(&String::from_utf8_lossy(&sizes), commits, brought);
        if reasons.is_empty() { Ok(()) } else { Err(refused("something is too large", reasons)) }
    }

    /// Returns what the latest revision holds.
    async fn tip(&self, to: &str, brought: &BTreeSet<guard::Brought>) -> Result<Texts, PushError> {
        let too_much = || refused("all files together are more than 10,000 or larger than 64 MiB", Vec::new());
        let new: BTreeSet<&[u8]> = brought.iter().map(|it| &*it.path).collect();
        let texts = match read::contents(&self.git, to, MOST, MOST_BYTES).await {
            Err(GitError::TooMuch(_)) => return Err(too_much()),
            texts => texts?,
        };
        let paths: BTreeSet<&[u8]> = texts.iter().map(|(path, _)| path.as_os_str().as_bytes()).collect();
        let clashes = guard::clashes(&paths, |path| new.contains(path));
        if !clashes.is_empty() {
            return Err(refused("some names would be one elsewhere", clashes));
        }
        let mut all = Texts::new();
        let mut reasons = Vec::new();
        for (path, bytes) in texts {
            match read::text(&bytes) {
                Some(text) => drop(all.insert(path, text)),
                None => reasons.push(format!("{}: it is not UTF-8", path.display())),
            }
        }
        if reasons.is_empty() { Ok(all) } else { Err(refused("not all is text", reasons)) }
    }
}

/// Reads what `git cat-file --batch-check` says of commits, and then of files, a line each; says which are too large. One of which
/// nothing is known is.
fn too_large(sizes: &str, commits: &str, brought: &BTreeSet<guard::Brought>) -> Vec<String> {
    let mut sizes = sizes.lines().map(|line| line.split_once(' ').and_then(|(_, size)| size.parse::<u64>().ok()));
    let mut reasons = Vec::new();
    for commit in commits.lines() {
        if sizes.next().flatten().is_none_or(|size| size > LARGEST_COMMIT) {
            reasons.push(format!("{commit}: what it says of itself is longer than 64 KiB"));
        }
    }
    for it in brought {
        if sizes.next().flatten().is_none_or(|size| size > LARGEST_FILE) {
            reasons.push(format!("{}: it is larger than 1 MiB", guard::shown(&it.path)));
        }
    }
    reasons
}

fn refused(why: &'static str, reasons: Vec<String>) -> PushError {
    PushError::Refused { why, reasons }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const SIZES: &str = "commit 250\nblob 12\nblob 34\n";

    fn brought() -> BTreeSet<guard::Brought> {
        let one = |path: &[u8]| guard::Brought { mode: "100644".into(), object: "ef".into(), path: path.to_owned() };
        [one(b"db.toml"), one(b"web.toml")].into()
    }

    #[test]
    fn what_is_too_large_is_named_and_what_is_not_known_is_too_large() {
        let told = |sizes: &str| too_large(sizes, "5fe9149c\n", &brought());
        assert!(told(SIZES).is_empty());
        assert_eq!(told("commit 250\nblob 1048577\nblob 34\n"), ["db.toml: it is larger than 1 MiB"]);
        assert!(told("commit 65537\nblob 1\nblob 2\n")[0].starts_with("5fe9149c: what it says of itself"));
        assert_eq!(told("ef missing\n").len(), 3);
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(sizes in malformed(SIZES)) {
            let told = too_large(&sizes, "5fe9149c\n", &brought());
            prop_assert!(told.len() >= 3_usize.saturating_sub(sizes.lines().count()), "{:?}", sizes);
        }
    }
}

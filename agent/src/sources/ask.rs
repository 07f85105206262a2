//! Asking a repository: its branch is fetched beside everything else, and looked at without being checked out.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use piccolo_schema::ConfigSourceSpec;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{offer::Tip, ssh};
use crate::{
    git::{
        Git, GitError, Remote, Signers,
        guard::{self, Brought},
        read,
    },
    manifests::Texts,
};

/// Where the branch is fetched to.
const OFFERED: &str = "refs/piccolo/offered";
/// The most manifests of a revision, the most bytes of one, and of all together.
const MOST: usize = 10_000;
const LARGEST: u64 = 1 << 20;
const MOST_BYTES: usize = 64 << 20;
/// How large the repository of a source may grow before what nobody needs is let go of.
const ROOMY: u64 = 1000;

/// One source, and the place where its repository is fetched to.
pub(super) struct Question<'a> {
    pub(super) spec: &'a ConfigSourceSpec,
    /// The directory of all sources.
    pub(super) directory: &'a Path,
    pub(super) name: &'a str,
    pub(super) authorization: Option<Zeroizing<String>>,
    /// The file of the private key, for `ssh`.
    pub(super) key: Option<PathBuf>,
    /// The revision that is in force.
    pub(super) revision: Option<String>,
}

impl Question<'_> {
    /// Returns what the repository has. Dropped half-way, what was known of it before is as it was.
    pub(super) async fn ask(self, known: Option<&Tip>) -> Result<Option<Tip>, GitError> {
        let git = self.repository().await?;
        let other_end = self.directory.join("gitconfig");
        git.fetch(&self.remote(&other_end).await?, OFFERED).await.map_err(ssh::in_short)?;
        let git = git.narrow(None);
        let revision = read::resolve(&git, OFFERED).await?.ok_or(GitError::Garbled("a branch that is none"))?;
        // A signature that could not be checked may be by now.
        let is_doubted = |known: &Tip| known.signed.as_ref().is_some_and(Result::is_err);
        if known.is_some_and(|known| known.revision == revision && !is_doubted(known)) {
            return Ok(None);
        }
        let author = git.line(&["log", "-1", "--no-show-signature", "--format=tformat:%an", &revision, "--"]).await?;
        let (signed, follows) = (self.signed(&git, &revision).await?, self.follows(&git, &revision).await?);
        let files = self.files(&git, &revision).await?;
        Ok(Some(Tip { revision, author, signed, follows, files }))
    }

    /// Asks the repository for its branch over a connection of its own, and takes nothing in.
    pub(super) async fn reach(self) -> Result<(), GitError> {
        let git = self.repository().await?;
        let other_end = self.directory.join("gitconfig");
        git.reach(&self.remote(&other_end).await?).await.map_err(ssh::in_short)
    }

    async fn remote<'a>(&'a self, other_end: &'a Path) -> Result<Remote<'a>, GitError> {
        Ok(Remote {
            url: &self.spec.url,
            branch: self.spec.branch(),
            authorization: self.authorization.clone(),
            ssh: self.ssh().await?,
            other_end,
        })
    }

    /// Writes down what ssh is to know, if it is reached so.
    async fn ssh(&self) -> Result<Option<PathBuf>, GitError> {
        let Some(key) = self.key.clone() else { return Ok(None) };
        let (place, keys) = (self.directory.join(self.name), self.spec.host_keys.clone());
        let written = spawn_blocking(move || ssh::write(&place, &key, &keys)).await;
        let written = written.map_err(io::Error::other).and_then(|written| written);
        written.map(Some).map_err(|source| GitError::NotRun { command: "fetch".to_owned(), source })
    }

    /// Makes the repository if it is missing, whole or not at all.
    async fn repository(&self) -> Result<Git, GitError> {
        let git = Git::new(self.directory.join(self.name).with_extension("git"));
        if git.is_there() {
            let packs = git.directory().join("objects/pack");
            if spawn_blocking(move || tidy(&packs)).await.is_ok_and(|files| files > ROOMY) {
                git.pack().await;
            }
            return Ok(git);
        }
        let not_made = |source| GitError::NotRun { command: "init".to_owned(), source };
        let new = self.directory.join(self.name).with_extension("new");
        let (place, directory) = (new.clone(), self.directory.to_owned());
        let room = spawn_blocking(move || make_room(&directory, &place)).await;
        room.map_err(|error| not_made(io::Error::other(error)))?.map_err(not_made)?;
        Git::new(new.clone()).run(&["init", "--quiet", "--bare", "--template="], b"").await?;
        fs::rename(new, git.directory()).map_err(not_made)?;
        Ok(git)
    }

    async fn signed(&self, git: &Git, revision: &str) -> Result<Option<Result<String, String>>, GitError> {
        if self.spec.signers.is_empty() {
            return Ok(None);
        }
        let room = self.directory.join(self.name).with_extension("signers");
        Signers::new(room, &self.spec.signers).await?.check(git, revision).await.map(Some)
    }

    async fn follows(&self, git: &Git, revision: &str) -> Result<bool, GitError> {
        match &self.revision {
            None => Ok(true),
            Some(before) => match read::resolve(git, before).await? {
                Some(before) => read::is_ancestor(git, &before, revision).await,
                None => Ok(false),
            },
        }
    }

    /// Returns the manifests that a revision holds, or why they can't be taken.
    async fn files(&self, git: &Git, revision: &str) -> Result<Result<Texts, Vec<String>>, GitError> {
        let tree = format!("{revision}:{}", self.spec.path.as_deref().unwrap_or_default());
        let listed = match git.run(&["ls-tree", "-r", "-z", "-l", "--full-tree", &tree], b"").await {
            Err(GitError::TooMuch(_) | GitError::TimedOut(..)) => {
                return Ok(Err(vec!["there is more in it than anybody can look at".to_owned()]));
            }
            Err(GitError::Failed { .. }) => {
                let path = self.spec.path.as_deref().unwrap_or(".");
                return Ok(Err(vec![format!("there is no directory `{path}` in it")]));
            }
            listed => listed?,
        };
        let (brought, reasons) = listing(&listed).ok_or(GitError::Garbled("a tree"))?;
        if !reasons.is_empty() {
            return Ok(Err(reasons));
        }
        let entries = brought.into_iter().map(|it| (it.object, PathBuf::from(OsStr::from_bytes(&it.path)))).collect();
        let contents = match read::blobs(git, entries, MOST_BYTES).await {
            Err(GitError::TooMuch(_)) => return Ok(Err(vec!["all manifests together exceed 64 MiB".to_owned()])),
            contents => contents?,
        };
        let text = |(path, bytes): (PathBuf, Vec<u8>)| match read::text(&bytes) {
            Some(text) => Ok((path, text)),
            None => Err(vec![format!("{}: it is not UTF-8", path.display())]),
        };
        Ok(contents.into_iter().map(text).collect())
    }
}

/// Reads what `git ls-tree -l -z` says, and returns the manifests, and what is wrong with them. A file that is not called
/// one, or that lies where none is read, is none of ours: whoever shares a repository has more in it.
fn listing(answer: &[u8]) -> Option<(BTreeSet<Brought>, Vec<String>)> {
    let (mut brought, mut reasons) = (BTreeSet::new(), Vec::new());
    for line in answer.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let path = line[tab + 1..].to_owned();
        if !path.ends_with(b".toml") || path.split(|byte| *byte == b'/').any(|part| part.starts_with(b".")) {
            continue;
        }
        let mut fields = std::str::from_utf8(&line[..tab]).ok()?.split_ascii_whitespace();
        let (mode, object) = (fields.next()?.to_owned(), fields.nth(1)?.to_owned());
        if fields.next()?.parse().is_ok_and(|size: u64| size > LARGEST) {
            reasons.push(format!("{}: it is larger than 1 MiB", guard::shown(&path)));
        }
        brought.insert(Brought { mode, object, path });
        if brought.len() > MOST {
            return Some((brought, vec!["there are more than 10,000 manifests".to_owned()]));
        }
    }
    reasons.extend(guard::refused(&brought));
    let paths = brought.iter().map(|it| &*it.path).collect();
    reasons.extend(guard::clashes(&paths, |_| true));
    Some((brought, reasons))
}

/// Makes the directory of all sources, and an empty place in it.
fn make_room(directory: &Path, place: &Path) -> io::Result<()> {
    if place.exists() {
        // Left behind by an agent that was killed.
        fs::remove_dir_all(place)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    // The user whose repository on this machine is named decides nothing but what is fetched.
    super::put(&directory.join("gitconfig"), "[safe]\n\tdirectory = *\n")
}

/// Removes what broken fetches left behind, and returns how many packs there are.
fn tidy(packs: &Path) -> u64 {
    let mut count = 0;
    for entry in fs::read_dir(packs).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(b"tmp_") {
            let _ = fs::remove_file(entry.path());
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, not_text, often};

    #[test]
    fn of_a_tree_only_manifests_count() {
        let line = |mode: &str, size: &str, path: &str| format!("{mode} blob 1234 {size:>7}\t{path}\0");
        let list = |lines: &[String]| listing(lines.concat().as_bytes()).unwrap();
        let fine = [line("100644", "10", "a.toml"), line("100755", "1", "run.sh"), line("120000", "1", "link")];
        let more = [line("100644", "10", ".github/x.toml"), "160000 commit 1234       -\tmodule\0".to_owned()];
        let (brought, reasons) = list(&[&fine[..], &more].concat());
        assert_eq!((brought.len(), reasons), (1, vec![]));
        for wrong in [
            line("120000", "9", "a.toml"),
            line("100755", "9", "a.toml"),
            line("100644", "1048577", "a.toml"),
            line("100644", "9", "-a.toml"),
            "160000 commit 1234       -\tmodule.toml\0".to_owned(),
            line("100644", "9", "a.toml") + &line("100644", "9", "A.toml"),
        ] {
            assert_eq!(list(std::slice::from_ref(&wrong)).1.len(), 1, "{wrong}");
        }
        assert!(listing(b"100644 blob\0").is_none());
    }

    const TREE: &str =
        "100644 blob 1234      10\ta.toml\x00160000 commit 1234       -\tmodule\x00100644 blob 5678 99\tb/c.toml\0";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(text in malformed(TREE), bytes in not_text(TREE)) {
            for answer in [text.as_bytes(), &bytes] {
                let Some((brought, reasons)) = listing(answer) else { continue };
                let is_fine = |it: &Brought| it.mode == "100644" && it.path.ends_with(b".toml");
                prop_assert!(brought.iter().all(is_fine) || !reasons.is_empty(), "{:?}", answer);
            }
        }
    }
}

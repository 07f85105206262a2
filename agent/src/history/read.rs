//! What the history says.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

use serde::Serialize;

use crate::manifests::Texts;

use super::{
    BRANCH, History, HistoryError,
    files::Files,
    git::{Git, GitError},
    record,
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

    /// Returns what changed from one revision to another, as a unified diff.
    pub async fn diff(&self, from: &str, to: &str) -> Result<String, HistoryError> {
        let (from, to) = (resolve(&self.git, from).await?, resolve(&self.git, to).await?);
        let arguments =
            ["diff-tree", "-r", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv", &from, &to, "--"];
        let diff = self.git.run(&arguments, b"").await?;
        Ok(String::from_utf8_lossy(&diff).into_owned())
    }
}

/// Returns the commit that a person calls this.
pub(super) async fn resolve(git: &Git, revision: &str) -> Result<String, HistoryError> {
    let no_such = || HistoryError::NoSuch(revision.chars().take(100).collect());
    let known = |c: char| c.is_ascii_alphanumeric() || "~^/._-".contains(c);
    if revision.is_empty()
        || revision.len() > 100
        || revision.starts_with('-')
        || !revision.chars().all(known)
        || !git.is_there()
    {
        return Err(no_such());
    }
    let commit = format!("{revision}^{{commit}}");
    match git.line(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await {
        Ok(commit) => Ok(commit),
        Err(GitError::Failed { complaint, .. }) if complaint.is_empty() => Err(no_such()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the texts that a commit holds.
pub(super) async fn files(git: &Git, commit: &str) -> Result<Files, HistoryError> {
    let listed = git.run(&["ls-tree", "-r", "-z", "--full-tree", commit], b"").await?;
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let entries: Option<Vec<_>> = entries.map(entry).collect();
    let entries = entries.ok_or(HistoryError::Garbled("a tree"))?;
    let wanted: String = entries.iter().map(|(object, _)| format!("{object}\n")).collect();
    let contents = git.run(&["cat-file", "--batch", "--buffer"], wanted.as_bytes()).await?;
    let mut rest = &*contents;
    let mut files = Files::new();
    for (_, path) in entries {
        let (bytes, after) = object(rest).ok_or(HistoryError::Garbled("an object"))?;
        files.insert(path, record::text(bytes).ok_or(HistoryError::Garbled("a text"))?);
        rest = after;
    }
    Ok(files)
}

/// Reads `100644 blob <object>\t<path>`.
fn entry(line: &[u8]) -> Option<(String, PathBuf)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let object = std::str::from_utf8(&line[..tab]).ok()?.rsplit(' ').next()?.to_owned();
    Some((object, PathBuf::from(OsStr::from_bytes(&line[tab + 1..]))))
}

/// Reads `<object> blob <size>\n<bytes>\n` and returns the bytes and what follows.
fn object(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = answer.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&answer[..end]).ok()?.rsplit(' ').next()?.parse().ok()?;
    let (bytes, rest) = answer.get(end + 1..)?.split_at_checked(size)?;
    Some((bytes, rest.strip_prefix(b"\n")?))
}

fn revision(text: &str) -> Option<Revision> {
    let mut lines = text.trim_start_matches('\n').splitn(5, '\n');
    let mut next = || lines.next().map(str::to_owned);
    let (revision, time, author, message, body) = (next()?, next()?, next()?, next()?, next()?);
    Some(Revision { revision, time, author, message, body: body.trim_end().to_owned() })
}

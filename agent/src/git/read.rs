//! What a repository holds.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use super::{Git, GitError};

/// Returns the commit that a person calls this, if there is one.
pub(crate) async fn resolve(git: &Git, revision: &str) -> Result<Option<String>, GitError> {
    let known = |c: char| c.is_ascii_alphanumeric() || "~^/._-".contains(c);
    if revision.is_empty()
        || revision.len() > 100
        || revision.starts_with('-')
        || !revision.chars().all(known)
        || !git.is_there()
    {
        return Ok(None);
    }
    let commit = format!("{revision}^{{commit}}");
    match git.line(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await {
        Ok(commit) => Ok(Some(commit)),
        Err(GitError::Failed { complaint, .. }) if complaint.is_empty() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns true if one commit is before another, or is the same.
pub(crate) async fn is_ancestor(git: &Git, before: &str, commit: &str) -> Result<bool, GitError> {
    match git.run(&["merge-base", "--is-ancestor", before, commit], b"").await {
        Ok(_) => Ok(true),
        Err(GitError::Failed { complaint, .. }) if complaint.is_empty() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A text that may be shared.
pub(crate) fn text(bytes: &[u8]) -> Option<Arc<str>> {
    std::str::from_utf8(bytes).ok().map(Arc::from)
}

/// Returns the bytes of every file that a commit holds, if they are not more than this.
pub(crate) async fn contents(
    git: &Git,
    commit: &str,
    most_files: usize,
    most_bytes: usize,
) -> Result<Vec<(PathBuf, Vec<u8>)>, GitError> {
    let listed = git.run(&["ls-tree", "-r", "-z", "--full-tree", commit], b"").await?;
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let entries: Option<Vec<_>> = entries.take(most_files.saturating_add(1)).map(entry).collect();
    let entries = entries.ok_or(GitError::Garbled("a tree"))?;
    if entries.len() > most_files {
        return Err(GitError::TooMuch("ls-tree".to_owned()));
    }
    blobs(git, entries, most_bytes).await
}

/// Returns the bytes of each of these objects, if they are not more than this together.
pub(crate) async fn blobs(
    git: &Git,
    entries: Vec<(String, PathBuf)>,
    most_bytes: usize,
) -> Result<Vec<(PathBuf, Vec<u8>)>, GitError> {
    let wanted: String = entries.iter().map(|(object, _)| format!("{object}\n")).collect();
    let contents = git.run(&["cat-file", "--batch", "--buffer"], wanted.as_bytes()).await?;
    let mut rest = &*contents;
    let (mut files, mut size) = (Vec::new(), 0);
    for (_, path) in entries {
        let (bytes, after) = object(rest).ok_or(GitError::Garbled("an object"))?;
        size += bytes.len();
        if size > most_bytes {
            return Err(GitError::TooMuch("cat-file".to_owned()));
        }
        files.push((path, bytes.to_vec()));
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

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
        Ok(commit) if is_object(&commit) => Ok(Some(commit)),
        Ok(_) => Err(GitError::Garbled("the name of a commit")),
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

/// Returns true for the name that git gives to an object.
fn is_object(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, not_text, often};

    const COMMIT: &str = "5fe9149cd2c1b3f0a7c1b1fd8e8b5a9b1e6d7f42";
    const ENTRY: &str = "100644 blob 5fe9149cd2c1b3f0a7c1b1fd8e8b5a9b1e6d7f42\tstore/web.toml";
    const OBJECT: &str = "5fe9149cd2c1b3f0a7c1b1fd8e8b5a9b1e6d7f42 blob 6\na = 1\n\nrest";

    #[test]
    fn what_git_says_is_read() {
        assert!(is_object(COMMIT) && !is_object("HEAD") && !is_object(&COMMIT.to_uppercase()));
        assert_eq!(entry(ENTRY.as_bytes()), Some((COMMIT.to_owned(), PathBuf::from("store/web.toml"))));
        assert_eq!(object(OBJECT.as_bytes()), Some((&b"a = 1\n"[..], &b"rest"[..])));
        for wrong in ["", "x blob 7\na = 1\n", "x missing\n", "x blob 99999999999999999999\n", "x blob -1\n\n"] {
            assert_eq!(object(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(
            name in malformed(COMMIT),
            lines in [malformed(ENTRY), malformed(OBJECT)],
            bytes in [not_text(ENTRY), not_text(OBJECT)],
        ) {
            prop_assert!(!is_object(&name) || name.len() >= COMMIT.len(), "{:?}", name);
            for answer in lines.iter().map(String::as_bytes).chain(bytes.iter().map(|it| &**it)) {
                prop_assert!(entry(answer).is_none_or(|(name, path)| name.len() + path.as_os_str().len() < answer.len()));
                prop_assert!(object(answer).is_none_or(|(bytes, rest)| bytes.len() + rest.len() < answer.len()));
                drop(text(answer));
            }
        }
    }
}

//! Repositories that images are built from. Git asks nobody for a login, reads no settings but ours, runs no hooks and
//! takes a bounded time and space.

use std::{
    fs,
    io::{self, Read},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use piccolo_schema::image::Repository;
use tokio::process::Command;

use super::program;
use crate::host::{HostError, Reason};

/// How long a repository may take to say where its branches stand.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to give the files of a commit.
const FETCH_PATIENCE: Duration = Duration::from_secs(600);
/// The longest answer that is read of anything but files.
const LONGEST: u64 = 1 << 20;

/// A shell that limits the size of a file to 2 GiB, and the time of a processor, and becomes git.
const LIMITED: &str = "ulimit -f 4194304 && ulimit -t 600 && exec git \"$@\"";

const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "fetch.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=30",
    "maintenance.auto=false",
    "safe.directory=*",
];

/// The other side, where it is a directory of this machine, runs git as well. It takes no settings from us but these.
const UPLOAD: &str = "--upload-pack=git -c safe.directory=* upload-pack";

/// The files of one commit, here for as long as this lives.
#[derive(Debug)]
pub(super) struct Commit {
    room: Room,
    /// The commit, and the directory in it.
    tree: String,
}

/// Git, while it writes the files of a commit. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Archive(Child);

/// A directory that goes with its owner.
#[derive(Debug)]
struct Room(String);

/// Returns the commit that a repository has for what is followed in it.
pub(super) async fn tip(repository: &Repository) -> Result<String, HostError> {
    if let Some(commit) = repository.commit() {
        return Ok(commit.to_ascii_lowercase());
    }
    let mut command = git(Path::new("/"));
    command.args(["ls-remote", "--quiet", UPLOAD, "--", &repository.url]);
    command.args(names(repository).iter().flat_map(|name| [name.clone(), format!("{name}^{{}}")]));
    let answer = answer(command, PATIENCE, repository).await?;
    found(&answer, repository).ok_or_else(|| {
        let what = repository.reference.as_deref().unwrap_or("HEAD");
        let message = format!("`{}` has no branch or tag `{what}`", repository.url);
        HostError::new(Reason::SourceUnavailable, message)
    })
}

/// Brings the files of a commit here, into a directory that is made for it.
pub(super) async fn fetch(repository: &Repository, commit: &str, room: String) -> Result<Commit, HostError> {
    let room = Room::make(room)?;
    let home = Path::new(&room.0);
    let mut init = git(home);
    init.args(["init", "--quiet", "--bare", "--template=", "."]);
    answer(init, PATIENCE, repository).await?;
    let mut fetch = git(home);
    fetch.args(["fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", UPLOAD, "--"]);
    fetch.arg(&repository.url).arg(format!("+{}:refs/heads/built", repository.reference.as_deref().unwrap_or("HEAD")));
    answer(fetch, FETCH_PATIENCE, repository).await?;
    let mut parse = git(home);
    parse.args(["rev-parse", "--verify", "refs/heads/built^{commit}"]);
    let fetched = answer(parse, PATIENCE, repository).await?;
    if fetched.trim() != commit {
        let message = format!("`{}` moved to {} meanwhile", repository.place(), short(fetched.trim()));
        return Err(HostError::new(Reason::Gone, message));
    }
    let path = repository.path.as_deref().map(plain).unwrap_or_default();
    Ok(Commit { room, tree: format!("{commit}:{path}") })
}

/// Returns a commit as people write it.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

impl Commit {
    /// Starts to write the files as a tar.
    pub(super) fn archive(&self) -> Result<Archive, HostError> {
        let mut command = git(Path::new(&self.room.0)).into_std();
        command.args(["archive", "--format=tar", &self.tree]).stderr(Stdio::null());
        command.spawn().map(Archive).map_err(|error| program::not_started("git", &error))
    }

    /// Returns a small file; none if it is not there.
    pub(super) async fn file(&self, path: &str) -> Option<Vec<u8>> {
        let mut command = git(Path::new(&self.room.0));
        let tree = self.tree.trim_end_matches('/');
        let slash = if tree.ends_with(':') { "" } else { "/" };
        command.args(["cat-file", "blob", &format!("{tree}{slash}{path}")]).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let read = child.stdout.take()?.into_owned_fd().ok()?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut content = Vec::new();
            fs::File::from(read).take(LONGEST).read_to_end(&mut content).map(|_| content)
        });
        let content = tokio::time::timeout(PATIENCE, reading).await.ok()?.ok()?.ok()?;
        // A file that is longer than what is read holds git up; it is no small file then.
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await.ok()?.ok()?;
        ended.success().then_some(content)
    }
}

impl Archive {
    /// Reads what git writes, to its end. Blocks.
    pub(super) fn read(mut self, read: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        let mut output = self.0.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        read(&mut output)?;
        // What comes after the last file is padding; without it git would not end well.
        io::copy(&mut output, &mut io::sink())?;
        // A tar that ends too early looks like one of fewer files.
        if self.0.wait()?.success() { Ok(()) } else { Err(io::Error::other("git did not give all of the commit")) }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is as well.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Room {
    fn make(path: String) -> Result<Self, HostError> {
        let room = Self(path);
        room.clear();
        let made = fs::create_dir_all(&room.0);
        made.map_err(|error| HostError::new(Reason::Failed, format!("`{}` can't be made ({error})", room.0)))?;
        Ok(room)
    }

    fn clear(&self) {
        // What is left stands in the way of the next one, which says so.
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Prepares git without anything of the daemon's environment.
fn git(directory: &Path) -> Command {
    let mut command = program::program("/bin/sh");
    command.args(["-c", LIMITED, "git"]).stdout(Stdio::piped()).current_dir(directory);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C").env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", "https:http:file");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}

async fn answer(mut command: Command, patience: Duration, repository: &Repository) -> Result<String, HostError> {
    let output = match tokio::time::timeout(patience, command.output()).await {
        Err(_) => {
            let message = format!("`{}` did not answer within {} s", repository.url, patience.as_secs());
            return Err(HostError::new(Reason::SourceUnavailable, message));
        }
        Ok(Err(error)) => return Err(program::not_started("git", &error)),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = program::failed("git", &output.stderr);
    let reason = if error.reason == Reason::DiskFull { Reason::DiskFull } else { Reason::SourceUnavailable };
    Err(HostError::new(reason, error.message))
}

/// Returns the names that a word of a manifest may stand for, in git's own order.
fn names(repository: &Repository) -> Vec<String> {
    match repository.reference.as_deref() {
        None | Some("HEAD") => vec!["HEAD".to_owned()],
        Some(whole) if whole.starts_with("refs/") => vec![whole.to_owned()],
        Some(word) => vec![format!("refs/{word}"), format!("refs/tags/{word}"), format!("refs/heads/{word}")],
    }
}

/// Finds the first of the names in an answer. Of a tag with a message of its own the commit behind it counts.
fn found(answer: &str, repository: &Repository) -> Option<String> {
    let lines: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let named = |name: &str| lines.iter().find(|(_, it)| *it == name).map(|(commit, _)| (*commit).to_owned());
    names(repository).iter().find_map(|name| named(&format!("{name}^{{}}")).or_else(|| named(name)))
}

fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(reference: Option<&str>) -> Repository {
        Repository { url: "file:///srv/x".into(), reference: reference.map(str::to_owned), path: None }
    }

    #[test]
    fn a_word_is_the_tag_first_and_then_the_branch() {
        let answer = "aa\trefs/heads/v1\nbb\trefs/tags/v1\ncc\trefs/tags/v1^{}\ndd\tHEAD\n";
        assert_eq!(found(answer, &repository(Some("v1"))).as_deref(), Some("cc"));
        assert_eq!(found(answer, &repository(Some("refs/heads/v1"))).as_deref(), Some("aa"));
        assert_eq!(found(answer, &repository(None)).as_deref(), Some("dd"));
        assert_eq!(found(answer, &repository(Some("v2"))), None);
    }

    #[tokio::test]
    async fn a_commit_needs_no_question_and_nothing_else_is_spoken_to() {
        let commit = "0A".repeat(20);
        assert_eq!(tip(&repository(Some(&commit))).await.unwrap(), commit.to_ascii_lowercase());
        let other = Repository { url: "ext::sh -c true".into(), ..Repository::default() };
        let error = tip(&other).await.unwrap_err();
        assert!(error.reason == Reason::SourceUnavailable && error.message.contains("not allowed"), "{error}");
    }

    const ANSWER: &str = "aa\trefs/heads/v1\nbb\trefs/tags/v1\ncc\trefs/tags/v1^{}\ndd\tHEAD\n";

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 200, failure_persistence: None, ..proptest::test_runner::Config::default() })]

        #[test]
        fn no_answer_breaks_it(at in 0..ANSWER.len(), what in "\\PC{0,8}") {
            let text = format!("{}{what}{}", &ANSWER[..at], &ANSWER[at..]);
            for reference in [None, Some("v1"), Some("refs/heads/v1")] {
                let commit = found(&text, &repository(reference));
                proptest::prop_assert!(commit.is_none_or(|it| text.contains(&it)));
            }
        }
    }
}

//! The program git, kept from everything but one repository, and what may come in by it.

mod fetch;
pub(crate) mod guard;
mod limits;
pub(crate) mod read;
mod signed;

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

pub(crate) use self::{fetch::Remote, signed::Signers};
use crate::words::told;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may work on what strangers sent: some trees say more than anybody can read.
const BRIEF: Duration = Duration::from_secs(5);
/// How long it may work on one request of a client that fetches or pushes.
const SERVING: Duration = Duration::from_secs(60);
/// The most bytes that one command may answer: all manifests that a history may hold, and some.
const MOST_BYTES: u64 = 80 << 20;
/// How much of what git complains about is told.
const MOST_WORDS: usize = 300;
/// Where programs are looked for, whatever the environment of the daemon says.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What every command is told: nothing outside of the repository counts, no program of anybody is run, nothing is
/// fetched, and what is committed survives a loss of power.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.fsync=all",
    "core.fsyncMethod=batch",
    "fastimport.unpackLimit=1000",
    "gc.auto=0",
    "protocol.allow=never",
    "safe.directory=*",
];

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("the program `git` is not installed")]
    NotInstalled,
    /// It can't be run.
    #[error("`git {command}` can't be run: {source}")]
    NotRun {
        /// What was asked.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("`git {0}` took longer than {1:?}")]
    TimedOut(String, Duration),
    /// It answered more than will be read.
    #[error("`git {0}` answered with more than {MOST_BYTES} bytes")]
    TooMuch(String),
    /// What it answered is not what it was asked.
    #[error("git's answer can't be understood: {0}")]
    Garbled(&'static str),
    /// It refused.
    #[error("`git {command}` failed: {complaint}")]
    Failed {
        /// What was asked.
        command: String,
        /// What it said.
        complaint: String,
    },
}

/// Git, at one repository.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    directory: PathBuf,
    /// True if it works on what strangers sent.
    is_narrow: bool,
    /// Where objects are besides that nobody has accepted yet.
    quarantine: Option<PathBuf>,
}

impl Git {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self { directory, is_narrow: false, quarantine: None }
    }

    /// Returns git at the same repository with narrow limits, which sees what waits in this directory as well.
    pub(crate) fn narrow(&self, quarantine: Option<PathBuf>) -> Self {
        Self { is_narrow: true, quarantine, ..self.clone() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns true if there is a repository.
    pub(crate) fn is_there(&self) -> bool {
        self.directory.join("HEAD").is_file()
    }

    /// Runs one command to its end and returns its answer. Dropped half-way, it is killed.
    pub(crate) async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let name = arguments.first().copied().unwrap_or_default();
        exchange(name, self.command(arguments), input, PATIENCE).await
    }

    /// Runs one command whose answer is a line.
    pub(crate) async fn line(&self, arguments: &[&str]) -> Result<String, GitError> {
        let answer = self.run(arguments, b"").await?;
        Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }

    /// Starts git's own server of repositories, which answers one request on its standard output. Dropped, it ends.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> Result<Child, GitError> {
        let mut command = closed(limits::git(SERVING));
        command.env("GIT_PROJECT_ROOT", &self.directory).env("GIT_HTTP_EXPORT_ALL", "1");
        command.envs(environment.iter().copied()).arg("http-backend").stderr(Stdio::null());
        command.spawn().map_err(|source| not_run("http-backend", source))
    }

    /// Makes what is loose one pack now and then, and lets go of what nobody needs. That it fails is no reason to stop.
    pub(crate) async fn pack(&self) {
        // What is kept for a day may belong to a push under way.
        let commands: [&[&str]; 3] =
            [&["repack", "-d", "-q", "--geometric=2"], &["prune-packed", "-q"], &["prune", "--expire=1.day.ago"]];
        for command in commands {
            if let Err(error) = self.run(command, b"").await {
                tracing::warn!(%error, directory = %self.directory.display(), "a repository can't be packed");
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = closed(if self.is_narrow { limits::git(BRIEF) } else { git() });
        command.env("GIT_DIR", &self.directory).env("GIT_NO_REPLACE_OBJECTS", "1");
        if let Some(objects) = &self.quarantine {
            command.env("GIT_OBJECT_DIRECTORY", objects);
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.directory.join("objects"));
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments);
        command
    }
}

/// Runs a command to its end, within this time.
async fn exchange(name: &str, command: Command, input: &[u8], patience: Duration) -> Result<Vec<u8>, GitError> {
    let answered = tokio::time::timeout(patience, talk(name, command, input)).await;
    answered.unwrap_or_else(|_| Err(GitError::TimedOut(name.to_owned(), patience)))
}

async fn talk(name: &str, mut command: Command, input: &[u8]) -> Result<Vec<u8>, GitError> {
    let not_run = |source: io::Error| not_run(name, source);
    let mut child = command.spawn().map_err(not_run)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command that has heard enough says itself what became of it.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), answer, complaint) = tokio::join!(write, some(stdout, MOST_BYTES), some(stderr, 1 << 16));
    let (answer, complaint) = (answer.map_err(not_run)?, complaint.map_err(not_run)?);
    if answer.len() as u64 > MOST_BYTES {
        return Err(GitError::TooMuch(name.to_owned()));
    }
    if child.wait().await.map_err(not_run)?.success() {
        return Ok(answer);
    }
    let complaint = told(&String::from_utf8_lossy(&complaint), MOST_WORDS);
    Err(GitError::Failed { command: name.to_owned(), complaint })
}

#[expect(clippy::disallowed_methods, reason = "this is the place where git is started")]
fn git() -> Command {
    Command::new("git")
}

/// Takes everything of the daemon's environment away from a command.
fn closed(mut command: Command) -> Command {
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    command.current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn not_run(command: &str, source: io::Error) -> GitError {
    match source.kind() {
        io::ErrorKind::NotFound => GitError::NotInstalled,
        _ => GitError::NotRun { command: command.to_owned(), source },
    }
}

/// Reads all of it, and one byte more than `most` at most: what comes after is lost with the pipe.
async fn some(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_git_complains_of_tells_no_login() {
        let error = Git::new(PathBuf::from("/")).run(&["https://me:sec\u{1}ret@lan/x"], b"").await.unwrap_err();
        let GitError::Failed { complaint, .. } = error else { panic!("{error}") };
        assert!(complaint.contains("https://lan/x") && !complaint.contains("me:sec"), "{complaint}");
    }
}

//! The program git, kept from everything but one repository.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(30);
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
    #[error("`git {0}` took longer than {PATIENCE:?}")]
    TimedOut(String),
    /// It answered more than will be read.
    #[error("`git {0}` answered with more than {MOST_BYTES} bytes")]
    TooMuch(String),
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
pub(super) struct Git {
    directory: PathBuf,
}

impl Git {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns true if there is a repository.
    pub(super) fn is_there(&self) -> bool {
        self.directory.join("HEAD").is_file()
    }

    /// Runs one command to its end and returns its answer. Dropped half-way, it is killed.
    pub(super) async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let name = arguments.first().copied().unwrap_or_default().to_owned();
        tokio::time::timeout(PATIENCE, self.exchange(&name, arguments, input))
            .await
            .unwrap_or(Err(GitError::TimedOut(name)))
    }

    /// Runs one command whose answer is a line.
    pub(super) async fn line(&self, arguments: &[&str]) -> Result<String, GitError> {
        let answer = self.run(arguments, b"").await?;
        Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
    }

    async fn exchange(&self, name: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, GitError> {
        let not_run = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => GitError::NotInstalled,
            _ => GitError::NotRun { command: name.to_owned(), source },
        };
        let mut child = self.command(arguments).spawn().map_err(not_run)?;
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
        let complaint = String::from_utf8_lossy(&complaint);
        let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_WORDS).collect();
        Err(GitError::Failed { command: name.to_owned(), complaint })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is the place where git is started")]
        let mut command = Command::new("git");
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C").env("GIT_DIR", &self.directory);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_ATTR_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_REPLACE_OBJECTS", "1");
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(arguments).current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
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

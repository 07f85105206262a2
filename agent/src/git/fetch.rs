//! Fetching from a repository elsewhere.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;
use zeroize::Zeroizing;

use super::{Git, GitError, closed, exchange, limits};

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long each of its processes may work.
const WORK: Duration = Duration::from_secs(60);

/// What a fetch is told besides. What comes is checked, but for three mistakes that honest old histories have; a server
/// leads nowhere else, and one that says nothing for long is given up.
const SETTINGS: &[&str] = &[
    "fetch.fsckObjects=true",
    "fetch.fsck.badTimezone=warn",
    "fetch.fsck.missingSpaceBeforeDate=warn",
    "fetch.fsck.zeroPaddedFilemode=warn",
    "http.followRedirects=false",
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=30",
    "credential.helper=",
];

/// A branch of a repository elsewhere, and what it is reached with.
pub(crate) struct Remote<'a> {
    /// `https://…`, `ssh://…`, `http://…` or `file:///…`, and nothing else.
    pub(crate) url: &'a str,
    pub(crate) branch: &'a str,
    /// The value of the header `Authorization`. It stands in no argument, where every user of the machine could read it.
    pub(crate) authorization: Option<Zeroizing<String>>,
    /// A configuration for ssh, which names the key and the machine. No other one counts, nor anything of the user's.
    pub(crate) ssh: Option<PathBuf>,
    /// A configuration for git's other end, where that runs on this machine: whose repository it is does not count.
    pub(crate) other_end: &'a Path,
}

impl Git {
    /// Fetches a branch into this ref, wherever it points by then. Dropped half-way, the ref is as it was.
    pub(crate) async fn fetch(&self, remote: &Remote<'_>, into: &str) -> Result<(), GitError> {
        let mut command = self.outward(remote);
        command.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]);
        command.args(["--no-auto-maintenance", "--refmap=", "--force", "--end-of-options", remote.url]);
        command.arg(format!("+refs/heads/{}:{into}", remote.branch));
        exchange("fetch", command, b"", PATIENCE).await.map(drop)
    }

    /// Asks a repository whether it has a branch, over a connection of its own, and takes nothing in.
    pub(crate) async fn reach(&self, remote: &Remote<'_>) -> Result<(), GitError> {
        let mut command = self.outward(remote);
        command.args(["ls-remote", "--quiet", "--exit-code", "--end-of-options", remote.url]);
        command.arg(format!("refs/heads/{}", remote.branch));
        exchange("ls-remote", command, b"", PATIENCE).await.map(drop)
    }

    /// Prepares a command that speaks with a repository elsewhere.
    fn outward(&self, remote: &Remote<'_>) -> Command {
        let mut command = closed(limits::git(WORK));
        command.env("GIT_DIR", self.directory()).env("GIT_CONFIG_GLOBAL", remote.other_end);
        if let Some(authorization) = &remote.authorization {
            let value = Zeroizing::new(format!("Authorization: {}", authorization.as_str()));
            command.env("GIT_CONFIG_COUNT", "1");
            command.env("GIT_CONFIG_KEY_0", format!("http.{}.extraHeader", remote.url));
            command.env("GIT_CONFIG_VALUE_0", value.as_str());
        }
        if let Some(settings) = &remote.ssh {
            // A shell runs it: what is a path there is no word of the command.
            command.env("GIT_SSH_COMMAND", "exec ssh -F \"$SSH_SETTINGS\"").env("SSH_SETTINGS", settings);
            command.env("GIT_SSH_VARIANT", "ssh");
        }
        let scheme = remote.url.split(':').next().unwrap_or_default();
        let allowed = format!("protocol.{scheme}.allow=always");
        for setting in super::SETTINGS.iter().chain(SETTINGS).copied().chain([&*allowed]) {
            command.args(["-c", setting]);
        }
        command
    }
}

//! Why a command failed, what to do, and the exit code that says it to scripts.

use std::{io, path::PathBuf};

use serde_json::Value;

use crate::{manifests::WriteError, secrets::IdentityError};

/// A command that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answers.
    #[error("no daemon answers at {host}")]
    Unreachable {
        /// Where it was looked for.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever took the request left before it answered.
    #[error("{host} hung up before it answered")]
    HungUp {
        /// Who it was.
        host: String,
        /// What became of the connection.
        source: hyper::Error,
    },
    /// What is sent comes to no end.
    #[error("what is sent to {host} can't be read to its end: {cause}")]
    Unsent {
        /// Who it is sent to.
        host: String,
        /// What is wrong with it.
        cause: String,
    },
    /// What came over the connection is not of this API, or the connection broke in the midst of it.
    #[error("the answer of {host} can't be understood: {cause}")]
    Garbled {
        /// Who answered.
        host: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Whoever answers is not the machine that is meant. Nothing was sent.
    #[error("{host} is not the machine that you mean: {why}; nothing was sent to it")]
    Untrusted {
        /// Where it answers.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing is known of a machine.
    #[error("nothing is known of the machine at {0}; nothing was sent to it")]
    Stranger(String),
    /// The daemon refused, with a problem document.
    #[error("{}", words(.0))]
    Refused(Value),
    /// Manifests have mistakes, which were shown already.
    #[error("{mistakes} mistake(s) in {files} file(s); nothing was sent")]
    Invalid {
        /// How many mistakes.
        mistakes: usize,
        /// In how many files.
        files: usize,
    },
    /// A file in the words of others has mistakes, which were shown already.
    #[error("{0} mistake(s); nothing was written")]
    Misread(usize),
    /// The command makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The manifest changed while it was edited.
    #[error("the manifest was changed by someone else meanwhile; your text is kept in {}", .0.display())]
    Overtaken(PathBuf),
    /// It took too long.
    #[error("{0}")]
    Unsettled(String),
    /// A file can't be read or written.
    #[error("can't use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest can't be written into a file.
    #[error("can't write the manifest {}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<WriteError>,
    },
    /// A value can't be encrypted or decrypted.
    #[error("{0}")]
    Secret(String),
    /// A quote proves nothing.
    #[error("this proves nothing: {0}")]
    Unproved(String),
    /// A key file can't be used.
    #[error(transparent)]
    Key(IdentityError),
    /// A program in a container did not end by itself.
    #[error("{0}")]
    Program(String),
    /// The editor failed.
    #[error("the editor `{0}` failed; nothing was changed")]
    Editor(String),
    /// Standard output is closed.
    #[error("can't write to standard output")]
    Output(#[source] io::Error),
}

impl Failure {
    /// Returns the exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            // Whoever closed the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Untrusted { .. } | Self::Stranger(_) | Self::Unproved(_) => 4,
            Self::Overtaken(_) => 5,
            Self::Unsettled(_) => 6,
            Self::Refused(problem) => match problem["status"].as_u64() {
                Some(401 | 403) => 4,
                Some(404) => 3,
                Some(409 | 412) => 5,
                _ => 1,
            },
            _ => 1,
        }
    }

    /// Returns what to do, if that can be said.
    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Unreachable { host, source } => Some(reach(host, source)),
            Self::HungUp { .. } => Some(
                "what was asked for may be done or not; look before you ask again, and whether piccolod runs"
                    .to_owned(),
            ),
            Self::Refused(problem) => problem["help"].as_str().map(str::to_owned),
            Self::Untrusted { .. } => {
                Some("compare with what its own screen shows; if it was made anew, `piccolo claim` it again".to_owned())
            }
            Self::Stranger(_) => Some("`piccolo claim HOST` or `piccolo context add HOST` first".to_owned()),
            Self::Overtaken(_) => Some("edit again, and take over from the kept text what you still want".to_owned()),
            _ => None,
        }
    }
}

fn reach(host: &str, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or join the group that owns the socket".to_owned(),
        _ if host.starts_with("unix:") => {
            "start it with `systemctl start piccolod`, or say where it is: --host unix:///path/to.sock".to_owned()
        }
        _ => "is piccolod running there, and does a firewall let it answer?".to_owned(),
    }
}

fn words(problem: &Value) -> String {
    let mut words = problem["detail"].as_str().unwrap_or("the daemon refused").to_owned();
    for error in problem["errors"].as_array().into_iter().flatten() {
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        words.push_str(&format!("\n  {}: {} ({})", text("path"), text("reason"), text("code")));
        if let Some(help) = error["help"].as_str() {
            words.push_str(&format!("\n    help: {help}"));
        }
    }
    words
}

//! Why a manifest was not written.

use std::path::PathBuf;

use piccolo_schema::{Kind, Role, parse::Rejected};

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// True if there was no such manifest before.
    pub created: bool,
    /// The fingerprint of the file now.
    pub etag: String,
}

/// What must hold for a write to happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    #[default]
    Anything,
    /// The manifest is there, with whatever content.
    Present,
    /// The manifest is not there.
    Absent,
    /// The manifest's file has this fingerprint.
    Etag(String),
}

/// A write that did not happen. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The manifest is not what the caller expects.
    #[error("the manifest was changed, made or removed since it was read")]
    Conflict {
        /// The fingerprint of the file now, none when there is no such manifest.
        current: Option<String>,
    },
    /// There is no such manifest.
    #[error("{kind} `{name}` is not declared")]
    NotFound {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// The text is no manifest.
    #[error("the manifest has {} mistake(s)", .0.diagnostics.len())]
    Invalid(Rejected),
    /// Some of several texts are no manifests.
    #[error("{}", mistakes(.0))]
    Mistakes(Vec<(PathBuf, Rejected)>),
    /// The text declares something other than what it was sent as.
    #[error("the manifest declares {kind} `{name}`, which is not what it was sent as")]
    Misdirected {
        /// The kind that it declares.
        kind: Kind,
        /// The name that it declares.
        name: String,
    },
    /// Several files declare it; it is not clear which one to write.
    #[error("several files declare it; remove all but one of {}", list(.paths))]
    Duplicate {
        /// The files, relative to the root.
        paths: Vec<PathBuf>,
    },
    /// The file can't be understood as it is now, and what is in it must not be lost.
    #[error("{} can't be understood at present; repair or remove it first", path.display())]
    Broken {
        /// The file, relative to the root.
        path: PathBuf,
    },
    /// The file that would be made is there and holds something else.
    #[error("{} holds something else", path.display())]
    Occupied {
        /// The file, relative to the root.
        path: PathBuf,
    },
    /// The file would be outside the tree.
    #[error("{} leads out of the manifests' directory", path.display())]
    OutsideTree {
        /// The file, relative to the root.
        path: PathBuf,
    },
    /// There are more files or bytes than will be written together.
    #[error("these are more manifests than can be replaced together")]
    TooLarge,
    /// The system refused.
    #[error("can't write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The author may not do this.
    #[error("{kind} `{name}` needs the role {needs}: it is as good as root on this machine")]
    Forbidden {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// The role that it takes.
        needs: Role,
    },
    /// Another change is on trial, and this one does not join it.
    #[error("`{id}` is on trial: until it is confirmed or put back only what joins it is written")]
    OnTrial {
        /// The name of the change.
        id: String,
    },
    /// No change of this name is on trial.
    #[error("no change `{id}` is on trial")]
    NoTrial {
        /// The name.
        id: String,
    },
    /// The agent is shutting down.
    #[error("the agent is shutting down")]
    Stopping,
}

impl From<Option<&str>> for Expect {
    /// Reads the value of an `If-Match` header: a fingerprint, quoted or not, or `*`.
    fn from(if_match: Option<&str>) -> Self {
        match if_match.map(str::trim) {
            None => Self::Anything,
            Some("*") => Self::Present,
            Some(etag) => Self::Etag(etag.trim_matches('"').to_owned()),
        }
    }
}

/// The most mistakes that are told of one set.
const MOST: usize = 50;

/// Tells every mistake with its place.
fn mistakes(all: &[(PathBuf, Rejected)]) -> String {
    let places = all.iter().flat_map(|(path, it)| it.diagnostics.iter().map(move |it| (path, it)));
    let count = places.clone().count();
    let mut text = format!("{count} mistake(s) in {} file(s)", all.len());
    places.take(MOST).for_each(|(path, it)| text.extend(["\n", &it.render(&path.display().to_string())]));
    if count > MOST {
        text.push_str(&format!("\nand {} more", count - MOST));
    }
    text
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

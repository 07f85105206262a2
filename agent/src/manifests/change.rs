//! A change of the directory, and who made it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;

/// What the directory says after a change.
#[derive(Clone, Debug)]
pub struct Change {
    /// All of it.
    pub snapshot: Arc<Snapshot>,
    /// Who changed it.
    pub by: By,
}

/// Who changed the directory, and by which door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The way in.
    pub door: Door,
    /// The author.
    pub who: Who,
}

/// A way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// An editor, or whatever else writes files.
    #[default]
    File,
    /// The API.
    Api,
    /// A push.
    Git,
    /// A repository that this machine follows.
    Pull,
}

/// An author, as far as a door knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Nobody was asked.
    #[default]
    Unknown,
    /// A user of this machine, by number.
    User(u32),
    /// Somebody who was let in, by name.
    Named(Arc<str>),
    /// The agent itself, which says why.
    Agent(Arc<str>),
    /// Whoever a revision of a repository names.
    Committer {
        /// The name.
        author: Arc<str>,
        /// The source and the revision.
        revision: Arc<str>,
    },
}

impl Door {
    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
            Self::Git => "git",
            Self::Pull => "pull",
        }
    }
}

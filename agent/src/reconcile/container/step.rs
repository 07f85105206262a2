use std::fmt::{self, Display};

use piccolo_schema::{ContainerSpec, container::SecretUse};
use serde::Serialize;

use crate::{
    host::{ContainerSeen, Limits},
    reconcile::{Disruption, Step},
};

/// One change to a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStep {
    /// The name of the manifest.
    pub subject: String,
    /// True when no manifest asks for the container any more.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done. A container that this plan makes is addressed by its name, any other by its identifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Pulls an image.
    Pull {
        /// The reference.
        image: String,
    },
    /// Makes a container.
    Create {
        /// The name that it gets.
        name: String,
        /// What it is made from. Never written out: it may hold secrets.
        #[serde(skip)]
        spec: Box<ContainerSpec>,
        /// Why the one that is there won't do, empty when there is none.
        why: String,
    },
    /// Changes limits in place.
    Update {
        /// The engine's identifier.
        id: String,
        /// Its name.
        name: String,
        /// What it is limited to.
        limits: Limits,
        /// The fields that differ.
        fields: Vec<&'static str>,
    },
    /// Gives it another name.
    Rename {
        /// The engine's identifier, or its name.
        id: String,
        /// Its name.
        name: String,
        /// Its new name.
        to: String,
    },
    /// Starts it.
    Start {
        /// The engine's identifier, or its name.
        id: String,
        /// Its name.
        name: String,
    },
    /// Stops and starts it because it is unhealthy.
    Restart {
        /// The engine's identifier.
        id: String,
        /// Its name.
        name: String,
    },
    /// Lets it go on.
    Unpause {
        /// The engine's identifier.
        id: String,
        /// Its name.
        name: String,
    },
    /// Stops it.
    Stop {
        /// The engine's identifier.
        id: String,
        /// Its name.
        name: String,
    },
    /// Writes the files of secrets that it is given, in memory.
    PlaceSecrets {
        /// Its name.
        name: String,
        /// What is written, and where to.
        uses: Vec<SecretUse>,
    },
    /// Removes files of secrets that it uses no longer.
    ClearSecrets {
        /// Its name.
        name: String,
        /// Where they lie.
        places: Vec<String>,
    },
    /// Removes it, not its volumes.
    Remove {
        /// The engine's identifier.
        id: String,
        /// Its name.
        name: String,
    },
}

impl Act {
    /// Lets this container go on.
    pub(super) fn unpause(seen: &ContainerSeen) -> Self {
        Self::Unpause { id: seen.id.clone(), name: seen.name.clone() }
    }

    /// Stops this container.
    pub(super) fn stop(seen: &ContainerSeen) -> Self {
        Self::Stop { id: seen.id.clone(), name: seen.name.clone() }
    }

    /// Restarts this container.
    pub(super) fn restart(seen: &ContainerSeen) -> Self {
        Self::Restart { id: seen.id.clone(), name: seen.name.clone() }
    }

    /// Removes this container.
    pub(super) fn remove(seen: &ContainerSeen) -> Self {
        Self::Remove { id: seen.id.clone(), name: seen.name.clone() }
    }

    /// Renames this container.
    pub(super) fn rename(seen: &ContainerSeen, to: &str) -> Self {
        Self::Rename { id: seen.id.clone(), name: seen.name.clone(), to: to.to_owned() }
    }
}

impl Step for ContainerStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn disruption(&self) -> Disruption {
        match self.act {
            Act::Stop { .. } | Act::Restart { .. } => Disruption::Restarts(self.subject.clone()),
            _ => Disruption::None,
        }
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn is_transfer(&self) -> bool {
        matches!(self.act, Act::Pull { .. })
    }
}

impl Display for ContainerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.act, f)?;
        if self.removal { f.write_str(" (no manifest asks for it)") } else { Ok(()) }
    }
}

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { image } => write!(f, "pull {image}"),
            Self::Create { name, spec, why } if why.is_empty() => write!(f, "create {name} from {}", spec.image),
            Self::Create { name, spec, why } => write!(f, "create {name} from {} ({why})", spec.image),
            Self::Update { name, fields, .. } => write!(f, "update {name} ({} changed)", fields.join(", ")),
            Self::Rename { name, to, .. } => write!(f, "rename {name} to {to}"),
            Self::Start { name, .. } => write!(f, "start {name}"),
            Self::Restart { name, .. } => write!(f, "restart {name} (unhealthy)"),
            Self::Unpause { name, .. } => write!(f, "unpause {name}"),
            Self::Stop { name, .. } => write!(f, "stop {name}"),
            Self::Remove { name, .. } => write!(f, "remove {name}"),
            Self::PlaceSecrets { name, uses } => write!(f, "write secrets of {name} ({})", secrets(uses)),
            Self::ClearSecrets { name, .. } => write!(f, "remove unused secrets of {name}"),
        }
    }
}

fn secrets(uses: &[SecretUse]) -> String {
    let mut names: Vec<&str> = uses.iter().map(|it| it.secret.as_str()).collect();
    names.dedup();
    names.join(", ")
}

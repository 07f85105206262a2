use std::fmt::{self, Display};

use piccolo_schema::{ContainerSpec, container::SecretUse, image::Reference};
use serde::Serialize;

use crate::{
    host::{ContainerSeen, Copied, Limits, Previous, Rollout},
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
    /// True when nobody changed anything: it is a part of an update or of the way back, or what it starts has ended with
    /// the machine or the engine.
    pub follows: bool,
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
        /// The image where it is not the one that the tag names here.
        rollout: Option<Rollout>,
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
    /// Takes a snapshot of a volume.
    Snapshot(Copied),
    /// Goes back to a snapshot of a volume.
    Restore(Copied),
    /// Removes a snapshot of a volume.
    DropSnapshot(Copied),
    /// Writes down that an image did well.
    Commit {
        /// Its digest.
        digest: String,
        /// What a person can go back to.
        previous: Option<Previous>,
    },
    /// Writes down that an image did not do well.
    Condemn {
        /// Its digest.
        digest: String,
        /// What went wrong.
        why: String,
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
            Act::Stop { .. } | Act::Restart { .. } | Act::Snapshot(_) | Act::Restore(_) => {
                Disruption::Restarts(self.subject.clone())
            }
            _ => Disruption::None,
        }
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn loses(&self) -> Option<&'static str> {
        match self.act {
            Act::Remove { .. } => Some("what it wrote outside of volumes"),
            Act::DropSnapshot(_) => Some("the snapshot"),
            Act::Condemn { .. } => Some("another try of this image"),
            _ => None,
        }
    }

    fn is_follow_up(&self) -> bool {
        self.follows
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
            Self::Create { name, spec, why, rollout } => {
                write!(f, "create {name} from {}", image(spec, rollout.as_ref()))?;
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
            Self::Update { name, fields, .. } => write!(f, "update {name} ({} changed)", fields.join(", ")),
            Self::Rename { name, to, .. } => write!(f, "rename {name} to {to}"),
            Self::Start { name, .. } => write!(f, "start {name}"),
            Self::Restart { name, .. } => write!(f, "restart {name} (unhealthy)"),
            Self::Unpause { name, .. } => write!(f, "unpause {name}"),
            Self::Stop { name, .. } => write!(f, "stop {name}"),
            Self::Remove { name, .. } => write!(f, "remove {name}"),
            Self::PlaceSecrets { name, uses } => write!(f, "write secrets of {name} ({})", secrets(uses)),
            Self::ClearSecrets { name, .. } => write!(f, "remove unused secrets of {name}"),
            Self::Snapshot(it) => write!(f, "take snapshot {} of volume {}", it.label, it.volume),
            Self::Restore(it) => write!(f, "restore volume {} from snapshot {}", it.volume, it.label),
            Self::DropSnapshot(it) => write!(f, "remove snapshot {} of volume {}", it.label, it.volume),
            Self::Commit { digest, .. } => write!(f, "keep the image {digest}"),
            Self::Condemn { digest, why } => write!(f, "give up the image {digest} ({why})"),
        }
    }
}

fn secrets(uses: &[SecretUse]) -> String {
    let mut names: Vec<&str> = uses.iter().map(|it| it.secret.as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// Returns the reference that a container is made from.
pub(super) fn image(spec: &ContainerSpec, rollout: Option<&Rollout>) -> String {
    let by_digest = rollout.and_then(|it| Reference::parse(&spec.image).ok()?.at(&it.digest).ok());
    by_digest.map_or_else(|| spec.image.clone(), |image| image.to_string())
}

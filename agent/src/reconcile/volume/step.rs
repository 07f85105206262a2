use std::fmt::{self, Display};

use piccolo_schema::{VolumeSpec, quantity::Bytes};
use serde::Serialize;

use super::plan;
use crate::{
    host::{Access, Ground},
    reconcile::Step,
};

/// One change to a volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStep {
    /// The name of the manifest, and of the volume.
    pub subject: String,
    /// The change.
    pub act: Act,
}

/// What is done. Nothing here erases data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Makes it, with its directory if that is missing.
    Create {
        /// What it is made from.
        spec: VolumeSpec,
    },
    /// Changes owner and mode of its top directory.
    SetAccess {
        /// What differs.
        access: Access,
    },
    /// Limits it, or lifts the limit.
    SetQuota {
        /// The limit.
        quota: Option<Bytes>,
    },
    /// Makes the engine forget it, so that it can be made on another directory.
    Release {
        /// The directory that it stands on.
        path: String,
    },
}

impl VolumeStep {
    /// Returns the disk that is not mounted, if the step would touch its bare mount point.
    pub(super) fn bare<'a>(&self, grounds: &'a [Ground]) -> Option<&'a Ground> {
        match &self.act {
            Act::Create { spec } => plan::bare(spec, grounds),
            Act::SetAccess { .. } | Act::SetQuota { .. } => {
                grounds.iter().find(|it| !it.mounted && it.volumes.contains(&self.subject))
            }
            // The engine forgets a record, and looks at no directory.
            Act::Release { .. } => None,
        }
    }
}

impl Step for VolumeStep {
    fn subject(&self) -> &str {
        &self.subject
    }
}

impl Display for VolumeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.subject;
        match &self.act {
            Act::Create { spec } => match spec.plain_path() {
                Some(path) => write!(f, "create volume {name} on {path}"),
                None => write!(f, "create volume {name}"),
            },
            Act::SetAccess { access } => {
                let owner = access.owner.map(|(user, group)| format!("owner {user}:{group}"));
                let mode = access.mode.map(|mode| format!("mode {mode:04o}"));
                let what: Vec<String> = owner.into_iter().chain(mode).collect();
                write!(f, "give volume {name} {}", what.join(" and "))
            }
            Act::SetQuota { quota: Some(quota) } => write!(f, "limit volume {name} to {quota}"),
            Act::SetQuota { quota: None } => write!(f, "lift the limit of volume {name}"),
            Act::Release { path } => write!(f, "release volume {name} from {path}, where its data stays"),
        }
    }
}

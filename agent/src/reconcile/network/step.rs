use std::fmt::{self, Display};

use piccolo_schema::NetworkSpec;
use serde::Serialize;

use crate::reconcile::Step;

/// One change to a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStep {
    /// The name of the manifest, and of the network.
    pub subject: String,
    /// True when no manifest asks for the network any more.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Makes it.
    Create {
        /// What it is made from.
        spec: NetworkSpec,
        /// The fields that differ from the one that was there.
        changed: Vec<&'static str>,
    },
    /// Removes it.
    Remove {
        /// The engine's identifier.
        id: String,
    },
}

impl Step for NetworkStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn is_removal(&self) -> bool {
        self.removal
    }
}

impl Display for NetworkStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Create { spec, changed } => {
                write!(f, "create network {}", self.subject)?;
                if let Some(subnet) = &spec.subnet {
                    write!(f, " with {subnet}")?;
                }
                if changed.is_empty() { Ok(()) } else { write!(f, " ({} changed)", changed.join(", ")) }
            }
            Act::Remove { .. } if self.removal => {
                write!(f, "remove network {} (no manifest asks for it)", self.subject)
            }
            Act::Remove { .. } => write!(f, "remove network {}", self.subject),
        }
    }
}

use std::fmt::{self, Display};

use piccolo_schema::SecretSpec;
use serde::Serialize;

use crate::reconcile::Step;

/// One change to a secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretStep {
    /// The name of the manifest.
    pub subject: String,
    /// True when no manifest asks for the secret any more.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Decrypts its values into memory.
    Write {
        /// What it is made from, encrypted. Too long to be written out.
        #[serde(skip)]
        spec: SecretSpec,
        /// The names of the values that differ.
        keys: Vec<String>,
    },
    /// Takes it out of memory.
    Remove,
}

impl Step for SecretStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn is_removal(&self) -> bool {
        self.removal
    }
}

impl Display for SecretStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Write { keys, .. } if keys.is_empty() => write!(f, "decrypt secret {}", self.subject),
            Act::Write { keys, .. } => write!(f, "decrypt secret {} ({})", self.subject, keys.join(", ")),
            Act::Remove => write!(f, "remove secret {} (no manifest asks for it)", self.subject),
        }
    }
}

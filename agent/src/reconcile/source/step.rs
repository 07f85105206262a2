use std::fmt::{self, Display};

use serde::Serialize;

use crate::reconcile::Step;

/// How much of a revision's name tells it from others.
pub(super) const SHORT: usize = 12;
/// How many changes are told one by one.
const MOST: usize = 20;

/// Puts the manifests of a revision in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStep {
    /// The name of the manifest.
    pub subject: String,
    /// The revision.
    pub revision: String,
    /// What it changes, `add container/web`.
    pub changes: Vec<String>,
}

impl Step for SourceStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    /// It follows from what a repository offers.
    fn is_follow_up(&self) -> bool {
        true
    }
}

impl Display for SourceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "take revision {} of {}", short(&self.revision), self.subject)?;
        if self.changes.is_empty() { Ok(()) } else { write!(f, ": {}", told(&self.changes)) }
    }
}

/// Returns a revision as people tell it.
pub(super) fn short(revision: &str) -> &str {
    revision.get(..SHORT).unwrap_or(revision)
}

/// Tells changes, or the first of many.
pub(super) fn told(changes: &[String]) -> String {
    let mut text = changes.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = changes.len().checked_sub(MOST).filter(|more| *more > 0) {
        text += &format!(" and {more} more");
    }
    text
}

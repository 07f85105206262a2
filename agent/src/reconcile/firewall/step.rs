use std::fmt::{self, Display};

use piccolo_schema::Firewall;
use serde::Serialize;

use crate::{
    host::{Rules, firewall::short},
    reconcile::Step,
};

/// One change to the firewall.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FirewallStep {
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Sets all rules in one stroke.
    Set {
        /// The rules.
        rules: Rules,
        /// What they are for, in words.
        about: String,
        /// What happened to those that were there; empty if only containers or the manifest changed.
        why: &'static str,
    },
    /// Removes all rules.
    Clear,
}

impl Step for FirewallStep {
    fn subject(&self) -> &str {
        Firewall::NAME
    }

    fn is_removal(&self) -> bool {
        self.act == Act::Clear
    }

    fn is_follow_up(&self) -> bool {
        matches!(self.act, Act::Set { why: "", .. })
    }
}

impl Display for FirewallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Set { rules, about, why } => {
                write!(f, "set firewall {} for {about}", short(&rules.digest))?;
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
            Act::Clear => f.write_str("remove the firewall (no manifest asks for it)"),
        }
    }
}

use std::fmt::{self, Display};

use piccolo_schema::NetworkSpec;
use serde::Serialize;

use crate::{
    host::{Rules, firewall::short},
    reconcile::Step,
};

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
    /// Sets the rules for the traffic of all networks.
    SetRules {
        /// The rules.
        rules: Rules,
        /// What happened to those that were there; empty if only the containers or the manifests changed.
        why: &'static str,
        /// Networks on which nothing is allowed any more, since no manifest asks for them.
        closed: Vec<String>,
    },
    /// Removes all rules.
    ClearRules,
}

impl Step for NetworkStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn is_follow_up(&self) -> bool {
        matches!(self.act, Act::SetRules { why: "", .. } | Act::ClearRules)
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
            Act::SetRules { rules, why, closed } => {
                write!(f, "set rules {} for {}", short(&rules.digest), governed(rules))?;
                if !closed.is_empty() {
                    write!(f, ", closing {} (no manifest asks for it)", closed.join(", "))?;
                }
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
            Act::ClearRules => f.write_str("remove all rules (nothing asks for one)"),
        }
    }
}

/// Returns "the networks a, b and the ports of 2 containers".
fn governed(rules: &Rules) -> String {
    let names: Vec<&str> = rules.networks.iter().map(String::as_str).collect();
    let networks = match names.as_slice() {
        [] => None,
        [one] => Some(format!("network {one}")),
        many => Some(format!("networks {}", many.join(", "))),
    };
    let ports = match rules.guards.len() {
        0 => None,
        1 => Some("the ports of 1 container".to_owned()),
        many => Some(format!("the ports of {many} containers")),
    };
    let api = rules.keeps_api.then(|| "the machine's API".to_owned());
    networks.into_iter().chain(ports).chain(api).collect::<Vec<_>>().join(" and ")
}

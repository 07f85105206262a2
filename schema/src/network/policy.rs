//! Who may talk to whom on a network.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NetworkSpec, rules::violation};
use crate::{
    container::Protocol,
    parse::{Code, Path, Violation},
    subnet::{BadSubnet, Subnet},
};

/// What is allowed on a network; all else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Which containers of the network may reach which others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
    /// What containers of the network may reach outside of it, the machine itself included. Names are only found if the
    /// name server is among it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Egress>,
}

/// Lets containers of the network reach others of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// Who may: containers whose `spec.labels` have all of these. Every container of the network when left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<String, String>,
    /// Whom they may reach, chosen likewise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub to: BTreeMap<String, String>,
    /// At which ports; at every port when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
    /// By which protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Lets containers of the network reach addresses outside of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Egress {
    /// Who may: containers whose `spec.labels` have all of these. Every container of the network when left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub from: BTreeMap<String, String>,
    /// What they may reach: `192.168.1.0/24`, one address as `192.168.1.1/32`, everything as `0.0.0.0/0` or `::/0`.
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `192.168.1.0/24`")
    )]
    pub to: String,
    /// At which ports; at every port when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
    /// By which protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Returns true if these labels of a container have all that a rule names.
#[must_use]
pub fn chooses(rule: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    rule.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Checks the policy of a network.
pub(super) fn check(spec: &NetworkSpec, out: &mut Vec<Violation>) {
    let Some(policy) = &spec.policy else { return };
    let path = |key: &str, index| Path::spec("policy").key(key).index(index);
    for (index, rule) in policy.allow.iter().enumerate() {
        if rule.from.is_empty() && rule.to.is_empty() && rule.ports.is_empty() {
            let reason = "an empty rule would let every container reach every other".to_owned();
            let help = "name at least one of `from`, `to` and `ports`";
            out.push(violation(Code::MissingKey, path("allow", index), reason, help));
        }
        ports(&rule.ports, &path("allow", index), out);
    }
    for (index, rule) in policy.egress.iter().enumerate() {
        if let Err(BadSubnet { reason, help }) = rule.to.parse::<Subnet>() {
            out.push(violation(Code::BadSubnet, path("egress", index).key("to"), reason, &help));
        }
        ports(&rule.ports, &path("egress", index), out);
    }
    if spec.internal && !policy.egress.is_empty() {
        let reason = "an internal network reaches nothing outside of it".to_owned();
        out.push(violation(Code::Conflict, Path::spec("policy").key("egress"), reason, "remove it, or `internal`"));
    }
}

fn ports(ports: &[u16], rule: &Path, out: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| !seen.insert(**port)) {
        let path = rule.clone().key("ports").index(index);
        out.push(violation(Code::Duplicate, path, format!("port {port} stands here twice"), "remove one"));
    }
}

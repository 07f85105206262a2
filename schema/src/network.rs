//! `Network`: a bridge network of the local engine.

mod policy;
mod rules;

use std::net::IpAddr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::policy::{Allow, Egress, Policy, chooses};
use crate::{Condition, subnet::Subnet};

/// A bridge network that containers join and on which they reach each other by name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Network",
    plural = "networks",
    singular = "network",
    shortname = "net",
    category = "all",
    derive = "PartialEq",
    status = "NetworkStatus",
    doc = "A bridge network of the local engine, kept as it is declared.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Subnet", type_ = "string", json_path = ".status.subnet"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The addresses of the network, `172.30.0.0/24`. The engine picks a free range when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `172.30.0.0/24`")
    )]
    pub subnet: Option<String>,
    /// The machine's own address on the network; the first of the subnet when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// IPv6 addresses beside the IPv4 ones, `fd12:3456:789a::/64`. None when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `fd12:3456:789a::/64`")
    )]
    pub ipv6: Option<String>,
    /// Keeps its containers from reaching anything outside of it, and from being reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Who may talk to whom. With a policy, even an empty one, whatever it does not allow is refused: between containers
    /// of the network, from them to the machine, and from them to the outside. Without one nothing is refused. A port
    /// that a container publishes stays reachable from where its `exposure` says. Containers are told apart by address:
    /// take the capability `NET_RAW` from those that you don't trust, or they can pass for others of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

impl NetworkSpec {
    /// Returns the part that the engine fixes when it makes the network, which is what is stamped on it.
    #[must_use]
    pub fn fixed(&self) -> Self {
        Self { policy: None, ..self.clone() }
    }

    /// Returns the ranges of addresses that it asks for, each with its key.
    pub fn ranges(&self) -> impl Iterator<Item = (&'static str, Subnet)> {
        let texts = [("subnet", &self.subnet), ("ipv6", &self.ipv6)];
        texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.parse().ok()?)))
    }
}

/// How a network stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// The engine's identifier of the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_id: Option<String>,
    /// The addresses that it really has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

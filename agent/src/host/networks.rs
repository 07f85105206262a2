//! The container engine as far as networks go: what it has of them, and the verbs.

use std::{collections::BTreeMap, future::Future, net::IpAddr};

use piccolo_schema::NetworkSpec;
use serde::{Deserialize, Serialize};

use super::{Firewall, HostError, Member, Rules};

/// The container engine as far as networks go, and the packet filter before it.
pub trait Networks: Send + Sync + 'static {
    /// Lists all networks of the engine, who is on them, and our rules for their traffic.
    fn networks(&self) -> impl Future<Output = Result<NetworkView, HostError>> + Send;
    /// Waits until a network or a rule may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Makes a bridge network, stamped with its spec.
    fn create_network(&self, name: &str, spec: &NetworkSpec) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes a network that nothing is attached to.
    fn remove_network(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Puts these rules in the place of all of ours, in one stroke.
    fn set_rules(&self, rules: &Rules) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes all rules of ours.
    fn clear_rules(&self) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What the engine has of networks, and what the packet filter has for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkView {
    /// Every network, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkSeen>,
    /// Every container of ours, running or not, sorted by identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// Our rules.
    #[serde(skip_serializing_if = "Firewall::is_idle")]
    pub firewall: Firewall,
    /// The port on which the machine's API answers networks, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,
}

/// A network as the engine shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSeen {
    /// The engine's identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The spec that we made it from; none on a network that is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<NetworkSpec>,
    /// The address ranges that it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// The machine's addresses on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// The device of its bridge, where it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bridge: String,
    /// Names of the containers on it, by identifier.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attached: BTreeMap<String, String>,
}

//! The packet filter of the machine, as far as it is ours: a table for containers and one for the machine itself, each
//! made from one text.

use std::{collections::BTreeSet, future::Future, net::IpAddr};

use piccolo_schema::container::Port;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::HostError;

/// The name of our table.
pub const TABLE: &str = "piccolo";
/// The name of the table that says who may reach the machine.
pub const MACHINE_TABLE: &str = "piccolo_firewall";
/// The longest name of a network device.
const LONGEST_DEVICE: usize = 15;

/// Who may reach the machine, as far as the packet filter keeps it.
pub trait PacketFilter: Send + Sync + 'static {
    /// Looks at the rules, and at the containers and bridges that they are about.
    fn filter(&self) -> impl Future<Output = Result<FilterView, HostError>> + Send;
    /// Waits until something of that may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Puts these rules in the place of those that are there, in one stroke.
    fn set_filter(&self, rules: &Rules) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes the rules.
    fn clear_filter(&self) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What there is of who may reach the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterView {
    /// Every container of ours, running or not, sorted by identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Member>,
    /// The devices of the engine's bridges.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub bridges: BTreeSet<String>,
    /// The rules.
    #[serde(skip_serializing_if = "Firewall::is_idle")]
    pub filter: Firewall,
    /// The port on which the machine's API answers networks, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,
}

/// All rules that are wanted on the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Stands for the text; it is written on the table.
    pub digest: String,
    /// The networks whose policy they keep.
    pub networks: BTreeSet<String>,
    /// The containers whose published ports they guard, by the beginning of their identifiers ([`short`]).
    pub guards: BTreeSet<String>,
    /// Whether they keep containers from the machine's API.
    pub keeps_api: bool,
    /// What `nft` is given.
    pub text: String,
    /// What the machine gives `nft` when it starts, before its engine: containers run then that nobody has looked at. The
    /// same rules, with no address of a container, so they let nothing through that depends on who asks.
    pub boot: String,
}

/// The rules that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RulesSeen {
    /// The digest that is written on the table.
    pub digest: String,
    /// False if a hand has changed them since.
    pub intact: bool,
    /// The networks whose policy they keep.
    pub networks: BTreeSet<String>,
    /// The containers whose published ports they guard.
    pub guards: BTreeSet<String>,
    /// Stands for the rules that the machine starts with; empty if there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub boot: String,
}

/// What the packet filter has, and what it can't do here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Firewall {
    /// Why no rules can be kept on this machine, if so, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why rules don't see what containers of one network send each other, if so, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blind: Option<String>,
    /// Our rules, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesSeen>,
}

/// A container of ours, as far as its traffic goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The engine's identifier.
    pub id: String,
    /// The name of its manifest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The network that it was made on.
    pub network: String,
    /// Its addresses there. None while it does not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// The labels of the spec that it was made from.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The ports of the spec that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Whether it may reach the machine's API.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_call: bool,
}

impl Rules {
    /// Returns rules whose digests stand at `{digest}` in the texts.
    pub fn new(text: &str, boot: &str, networks: BTreeSet<String>, guards: BTreeSet<String>) -> Self {
        let signed = |text: &str| text.replacen("{digest}", &digest(text), 1);
        Self { digest: digest(text), networks, guards, keeps_api: false, text: signed(text), boot: signed(boot) }
    }
}

impl RulesSeen {
    /// Returns true if they are these rules, now and when the machine starts, and nobody has changed them.
    pub fn is(&self, rules: &Rules) -> bool {
        self.intact && self.digest == rules.digest && self.boot == digest(&rules.boot)
    }
}

impl Firewall {
    /// Returns true if there are no rules, and none are missed.
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns sixty-four hexadecimal digits that stand for a text.
pub fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the beginning of an identifier, by which engines know a thing as well.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Returns the device that the bridge of a network is made with. It follows from the name, so that rules can be set
/// before the network is there.
pub fn bridge_of(network: &str) -> String {
    let device = format!("pic-{network}");
    if device.len() <= LONGEST_DEVICE { device } else { format!("pi-{}", short(&digest(network))) }
}

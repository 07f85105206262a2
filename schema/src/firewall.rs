//! `Firewall`: who may reach this machine, and at which ports.

mod rules;

use std::str::FromStr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Condition,
    container::{Port, Protocol},
};

/// Who may reach this machine. Whatever is not named is dropped, but for what a machine can't do without.
///
/// Always let in are answers, what the machine asks itself, ICMP, DHCP, mDNS, and from the zone `lan` the machine's API, so
/// that nobody locks himself out. A port that a container publishes stays reachable from where its `exposure` says. There
/// is one of them on a machine, and it is called `inbound`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Firewall",
    plural = "firewalls",
    singular = "firewall",
    shortname = "fw",
    category = "all",
    derive = "PartialEq",
    status = "FirewallStatus",
    doc = "Who may reach this machine. Whatever is not named is dropped.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.services"),
    printcolumn(name = "Forwards", type_ = "integer", json_path = ".status.forwards"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FirewallSpec {
    /// Where traffic comes from, beside the zones that every machine has: `lan` (private addresses, but for what comes from
    /// containers and tunnels), `wireguard` (links whose names begin with `wg`), `containers` (bridges of the engine) and
    /// `anywhere`. `lan` and `wireguard` can be given another meaning here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// Ports of the machine's own programs that are open. What containers publish needs no service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Ports of the machine that lead on to a container, under another number or for other zones than it publishes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<Forward>,
}

/// Where traffic comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zone {
    /// The word by which services and forwards name it.
    #[schemars(
        regex(pattern = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write lower-case letters, digits and hyphens, `office`")
    )]
    pub name: String,
    /// The links by which it comes: `eth0`, or all that begin so, `wlan*`. By every link when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Za-z0-9_.-]{1,15}\*?$")),
        extend("patternErrorMessage" = "write the name of a link, `eth0`, or its beginning, `wlan*`")
    )]
    pub links: Vec<String>,
    /// The addresses from which it comes: `192.168.1.0/24`. From every address when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// Ports that are open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// What it is, `ssh`.
    #[schemars(
        regex(pattern = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write lower-case letters, digits and hyphens, `ssh`")
    )]
    pub name: String,
    /// Its ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
    /// Ranges of its ports, with the first and the last of each: `8000-8010`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(regex(pattern = r"^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$")),
        extend("patternErrorMessage" = "write the first and the last port: `8000-8010`")
    )]
    pub ranges: Vec<String>,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The zones from which it can be reached.
    #[serde(default = "lan")]
    #[schemars(length(min = 1))]
    pub from: Vec<String>,
    /// How many connections each address, of IPv6 each network of 64 bits, may begin: `10/minute`. As many as it likes when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[1-9][0-9]{0,4}/(second|minute|hour)$"),
        extend("patternErrorMessage" = "write a number for each `second`, `minute` or `hour`: `10/minute`")
    )]
    pub rate: Option<String>,
}

/// A port of the machine that leads on to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// What it is, `mail`.
    #[schemars(
        regex(pattern = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write lower-case letters, digits and hyphens, `mail`")
    )]
    pub name: String,
    /// The port of the machine.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The zones for which it leads on.
    #[serde(default = "lan")]
    #[schemars(length(min = 1))]
    pub from: Vec<String>,
    /// The container by the name of its manifest.
    pub container: String,
    /// The port that the program in the container listens on. The container has to publish it, if only with
    /// `exposure = "loopback"`: engines let nothing through to a port that is not published.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: u16,
}

/// How the firewall stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirewallStatus {
    /// How many services are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<u32>,
    /// How many ports lead on to a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwards: Option<u32>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Firewall {
    /// The name of the one that a machine has.
    pub const NAME: &'static str = "inbound";
}

/// A zone that every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Private addresses, but for what comes from containers and tunnels.
    Lan,
    /// Links whose names begin with `wg`.
    Wireguard,
    /// Bridges of the engine.
    Containers,
    /// Everything.
    Anywhere,
}

impl BuiltIn {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Lan, Self::Wireguard, Self::Containers, Self::Anywhere];

    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wireguard => "wireguard",
            Self::Containers => "containers",
            Self::Anywhere => "anywhere",
        }
    }

    /// Returns true if a manifest may give it another meaning.
    pub const fn can_change(self) -> bool {
        matches!(self, Self::Lan | Self::Wireguard)
    }
}

impl FromStr for BuiltIn {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|zone| zone.as_str() == word).ok_or(())
    }
}

impl Service {
    /// Returns all its ports, the first and the last of each stretch, and where each stands.
    pub fn spans(&self) -> impl Iterator<Item = (&'static str, usize, (u16, u16))> {
        let ports = self.ports.iter().enumerate().map(|(at, port)| ("ports", at, (*port, *port)));
        let ranges = self.ranges.iter().enumerate();
        ports.chain(ranges.filter_map(|(at, text)| Some(("ranges", at, range(text)?))))
    }
}

/// Reads a range of ports; none if it is none.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first < last).then_some((first, last))
}

impl Forward {
    /// Returns true if it leads to this port of its container.
    #[must_use]
    pub fn leads_to(&self, port: &Port) -> bool {
        (port.container_port, port.protocol) == (self.container_port, self.protocol)
    }
}

fn lan() -> Vec<String> {
    vec![BuiltIn::Lan.as_str().to_owned()]
}

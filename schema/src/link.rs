//! `Link`: a network link of the machine, found or made, and what it is given.

mod clash;
mod parts;
mod rules;
mod wifi;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    clash::{Clash, clashes},
    parts::{
        Bond, BondMode, Bridge, DnsOverTls, KeyFrom, Macvlan, MacvlanMode, Match, Peer, Route, Vlan, WireGuard,
        host_part,
    },
    rules::INNER,
    wifi::{Security, Wifi},
};
use crate::Condition;

/// A network link of the machine: a port that is found by `match`, or one that is made (`vlan`, `bond`, `bridge`,
/// `wireguard`, `macvlan`, `dummy`). Exactly one of these is given.
///
/// It is kept by systemd-networkd. Files of networkd that are not Piccolo's are never changed; when one of them is for the
/// same link, this manifest waits and says so. A link that is made is called as its manifest.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Link",
    plural = "links",
    singular = "link",
    shortname = "ln",
    category = "all",
    derive = "PartialEq",
    status = "LinkStatus",
    doc = "A network link of the machine, kept as it is declared.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Device", type_ = "string", json_path = ".status.device"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".status.addresses"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkSpec {
    /// Which port of the machine is meant. A link has to have all that is given here.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub select: Option<Match>,
    /// Makes a VLAN on another link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vlan>,
    /// Makes one link of several, so that one may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bond: Option<Bond>,
    /// Makes a bridge, to which others belong as to a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Bridge>,
    /// Makes an encrypted link to other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<WireGuard>,
    /// Makes a link with a hardware address of its own on top of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macvlan: Option<Macvlan>,
    /// Makes a link that leads nowhere, for addresses that belong to the machine itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dummy: bool,
    /// The network without wires that the port joins, by way of wpa_supplicant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wifi: Option<Wifi>,
    /// Whether an IPv4 address is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp4: bool,
    /// Whether an IPv6 address is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp6: bool,
    /// Whether what routers announce for IPv6 is taken; networkd decides when left out.
    #[serde(default, rename = "acceptRA", skip_serializing_if = "Option::is_none")]
    pub accept_ra: Option<bool>,
    /// Addresses, each with the number of bits that its network fixes: `192.168.1.10/24`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `192.168.1.10/24`")
    )]
    pub addresses: Vec<String>,
    /// Ways to other networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// The largest packet in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u32>,
    /// Name servers for what is reached by this link, `192.168.1.1`, or with the name in its certificate
    /// `9.9.9.9#dns.quad9.net`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[0-9a-fA-F.:]+(#[A-Za-z0-9.-]{1,253})?$")),
        extend("patternErrorMessage" = "write an address, `192.168.1.1` or `9.9.9.9#dns.quad9.net`")
    )]
    pub dns: Vec<String>,
    /// Domains in which short names are looked for. With a `~` before it, only names under it are asked here; `~.` means
    /// all names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^(~?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|~\.)$")),
        extend("patternErrorMessage" = "write a domain, `home.arpa`, or `~home.arpa`")
    )]
    pub domains: Vec<String>,
    /// Whether questions to the name servers are encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_over_tls: Option<DnsOverTls>,
}

/// How a link stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// The name that the machine has for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The addresses that it really has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl LinkSpec {
    /// Returns the kernel's word for the link that it makes; none if it is one that is found.
    pub const fn makes(&self) -> Option<&'static str> {
        if self.vlan.is_some() {
            Some("vlan")
        } else if self.bond.is_some() {
            Some("bond")
        } else if self.bridge.is_some() {
            Some("bridge")
        } else if self.wireguard.is_some() {
            Some("wireguard")
        } else if self.macvlan.is_some() {
            Some("macvlan")
        } else if self.dummy {
            Some("dummy")
        } else {
            None
        }
    }

    /// Returns the secret of the key or password that it needs, if it needs one.
    pub fn key(&self) -> Option<&KeyFrom> {
        let password = self.wifi.as_ref().and_then(|it| it.psk.as_ref());
        self.wireguard.as_ref().map(|it| &it.private_key).or(password)
    }

    /// Returns the Link that it stands on, by name.
    pub fn parent(&self) -> Option<&str> {
        self.vlan.as_ref().map(|it| it.parent.as_str()).or_else(|| self.macvlan.as_ref().map(|it| it.parent.as_str()))
    }

    /// Returns the Links that belong to it, by name.
    pub fn members(&self) -> &[String] {
        match (&self.bond, &self.bridge) {
            (Some(bond), _) => &bond.members,
            (_, Some(bridge)) => &bridge.members,
            _ => &[],
        }
    }

    /// Returns true if it has anything to say to an address layer.
    pub fn is_addressed(&self) -> bool {
        self.dhcp4 || self.dhcp6 || !self.addresses.is_empty() || !self.routes.is_empty()
    }
}

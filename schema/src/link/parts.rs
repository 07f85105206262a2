//! The parts of a link's spec.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a link has to have, all of it. `*` and `?` stand for any characters and any one in `name`, `driver` and `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// The hardware address that it has now, `52:54:00:12:34:56`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"),
        extend("patternErrorMessage" = "write six bytes: `52:54:00:12:34:56`")
    )]
    pub mac: Option<String>,
    /// The hardware address that it was made with, which stays when it joins a bond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"),
        extend("patternErrorMessage" = "write six bytes: `52:54:00:12:34:56`")
    )]
    pub permanent_mac: Option<String>,
    /// The program in the kernel that drives it, `e1000e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_.:*?-]{1,64}$"),
        extend("patternErrorMessage" = "write the name of a driver: `e1000e`")
    )]
    pub driver: Option<String>,
    /// Where it is plugged in, as `udevadm info` tells it (`ID_PATH`): `pci-0000:00:1f.6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_.:*?@+/-]{1,128}$"),
        extend("patternErrorMessage" = "write a path like `pci-0000:00:1f.6`")
    )]
    pub path: Option<String>,
    /// What the kernel or udev calls it: `enp3s0`, or `en*` for a machine with one port. Names may change with the order
    /// in which ports are found; `mac` and `path` do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_.:*?-]{1,15}$"),
        extend("patternErrorMessage" = "write the name of a link: `enp3s0` or `en*`")
    )]
    pub name: Option<String>,
}

/// A network of its own on the wire of another link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vlan {
    /// The name of the Link manifest that it stands on.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub parent: String,
    /// Its number.
    #[schemars(range(min = 1, max = 4094))]
    pub id: u16,
}

/// One link made of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bond {
    /// Who carries the packets.
    #[serde(default)]
    pub mode: BondMode,
    /// The names of the Link manifests that it is made of.
    #[schemars(
        inner(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub members: Vec<String>,
    /// The member that carries all while it can; for `active-backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub primary: Option<String>,
}

/// Who carries the packets of a bond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BondMode {
    /// One member at a time. Works with every switch.
    #[default]
    #[serde(rename = "active-backup")]
    ActiveBackup,
    /// All of them, as the switch agrees to (LACP).
    #[serde(rename = "802.3ad")]
    Lacp,
}

/// A bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bridge {
    /// The names of the Link manifests that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub members: Vec<String>,
    /// Whether it looks for loops among switches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stp: bool,
}

/// A link with a hardware address of its own on top of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Macvlan {
    /// The name of the Link manifest that it stands on.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub parent: String,
    /// Whether several on one parent reach each other.
    #[serde(default)]
    pub mode: MacvlanMode,
}

/// Whether several macvlans on one parent reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// They do.
    #[default]
    Bridge,
    /// They do not.
    Private,
    /// Only by way of a switch that sends their packets back.
    Vepa,
}

/// An encrypted link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WireGuard {
    /// The secret that holds this machine's private key.
    pub private_key: KeyFrom,
    /// The UDP port on which others reach it; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<u16>,
    /// The machines at the other end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// Where a key comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFrom {
    /// The name of a Secret manifest.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub secret: String,
    /// The name of the value in it.
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9._-]{1,128}$"),
        extend("patternErrorMessage" = "write the name of one value of the secret: `private-key`")
    )]
    pub key: String,
}

/// A machine at the other end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// Its public key.
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9+/]{43}=$"),
        extend("patternErrorMessage" = "write the 44 characters that `wg pubkey` prints")
    )]
    pub public_key: String,
    /// Where it is reached, `vpn.example.org:51820`. It has to call first when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$"),
        extend("patternErrorMessage" = "write a name or address, and a port: `vpn.example.org:51820`")
    )]
    pub endpoint: Option<String>,
    /// Which addresses are at its end, `10.8.0.2/32`.
    #[serde(rename = "allowedIPs")]
    #[schemars(
        inner(regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `10.8.0.2/32`")
    )]
    pub allowed_ips: Vec<String>,
    /// Seconds after which it is called although there is nothing to say, so that a router in between remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub keepalive: Option<u16>,
}

/// A way to another network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// What is reached by it: `10.0.0.0/8`, everything as `0.0.0.0/0` or `::/0`.
    #[schemars(
        regex(pattern = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"),
        extend("patternErrorMessage" = "write an address and the number of fixed bits: `10.0.0.0/8`, or `0.0.0.0/0`")
    )]
    pub to: String,
    /// The machine that passes packets on, in a network of this link. What is reached is on the link itself when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The way with the least of these is taken; the kernel's own choice when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub metric: Option<u32>,
}

/// Whether questions to name servers are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DnsOverTls {
    /// Always, or there is no answer.
    Yes,
    /// Where the server can.
    Opportunistic,
    /// Never.
    No,
}

impl Match {
    /// Returns true if nothing is asked, which would be every link.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl BondMode {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActiveBackup => "active-backup",
            Self::Lacp => "802.3ad",
        }
    }
}

impl MacvlanMode {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
        }
    }
}

impl DnsOverTls {
    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Opportunistic => "opportunistic",
            Self::No => "no",
        }
    }
}

/// Reads `192.168.1.10/24` as an address and the number of its network's fixed bits.
#[must_use]
pub fn host_part(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let (ip, bits): (IpAddr, u8) = (ip.parse().ok()?, bits.parse().ok()?);
    (bits > 0 && bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

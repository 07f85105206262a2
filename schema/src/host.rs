//! `Host`: what the machine is called, which time it has, and who may log in.

mod key;
mod rules;
pub mod sysctl;

use std::{collections::BTreeMap, net::IpAddr};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// What the machine is called, which time it has, and who may log in. What is left out is left as it is.
///
/// There is one of them on a machine, and it is called `host`. When it goes, its name, time zone and locale stay, as a
/// machine needs some; all else goes with it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Host",
    plural = "hosts",
    singular = "host",
    shortname = "ho",
    category = "all",
    derive = "PartialEq",
    status = "HostStatus",
    doc = "What the machine is called, which time it has, and who may log in.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".status.hostname"),
    printcolumn(name = "Timezone", type_ = "string", json_path = ".status.timezone"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSpec {
    /// What the machine is called, `attic`. The certificate of its API follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend(
            "patternErrorMessage" = "write one name of at most 63 lower-case letters, digits and hyphens, without a dot: `attic`"
        )
    )]
    pub hostname: Option<String>,
    /// The time zone by the name of its file under `/usr/share/zoneinfo`: `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}$"),
        extend("patternErrorMessage" = "write it as in `Europe/Berlin` or `UTC`")
    )]
    pub timezone: Option<String>,
    /// The servers that systemd-timesyncd asks for the time, by name or address: `ptbtime1.ptb.de`. Those of the
    /// distribution when left out. NTS is none of its ways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$|^[0-9A-Fa-f:.]{2,45}$")),
        extend("patternErrorMessage" = "write the name or the address of a server: `ptbtime1.ptb.de`")
    )]
    pub ntp: Vec<String>,
    /// The language of the machine's own programs: `de_DE.UTF-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^(C|POSIX|[a-z]{2,3}(_[A-Z]{2})?)(\.UTF-8|\.utf8)?(@[a-z]{1,16})?$"),
        extend("patternErrorMessage" = "write it as `locale -a` lists it: `C.UTF-8` or `de_DE.UTF-8`")
    )]
    pub locale: Option<String>,
    /// Who may log in over SSH. Left out, SSH is left as it is: off, unless somebody else switched it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Settings of the kernel: `"vm.swappiness" = "10"`. Only those that can harm nobody but the machine's own speed;
    /// `piccolo explain host.spec.sysctls` lists none, the manual does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Addresses of names that no name server tells: `nas = "192.168.1.5"`. They are lines of `/etc/hosts`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, IpAddr>,
    /// Whether the machine tells its neighbours its name, `attic.local`, and that a Piccolo is here (`_piccolo._tcp`), by
    /// multicast DNS. systemd-resolved does it, on links on which it is allowed: those of Link manifests are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mdns: bool,
}

/// Who may log in over SSH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ssh {
    /// The user, who has to be there.
    #[schemars(
        regex(pattern = r"^[a-z_][a-z0-9_-]{0,31}$"),
        extend("patternErrorMessage" = "write the name of a user, `admin`")
    )]
    pub user: String,
    /// The public keys that open, as in files of `ssh-keygen` that end with `.pub`: `ssh-ed25519 AAAA… anna@desk`. With a
    /// password this user does not get in any more.
    #[schemars(length(min = 1, max = 64))]
    pub keys: Vec<String>,
}

/// How the machine's settings stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// What the machine is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Host {
    /// The name of the one that a machine has.
    pub const NAME: &'static str = "host";
}

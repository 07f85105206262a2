//! Network links: how they are seen, and the verbs that keep them by way of systemd-networkd.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    time::Instant,
};

use piccolo_schema::link::{KeyFrom, Security};
use serde::{Deserialize, Serialize};

use super::{Digests, HostError};

/// How the names of our files begin. Before them nothing of a distribution is sorted, so that ours are found first.
pub const PREFIX: &str = "10-piccolo-";
/// How the line begins that says whose a file is.
pub const STAMP: &str = "# piccolo.os/link=";
/// Where keys of links lie for networkd to read, in memory.
pub const KEYS: &str = "/run/piccolo-links";
/// What stands in the text of a [`WifiFile`] where its password comes, and the key that is made of it.
pub const PASSWORD: &str = "<password>";
/// See [`PASSWORD`].
pub const KEY: &str = "<key>";

/// The links of this machine, and networkd, which sets them up.
pub trait Links: Send + Sync + 'static {
    /// Looks at links, addresses, routes, and the files of networkd.
    fn links(&self) -> impl Future<Output = Result<LinksView, HostError>> + Send;
    /// Waits until a link may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Begins a trial, or has this change join the one that runs: what our files say now is kept, and put back unless
    /// somebody confirms in time, also when the daemon or the machine ends.
    fn begin_trial(&self, subject: &str, digest: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes the files of a manifest, and removes those of its that are not among them. The digest is that of the change
    /// which they belong to.
    fn write_units(
        &self,
        subject: &str,
        units: &[Unit],
        digest: &str,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Refuses a password that no network protected like this can have.
    fn check_password(&self, from: &KeyFrom, security: Security) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes the file by which wpa_supplicant joins a network, with its password. The digest is that of the change.
    fn write_wifi(
        &self,
        subject: &str,
        file: &WifiFile,
        digest: &str,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has wpa_supplicant run with its file on this link, now and whenever the machine starts.
    fn serve_wifi(&self, device: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Ends wpa_supplicant on this link, and removes the file of the manifest for it. The digest is that of the change.
    fn remove_wifi(
        &self,
        subject: &str,
        device: &str,
        digest: &str,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes the private key of a link where networkd can read it. The digest is that of the change.
    fn write_key(
        &self,
        subject: &str,
        from: &KeyFrom,
        digest: &str,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has networkd read its files anew, and remembers that it did for this manifest.
    fn load(&self, subject: &str, digest: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has networkd set up a link anew.
    fn reconfigure(&self, device: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes a link that was made from a file of ours.
    fn remove_device(&self, subject: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What the machine has of links.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinksView {
    /// Why networkd can't be used, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The files of networkd, sorted as it reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitSeen>,
    /// The digests of the files that networkd was told to read, by manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub loaded: BTreeMap<String, String>,
    /// The links, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSeen>,
    /// Names of the links by which others reach the machine at present.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub reached_by: BTreeSet<String>,
    /// The change that waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialSeen>,
    /// The digests of files that nobody confirmed, by manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
    /// What worked no more with some of these, by manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
    /// What secrets hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Digests,
    /// The digests of the keys that networkd was given, by manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// The files by which wpa_supplicant joins networks, sorted by link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wifi: Vec<WifiSeen>,
    /// Why no network without wires can be joined, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_wifi: Option<String>,
}

/// A file by which wpa_supplicant joins a network on a link. What is in it is shown to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WifiSeen {
    /// The link.
    pub device: String,
    /// The manifest that it is stamped with, if it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The digest of what it was made from; none if a hand changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether wpa_supplicant runs with it, and does when the machine starts.
    pub serves: bool,
}

/// A file for wpa_supplicant, before its password is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WifiFile {
    /// The link.
    pub device: String,
    /// What is in it, with [`PASSWORD`] and [`KEY`] in place of the password.
    pub text: String,
    /// The name of the network.
    pub ssid: String,
    /// How it is protected.
    pub security: Security,
    /// Where the password comes from; none for a network that is open.
    pub psk: Option<KeyFrom>,
    /// The digest of what it is made from.
    pub digest: String,
}

/// A change that waits to be confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrialSeen {
    /// What a confirmation names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// When it is put back, RFC 3339.
    pub until: String,
    /// The digests of the files that are tried, by manifest.
    pub tried: BTreeMap<String, String>,
    /// Whether the machine can be reached, as far as it can tell by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSeen>,
}

/// A connection over which somebody says that the machine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// When it came in.
    pub since: Instant,
    /// Who is at its other end, as the kernel knows it.
    pub from: IpAddr,
    /// The number of the link over which an address came that means something on that link alone; 0 if nobody knows.
    pub over: u32,
}

/// Something that has to work for a machine to be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckSeen {
    /// What it is: `carrier`, `address`, `gateway` or `dns`.
    pub name: String,
    /// Whether it worked before the change.
    pub before: bool,
    /// Whether it works now.
    pub passes: bool,
    /// What was found.
    pub message: String,
}

/// A file for networkd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// What is in it. Holds no secret.
    pub text: String,
}

/// A file of networkd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitSeen {
    /// Its directory.
    pub directory: String,
    /// Its name.
    pub name: String,
    /// The manifest that it is stamped with, if it is ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What is in it. Of others' files only what tells which links they are for.
    pub text: String,
    /// Whether it is ours and networkd, which is not root, can't read it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// A link as the kernel and networkd show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceSeen {
    /// Its name.
    pub name: String,
    /// Its number, as the kernel counts links since its start.
    #[serde(skip)]
    pub index: u32,
    /// Its hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The hardware address that it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent_mac: Option<String>,
    /// What drives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Where it is plugged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The kernel's word for a link that was made, `vlan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether it has no wire.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wireless: bool,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether there is something at its other end.
    pub carrier: bool,
    /// Its largest packet.
    pub mtu: u32,
    /// The link that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its addresses, `192.168.1.10/24`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The ways that lead over it, but for those that the kernel makes of addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSeen>,
    /// Those of its addresses that it has for a time, as somebody gave them to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leased: Vec<String>,
    /// How it was made, if it was.
    #[serde(skip_serializing_if = "MadeSeen::is_nothing")]
    pub made: MadeSeen,
    /// The file by which networkd sets it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How far networkd is, `configured`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// Whether networkd was told to set it up only a moment ago.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
    /// The name servers that networkd knows for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<String>,
}

/// How a link was made, as far as manifests can say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MadeSeen {
    /// The link that it stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The number of a VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The kernel's word for how a bond or a macvlan works, `802.3ad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether a bridge looks for loops.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stp: bool,
}

impl MadeSeen {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A way over a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSeen {
    /// What is reached, `0.0.0.0/0`.
    pub to: String,
    /// Who passes packets on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Its metric; 0 when it has none.
    #[serde(default)]
    pub metric: u32,
    /// Whether a server or a router told of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leased: bool,
}

impl UnitSeen {
    /// Returns a file as it is seen: whose it is, and of others' files no more than which links they are for. What else is
    /// in those is nobody's business, and may be a key.
    pub fn of(directory: &str, name: &str, text: String) -> Self {
        let stamp = text.lines().find_map(|line| line.strip_prefix(STAMP)).map(|it| it.trim().to_owned());
        let subject = stamp.filter(|_| name.starts_with(PREFIX));
        let text = if subject.is_some() { text } else { choice(&text) };
        Self { directory: directory.to_owned(), name: name.to_owned(), subject, text, closed: false }
    }

    /// Returns its path.
    pub fn path(&self) -> String {
        format!("{}/{}", self.directory, self.name)
    }
}

/// Keeps the sections that say which links a file is for.
fn choice(text: &str) -> String {
    let (mut within, mut out) = (false, String::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line == "[Match]";
        }
        let is_name = line.starts_with("Name=") || line.starts_with("Name =");
        if within || is_name {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

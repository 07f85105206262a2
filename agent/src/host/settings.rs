//! The machine's own settings: how they are seen, and the verbs that keep them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::HostError;

/// How the line begins that says that a file is ours.
pub const OURS: &str = "# piccolo.os/host";

/// The settings of this machine.
pub trait Settings: Send + Sync + 'static {
    /// Looks at names, time zone, files, settings of the kernel, and the services that have to do with them.
    fn settings(&self) -> impl Future<Output = Result<SettingsView, HostError>> + Send;
    /// Waits until something may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Gives the machine a name, now and for good.
    fn set_hostname(&self, name: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives it a time zone.
    fn set_timezone(&self, zone: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives it a language.
    fn set_locale(&self, locale: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes a file of ours, or removes it. One of others is never written over.
    fn put(&self, file: OwnFile, text: Option<&str>) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes our lines of the table of names, or takes them out.
    fn set_names(&self, lines: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Sets a value of the kernel, and remembers what it was before the first time.
    fn set_sysctl(&self, name: &str, value: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Sets a value of the kernel back to what it was.
    fn reset_sysctl(&self, name: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has a service read its files anew, and remembers which.
    fn tell(&self, service: Service, digest: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Switches the SSH server on, and remembers that it was us, or off again.
    fn switch_ssh(&self, on: bool) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// A file that is ours as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OwnFile {
    /// The servers that tell the time.
    Ntp,
    /// The settings of the kernel.
    Sysctl,
    /// That the machine tells its name.
    Mdns,
    /// What else it tells its neighbours.
    Announcement,
    /// The keys that open.
    SshKeys,
    /// Who may log in by them.
    Ssh,
}

/// A service of systemd that reads our files, or is in their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Service {
    /// It asks for the time.
    Timesyncd,
    /// It looks names up, and tells ours.
    Resolved,
    /// The SSH server.
    Ssh,
    /// Another one that tells names.
    Avahi,
}

/// What the machine has of settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SettingsView {
    /// What it is called now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What it will be called after the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_hostname: Option<String>,
    /// Its time zone, if every file says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The time zones that it knows.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub timezones: BTreeSet<String>,
    /// Its language, if every file says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The files in the places of ours.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<OwnFile, FileThere>,
    /// The digests of the files that services were told to read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<Service, String>,
    /// Our lines of the table of names; empty if there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub names: String,
    /// What others' lines of the table say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others_names: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The values of the kernel that a manifest may change.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// What the values were that we changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, String>,
    /// The files of others that set a value of the kernel, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub others_sysctls: BTreeMap<String, String>,
    /// The services that are here, and whether they run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Service, bool>,
    /// The services that are started when the machine starts.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub enabled: BTreeSet<Service>,
    /// Whether the SSH server was switched on by us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ssh_by_us: bool,
    /// Whether the SSH server would not read our file, or something else before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ssh_unread: bool,
    /// The port of the machine's API, where others reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,
    /// The users of the machine.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<String>,
}

/// A file in the place of one of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileThere {
    /// Whether it is ours.
    pub ours: bool,
    /// What is in it, if it is ours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl OwnFile {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Ntp, Self::Sysctl, Self::Mdns, Self::Announcement, Self::SshKeys, Self::Ssh];

    /// Returns where it is.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ntp => "/etc/systemd/timesyncd.conf.d/10-piccolo.conf",
            Self::Sysctl => "/etc/sysctl.d/90-piccolo.conf",
            Self::Mdns => "/etc/systemd/resolved.conf.d/10-piccolo.conf",
            Self::Announcement => "/etc/systemd/dnssd/piccolo.dnssd",
            Self::SshKeys => "/etc/ssh/piccolo_authorized_keys",
            Self::Ssh => "/etc/ssh/sshd_config.d/10-piccolo.conf",
        }
    }

    /// Returns the service that reads it only when it is told to.
    pub const fn read_by(self) -> Option<Service> {
        match self {
            Self::Ntp => Some(Service::Timesyncd),
            Self::Mdns | Self::Announcement => Some(Service::Resolved),
            Self::Ssh => Some(Service::Ssh),
            // The values are set one by one, and keys are read at each login.
            Self::Sysctl | Self::SshKeys => None,
        }
    }
}

impl Service {
    /// The services that read files of ours.
    pub const READERS: [Self; 3] = [Self::Timesyncd, Self::Resolved, Self::Ssh];

    /// Returns its name, as a person knows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timesyncd => "systemd-timesyncd",
            Self::Resolved => "systemd-resolved",
            Self::Ssh => "ssh",
            Self::Avahi => "avahi-daemon",
        }
    }
}

impl FileThere {
    /// Returns a file as it is seen. What others wrote is nobody's business.
    pub fn of(text: String) -> Self {
        let ours = text.lines().any(|line| line.starts_with(OURS));
        Self { ours, text: if ours { text } else { String::new() } }
    }
}

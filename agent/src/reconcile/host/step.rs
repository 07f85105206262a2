use std::fmt::{self, Display};

use piccolo_schema::Host;
use serde::Serialize;

use crate::{
    host::{OwnFile, Service},
    reconcile::{Disruption, Step},
};

/// One change to the machine's settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStep {
    /// True when no manifest asks for any of it.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Gives the machine a name.
    Hostname {
        /// The name.
        to: String,
        /// What it was called.
        was: String,
    },
    /// Gives it a time zone.
    Timezone {
        /// The zone.
        to: String,
        /// What it was.
        was: String,
    },
    /// Gives it a language.
    Locale {
        /// The language.
        to: String,
        /// What it was.
        was: String,
    },
    /// Writes a file of ours.
    Write {
        /// Which.
        file: OwnFile,
        /// What is in it. Too long to be written out.
        #[serde(skip)]
        text: String,
        /// What happened to the one that was there; empty if the manifest changed.
        why: &'static str,
    },
    /// Removes a file of ours.
    Remove {
        /// Which.
        file: OwnFile,
    },
    /// Writes our lines of the table of names, or takes them out.
    Names {
        /// The lines.
        lines: String,
    },
    /// Sets a value of the kernel.
    Sysctl {
        /// Its name.
        name: String,
        /// The value.
        to: String,
        /// What it was.
        was: String,
    },
    /// Sets a value of the kernel back.
    ResetSysctl {
        /// Its name.
        name: String,
        /// What it was before us.
        to: String,
    },
    /// Has a service read its files.
    Tell {
        /// Which.
        service: Service,
        /// The digest of the files.
        digest: String,
    },
    /// Switches the SSH server on or off.
    SwitchSsh {
        /// On or off.
        on: bool,
    },
}

impl Act {
    /// Returns the file that is written or removed.
    pub(super) const fn file(&self) -> Option<OwnFile> {
        match self {
            Self::Write { file, .. } | Self::Remove { file } => Some(*file),
            _ => None,
        }
    }
}

impl Step for HostStep {
    fn subject(&self) -> &str {
        Host::NAME
    }

    fn disruption(&self) -> Disruption {
        match self.act {
            Act::SwitchSsh { on: false } => Disruption::Restarts(Service::Ssh.as_str().to_owned()),
            _ => Disruption::None,
        }
    }

    fn is_removal(&self) -> bool {
        self.removal
    }
}

impl Display for HostStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.act {
            Act::Hostname { to, was } => write!(f, "call the machine {to} (it is called {was})"),
            Act::Timezone { to, was } => write!(f, "set time zone {to} (it is {was})"),
            Act::Locale { to, was } => write!(f, "set locale {to} (it is {was})"),
            Act::Write { file, why: "", .. } => write!(f, "write {}", file.path()),
            Act::Write { file, why, .. } => write!(f, "write {} ({why})", file.path()),
            Act::Remove { file } => write!(f, "remove {} (no manifest asks for it)", file.path()),
            Act::Names { lines } if lines.is_empty() => f.write_str("take our lines out of /etc/hosts"),
            Act::Names { lines } => match lines.lines().count() {
                1 => f.write_str("write 1 line to /etc/hosts"),
                many => write!(f, "write {many} lines to /etc/hosts"),
            },
            Act::Sysctl { name, to, was } => write!(f, "set {name} to {to} (it is {was})"),
            Act::ResetSysctl { name, to } => write!(f, "set {name} back to {to} (no manifest asks for it)"),
            Act::Tell { service, .. } => write!(f, "have {} read its files", service.as_str()),
            Act::SwitchSsh { on: true } => f.write_str("switch the SSH server on"),
            Act::SwitchSsh { on: false } => f.write_str("switch the SSH server off (no manifest asks for it)"),
        }
    }
}

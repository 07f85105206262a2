use std::fmt::{self, Display};

use piccolo_schema::link::{KeyFrom, Security};
use serde::Serialize;

use crate::{
    host::{Unit, WifiFile},
    reconcile::{Disruption, Step},
};

/// One change to a link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStep {
    /// The name of the manifest.
    pub subject: String,
    /// True when no manifest asks for the link any more.
    pub removal: bool,
    /// The change.
    pub act: Act,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    /// Keeps what is there now, to be put back unless somebody confirms.
    Try {
        /// The link by which the machine is reached.
        device: String,
        /// The digest of what is tried.
        digest: String,
    },
    /// Looks whether a password is one, before anything is changed for it.
    CheckPassword {
        /// Where it comes from.
        from: KeyFrom,
        /// What it is for.
        security: Security,
    },
    /// Gives networkd the private key.
    WriteKey {
        /// Where it comes from.
        from: KeyFrom,
        /// The digest of the change.
        digest: String,
    },
    /// Removes a link that was made, to be made anew or not.
    RemoveDevice {
        /// Why.
        because: &'static str,
    },
    /// Writes files for networkd.
    Write {
        /// The files. Too long to be written out.
        #[serde(skip)]
        units: Vec<Unit>,
        /// The names of those that differ.
        names: Vec<String>,
        /// The digest of the change.
        digest: String,
    },
    /// Writes the file by which wpa_supplicant joins a network.
    WriteWifi {
        /// The file, without its password. Too long to be written out.
        #[serde(skip)]
        file: WifiFile,
        /// The link.
        device: String,
        /// The digest of the change.
        digest: String,
    },
    /// Has wpa_supplicant run with it.
    ServeWifi {
        /// The link.
        device: String,
    },
    /// Ends wpa_supplicant on a link, and removes its file.
    RemoveWifi {
        /// The link.
        device: String,
        /// The digest of the change.
        digest: String,
    },
    /// Removes the files.
    RemoveFiles {
        /// The digest of the change.
        digest: String,
    },
    /// Has networkd read its files.
    Load {
        /// The links that are set up anew by it.
        devices: Vec<String>,
        /// The digest of the files.
        digest: String,
    },
    /// Has networkd set up a link anew.
    Reconfigure {
        /// The link.
        device: String,
        /// What is not as it should be.
        because: String,
    },
}

impl Step for LinkStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn disruption(&self) -> Disruption {
        match &self.act {
            Act::Load { devices, .. } if !devices.is_empty() => Disruption::Restarts(devices.join(", ")),
            Act::Reconfigure { device, .. } | Act::ServeWifi { device } | Act::RemoveWifi { device, .. } => {
                Disruption::Restarts(device.clone())
            }
            Act::RemoveDevice { .. } => Disruption::Restarts(self.subject.clone()),
            _ => Disruption::None,
        }
    }

    fn is_removal(&self) -> bool {
        self.removal
    }

    fn begins_trial(&self) -> bool {
        matches!(self.act, Act::Try { .. })
    }
}

impl Display for LinkStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.subject;
        match &self.act {
            Act::Try { device, .. } => {
                write!(f, "try link {name} (the machine is reached by {device}; put back unless confirmed)")
            }
            Act::WriteKey { from, .. } => write!(f, "give link {name} its key ({}/{})", from.secret, from.key),
            Act::RemoveDevice { because } => write!(f, "remove device {name} ({because})"),
            Act::Write { names, .. } => write!(f, "write link {name} ({})", names.join(", ")),
            Act::CheckPassword { from, .. } => {
                write!(f, "look at the password of link {name} ({}/{})", from.secret, from.key)
            }
            Act::WriteWifi { device, .. } => write!(f, "write what wpa_supplicant does on {device} for link {name}"),
            Act::ServeWifi { device } => write!(f, "have wpa_supplicant run on {device} for link {name}"),
            Act::RemoveWifi { device, .. } => write!(f, "end wpa_supplicant on {device} of link {name}"),
            Act::RemoveFiles { .. } => write!(f, "remove link {name} (no manifest asks for it)"),
            Act::Load { .. } => write!(f, "load link {name}"),
            Act::Reconfigure { device, because } => write!(f, "set up {device} of link {name} anew ({because})"),
        }
    }
}

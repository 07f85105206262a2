use std::fmt::{self, Display};

use piccolo_schema::link::KeyFrom;
use serde::Serialize;

use crate::{
    host::Unit,
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
    /// Gives networkd the private key.
    WriteKey {
        /// Where it comes from.
        from: KeyFrom,
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
    },
    /// Removes the files.
    RemoveFiles,
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
            Act::Reconfigure { device, .. } => Disruption::Restarts(device.clone()),
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
            Act::WriteKey { from } => write!(f, "give link {name} its key ({}/{})", from.secret, from.key),
            Act::RemoveDevice { because } => write!(f, "remove device {name} ({because})"),
            Act::Write { names, .. } => write!(f, "write link {name} ({})", names.join(", ")),
            Act::RemoveFiles => write!(f, "remove link {name} (no manifest asks for it)"),
            Act::Load { .. } => write!(f, "load link {name}"),
            Act::Reconfigure { device, because } => write!(f, "set up {device} of link {name} anew ({because})"),
        }
    }
}

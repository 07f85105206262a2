use std::fmt::{self, Display};

use serde::Serialize;

use crate::{
    host::Order,
    reconcile::{Disruption, Step},
};

/// The installation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallStep {
    /// The name of the manifest.
    pub subject: String,
    /// The disk, for people.
    pub disk: String,
    /// Why it may be written to, for people.
    pub why: String,
    /// What is lost with it, none if there is nothing on it.
    pub erases: Option<String>,
    /// What the installer is asked for.
    pub order: Order,
}

impl Step for InstallStep {
    fn subject(&self) -> &str {
        &self.subject
    }

    fn disruption(&self) -> Disruption {
        self.erases.clone().map_or(Disruption::None, Disruption::Erases)
    }

    fn is_transfer(&self) -> bool {
        // It waits for disks, for minutes.
        true
    }
}

impl Display for InstallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "install the system on {} ({})", self.disk, self.why)
    }
}

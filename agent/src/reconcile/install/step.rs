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
    /// The disk, and the second one if there is to be one.
    pub onto: Vec<Onto>,
    /// What is lost with it, none if there is nothing on it.
    pub erases: Option<String>,
    /// What the installer is asked for.
    pub order: Order,
}

/// A disk that is written to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Onto {
    /// The disk, for people.
    pub disk: String,
    /// Why it may be written to, for people.
    pub why: String,
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
        let onto: Vec<String> = self.onto.iter().map(|it| format!("{} ({})", it.disk, it.why)).collect();
        write!(f, "install the system on {}", onto.join(" and on "))
    }
}

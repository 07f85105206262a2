//! From the engine's words about what others made to manifests. Pure.
//!
//! A container is read from its inspection as JSON, so that nothing which an engine tells is passed over: each key is
//! kept, changed or lost, and the report says which. What an image sets is left to the image. The law that holds of it:
//! a container made for a spec, inspected and read again, has the same spec, but for what no engine knows of (secrets,
//! dependencies, exposure, updates, checks over the network).

mod container;
mod environment;
mod health;
mod json;
mod keys;
mod limits;
mod links;
mod log;
mod mounts;
mod network;
mod ports;
mod process;
mod rights;
mod things;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use self::{
    container::{Captured, container},
    links::links,
};
use crate::foreign::{Report, Written};

/// What the engine tells of all that is not ours.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The inspections of containers.
    pub containers: Vec<Json>,
    /// The inspections of their images, by identifier.
    pub images: BTreeMap<String, Json>,
    /// The inspections of networks.
    pub networks: Vec<Json>,
    /// The inspections of volumes.
    pub volumes: Vec<Json>,
    /// What an inspection alone does not tell.
    pub machine: Machine,
}

/// What an engine fills in where nothing is asked.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The name of the machine, which is that of a container on its network.
    pub name: String,
    /// The namespace of control groups, `private` or `host`.
    pub cgroups: String,
}

/// What became of everything.
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// The manifests: what others stand on comes first.
    pub manifests: Vec<Written>,
    /// What became of each key.
    pub report: Report,
}

/// Writes down everything, with the networks and volumes that the containers use.
pub fn all(found: &Found) -> Capture {
    let mut containers: Vec<Captured> = found.containers.iter().map(|it| container(it, found)).collect();
    containers.sort_by(|one, other| one.name.cmp(&other.name));
    let mut all = Capture::default();
    for (manifest, rows) in things::used(&containers, found) {
        all.manifests.extend(manifest);
        all.report.rows.extend(rows);
    }
    for it in containers {
        all.manifests.extend(it.manifest);
        all.report.rows.extend(it.rows);
    }
    all
}

//! The real machine.

mod book;
mod cache;
mod copy;
mod create;
mod directory;
mod docker;
mod error;
mod events;
mod guard;
mod hint;
mod networks;
mod options;
mod probe;
mod program;
mod pulse;
mod quota;
mod seen;
mod shelf;
mod snapshots;
mod updates;
mod volumes;

pub use self::{
    docker::{BadAddress, Docker},
    snapshots::SnapshotStore,
    updates::{Followed, Updater},
};

/// The label that names the manifest of a container.
const CONTAINER_LABEL: &str = "piccolo.os/container";
/// The label that names the manifest of a network.
const NETWORK_LABEL: &str = "piccolo.os/network";
/// The label that names the manifest of a volume.
const VOLUME_LABEL: &str = "piccolo.os/volume";
/// The label that holds what a container has to do with an update, as JSON.
const ROLLOUT_LABEL: &str = "piccolo.os/rollout";
/// The label that holds the spec which a thing was made from, as JSON.
const SPEC_LABEL: &str = "piccolo.os/spec";

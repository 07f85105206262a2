//! The real machine.

mod adopted;
mod book;
mod cache;
mod copy;
mod create;
mod directory;
mod docker;
mod ending;
mod error;
mod events;
mod file;
mod guard;
mod hint;
mod members;
mod networks;
mod nft;
mod options;
mod probe;
mod program;
mod pulse;
mod quota;
mod seen;
mod shelf;
mod snapshots;
mod strangers;
mod updates;
mod uptime;
mod vault;
mod volumes;
mod watch;

pub use self::{
    adopted::Adopted,
    docker::{BadAddress, Docker},
    ending::goes_down,
    snapshots::SnapshotStore,
    updates::{Followed, Updater},
    vault::Vault,
};

/// The label that names the manifest of a container.
const CONTAINER_LABEL: &str = "piccolo.os/container";
/// The label that names the manifest of a network.
const NETWORK_LABEL: &str = "piccolo.os/network";
/// The label that names the manifest of a volume.
const VOLUME_LABEL: &str = "piccolo.os/volume";
/// The option that names the device of a bridge.
const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";
/// The label that holds what a container has to do with an update, as JSON.
const ROLLOUT_LABEL: &str = "piccolo.os/rollout";
/// The label that holds the spec which a thing was made from, as JSON.
const SPEC_LABEL: &str = "piccolo.os/spec";
/// The label that holds the digests of the secrets in the environment of a container, as JSON.
const VARIABLES_LABEL: &str = "piccolo.os/variables";

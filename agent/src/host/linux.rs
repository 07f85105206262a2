//! The real machine.

mod cache;
mod create;
mod docker;
mod error;
mod events;
mod hint;
mod members;
mod networks;
mod nft;
mod seen;
mod watch;

pub use self::docker::{BadAddress, Docker};

/// The label that names the manifest of a container.
const CONTAINER_LABEL: &str = "piccolo.os/container";
/// The label that names the manifest of a network.
const NETWORK_LABEL: &str = "piccolo.os/network";
/// The option that names the device of a bridge.
const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";
/// The label that holds the spec which a thing was made from, as JSON.
const SPEC_LABEL: &str = "piccolo.os/spec";

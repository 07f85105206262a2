//! The real machine.

mod cache;
mod create;
mod docker;
mod error;
mod events;
mod hint;
mod networks;
mod seen;
mod vault;

pub use self::{
    docker::{BadAddress, Docker},
    vault::Vault,
};

/// The label that names the manifest of a container.
const CONTAINER_LABEL: &str = "piccolo.os/container";
/// The label that names the manifest of a network.
const NETWORK_LABEL: &str = "piccolo.os/network";
/// The label that holds the spec which a thing was made from, as JSON.
const SPEC_LABEL: &str = "piccolo.os/spec";
/// The label that holds the digests of the secrets in the environment of a container, as JSON.
const VARIABLES_LABEL: &str = "piccolo.os/variables";

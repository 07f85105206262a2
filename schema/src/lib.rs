//! What a person may ask of a Piccolo machine.
//!
//! One file per kind holds its spec, its status and its rules. [`parse`] turns the text of a manifest into a typed
//! [`Manifest`] and finds every mistake in it at once. [`json`] gives the JSON Schemas and custom resource definitions
//! that editors and Kubernetes clients read; the parser checks against the very same schemas, so what an editor
//! underlines is what the daemon refuses.
//!
//! Pure data: no input, no output, no clock.
#![allow(clippy::duplicated_attributes, reason = "every printer column is described in the same words")]

pub mod condition;
pub mod container;
mod desired;
pub mod disk;
pub mod duration;
pub mod firewall;
pub mod host;
pub mod image;
pub mod install;
pub mod json;
mod kind;
pub mod link;
mod manifest;
mod mode;
pub mod network;
pub mod order;
pub mod parse;
mod progress;
pub mod quantity;
mod role;
pub mod secret;
pub mod set;
pub mod source;
pub mod subnet;
pub mod volume;

pub use condition::{Condition, Truth};
pub use container::{Container, ContainerSpec, ContainerStatus};
pub use desired::Desired;
pub use disk::{Disk, DiskSpec, DiskStatus};
pub use firewall::{Firewall, FirewallSpec, FirewallStatus};
pub use host::{Host, HostSpec, HostStatus};
pub use image::{Image, ImageSpec, ImageStatus};
pub use install::{Install, InstallSpec, InstallStatus};
pub use kind::{Kind, UnknownKind};
pub use link::{Link, LinkSpec, LinkStatus};
pub use manifest::{Declared, Manifest};
pub use mode::{Mode, UnknownMode};
pub use network::{Network, NetworkSpec, NetworkStatus};
pub use progress::Progress;
pub use role::{Role, UnknownRole};
pub use secret::{Secret, SecretSpec, SecretStatus};
pub use source::{ConfigSource, ConfigSourceSpec, ConfigSourceStatus};
pub use volume::{Volume, VolumeSpec, VolumeStatus};

/// The API group of every kind.
pub const GROUP: &str = "piccolo.os";
/// The version of the kinds in this crate.
pub const VERSION: &str = "v1alpha1";
/// What a manifest writes as `apiVersion`.
pub const API_VERSION: &str = "piccolo.os/v1alpha1";

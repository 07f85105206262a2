//! The real machine.

mod adopted;
mod archives;
mod attach;
mod book;
mod brought;
mod builds;
mod cache;
mod calling;
mod context;
mod copy;
mod create;
mod directory;
mod docker;
mod drives;
mod ending;
mod error;
mod events;
mod family;
mod filter;
mod gauges;
mod git;
mod ground;
mod guard;
mod halves;
mod hangup;
mod hint;
mod images;
mod installs;
mod ledger;
mod links;
mod logs;
mod luks;
mod members;
mod memory;
mod mirrors;
mod networks;
mod nft;
mod options;
mod pace;
mod partition;
mod probe;
mod program;
mod pulls;
mod pulse;
mod pushes;
mod quota;
mod resets;
mod seen;
mod settings;
mod shelf;
mod shells;
mod snapshots;
mod sources;
mod strangers;
mod tpm;
mod updates;
mod uptime;
mod vault;
mod volumes;
mod watch;

pub use self::{
    book::Book,
    calling::{addresses, hostname, reload_screens},
    docker::{BadAddress, Docker},
    drives::{Changes, Drives, Footing, Keyring, Outside, ResetWork, Starts, answer_for_disks, nonce},
    ending::goes_down,
    ground::{clock as clock_is_right, links},
    halves::{state_halves, state_left_out},
    images::{Declared, DeclaredImage},
    installs::{Running, Stick, running},
    links::{Networkd, Restored, TrialBook, put_links_back, with_password},
    luks::{Enrolment, Slots},
    memory::Memory,
    resets::{Renewal, forget_order, is_rescue, keep_order, reset_done, reset_pending, reset_word, show_of_reset},
    settings::Own,
    snapshots::SnapshotStore,
    tpm::{Chip, Logs},
    updates::{Followed, Updater},
    vault::Vault,
};

/// The label with the digest of what a manifest says of how an image is built.
const BUILD_LABEL: &str = "piccolo.os/build";
/// The label that names the manifest of an image that was built here.
const IMAGE_LABEL: &str = "piccolo.os/image";
/// The label with the fingerprint of what an image was built from.
const SOURCE_LABEL: &str = "piccolo.os/source";
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

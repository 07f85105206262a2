//! The machine behind traits of few verbs. `linux` is the real one, `fake` lives in memory; the same laws hold on both.

mod disks;
mod error;
pub mod fake;
pub mod firewall;
mod gauges;
mod images;
mod installs;
mod links;
pub mod linux;
mod networks;
mod resets;
mod secrets;
mod settings;
mod shells;
mod sources;
mod strangers;
pub mod tpm;
mod updates;
mod volumes;

use std::{collections::BTreeMap, future::Future, net::IpAddr};

use futures_util::Stream;
use piccolo_schema::{
    ContainerSpec, Progress,
    container::{Restart, SecretUse},
};
use serde::{Deserialize, Serialize};

pub use self::{
    disks::{
        Alone, Bound, DiskSeen, Disks, DisksView, Ends, Ground, GroundPlaces, Grounds, HALF_MADE, Half, HalfKey,
        HalfOrder, HealthSeen, Identity, JoinOrder, KeyAct, KeyOrder, KeySeen, LUKS, LeftOut, Locked, LuksSeen,
        MakeOrder, Making, Marker, Meant, Mirrored, Mount, MountSeen, Moved, NewKey, OpenHalf, Opened, OpenedBy,
        PairSeen, Partition, Rebound, RebuildOrder, Retrieved, ScrubSeen, Shut, Signature, Standing, StateHalves,
        StateSeen, Ticket, Undone, Unlocked, WhyLeftOut, bound, human, label as disk_label, label_of, mapped,
        mapped_name, named, parted, swap_label,
    },
    error::{HostError, Reason},
    firewall::{FilterView, Firewall, Member, PacketFilter, Rules, RulesSeen},
    gauges::Gauges,
    images::{
        ArchiveSeen, Brought, Built, ContextSeen, Fingerprint, FromArchive, ImageSeen, Images, ImagesView, Ours,
        Pushed, Trouble,
    },
    installs::{
        Halved, INSTALLING, InstallView, Installing, Installs, Order, Pace, RunsFrom, STATE, Target, Tried, UNFINISHED,
        UnderWay,
    },
    links::{
        CheckSeen, DeviceSeen, KEY, KEYS, Links, LinksView, MadeSeen, PASSWORD, PREFIX, RouteSeen, STAMP, TrialSeen,
        Unit, UnitSeen, Way, WifiFile, WifiSeen,
    },
    networks::{NetworkSeen, NetworkView, Networks},
    resets::{Erase, ResetDone, ResetOrder, ResetProgress, ResetView, Resets, Voucher},
    secrets::{Digests, FileSeen, Places, SecretSeen, Secrets, SecretsView, ValueSeen, place},
    settings::{FileThere, OURS, OwnFile, Service, Settings, SettingsView},
    shells::Shells,
    sources::{Offer, SourceSeen, Sources, SourcesView},
    strangers::Strangers,
    tpm::{Above, Home, Measured, NotSealed, Pcrs, Quote, Sealed, Signer, Terms, Tpm, TpmSeen, Versions},
    updates::{Copied, Previous, Record, Rollout, Updates, UpdatesSeen},
    volumes::{Access, Directory, Quota, SnapshotSeen, Snapshots, VolumeSeen, Volumes, VolumesView},
};
use crate::console::Excerpt;

/// The container engine, as far as containers and their images go.
///
/// Every verb may be repeated and may be dropped half-way: the engine finishes or forgets what it began, and the next
/// observation shows which.
pub trait Engine: Send + Sync + 'static {
    /// Lists all containers, ours and others', and the images that are here.
    fn containers(&self) -> impl Future<Output = Result<EngineView, HostError>> + Send;
    /// Waits until a container or image may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Pulls an image.
    fn pull(&self, image: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes a stopped container called `name` for the manifest `subject`, stamped with both subject and spec, and with
    /// the rollout where it is made from another image than the tag names here.
    fn create(
        &self,
        name: &str,
        subject: &str,
        spec: &ContainerSpec,
        rollout: Option<&Rollout>,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Starts a container.
    fn start(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Stops and starts a container because it is unhealthy, and counts that.
    fn restart(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Stops a container and kills it after the grace period that it was made with.
    fn stop(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Lets a paused container go on.
    fn unpause(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives a container another name.
    fn rename(&self, id: &str, name: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Changes what the engine can change in place.
    fn update(&self, id: &str, limits: &Limits) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes the files of these secrets for a container, in memory. Those that are there are changed in place.
    fn place_secrets(&self, subject: &str, uses: &[SecretUse]) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes the files of secrets at these places of a container.
    fn clear_secrets(&self, subject: &str, places: &[String]) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes a stopped container, not its volumes.
    fn remove(&self, id: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Reads what a container writes.
    fn logs(
        &self,
        name: &str,
        excerpt: &Excerpt,
    ) -> impl Stream<Item = Result<bytes::Bytes, HostError>> + Send + 'static;
}

/// What the engine has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    /// Every container, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerSeen>,
    /// Since when the engine runs, where that matters: when a container of ours has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_since: Option<jiff::Timestamp>,
    /// Every name by which an image can be run without pulling: `nginx:1.27`, `nginx@sha256:…`, in familiar form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// The images that manifests declare by the name under which the engine lists them, with that of the manifest: a
    /// container waits for one of these instead of pulling it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub declared_images: BTreeMap<String, String>,
    /// Those of them that are here and were made here, not pulled, with the identifier that the engine gave them: there is
    /// no tag at a registry that could move, so another identifier is another image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made_images: BTreeMap<String, String>,
    /// How far the pull of each image has come that is under way, by the name under which the engine will list it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pulls: BTreeMap<String, Progress>,
    /// The names of all networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The names of all volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Our rules, as far as a container has to wait for them.
    #[serde(default, skip_serializing_if = "Firewall::is_idle")]
    pub firewall: Firewall,
    /// The secrets that containers can be given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Digests,
    /// The files of secrets that containers were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: Places,
    /// What is known of updates; the engine itself knows nothing of them.
    #[serde(default)]
    pub updates: UpdatesSeen,
    /// The disks that containers may stand on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grounds: Vec<Ground>,
}

/// A container as the engine shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSeen {
    /// The engine's identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Our stamp; none on a container that is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Stamp>,
    /// What it is doing.
    pub state: State,
    /// What its health check says, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The exit code of its last end, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Identifier of the image that it was made from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// The digest that a registry gave this image, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// When it was started, or, once it has ended, when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    /// How often the engine has started it again by itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub engine_restarts: u32,
    /// What it is limited to now, which a hand may have changed.
    #[serde(default)]
    pub limits: Limits,
    /// How often it was restarted because it was unhealthy since it last was healthy for ten minutes. Forgotten when the
    /// daemon ends.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// Where it can be reached from the machine while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Whether it is still attached to the network that it was made on.
    #[serde(default = "attached", skip_serializing_if = "Clone::clone")]
    pub attached: bool,
}

/// What is written on each container that we make, or beside one that was adopted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// The name of the manifest.
    pub subject: String,
    /// The spec that the container was made from. A spec that this version can't read is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<ContainerSpec>>,
    /// The keyed digests of the secrets in its environment, by variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The image that it was made from where that is not the one of the spec's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// What the engine changes without making the container anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of swap beside the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// Billionths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<i64>,
    /// The cores that it may run on, as the spec writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<i64>,
    /// When the engine starts it again.
    pub restart: Restart,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Between two tries of the engine to start it.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Half removed; nothing but removal works.
    Dead,
}

/// What a health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Too early to say.
    Starting,
    /// It passed.
    Healthy,
    /// It failed too often.
    Unhealthy,
}

impl Limits {
    /// Returns the limits that a spec asks for.
    pub fn of(spec: &ContainerSpec) -> Self {
        Self {
            memory: spec.memory.map(piccolo_schema::quantity::Bytes::get),
            swap: spec.swap.map(piccolo_schema::quantity::Bytes::get).filter(|swap| *swap > 0),
            // A float becomes the nearest integer here and never leaves its range: the schema allows up to 4096 cores.
            nano_cpus: spec.cpus.map(|cores| (cores * 1e9).round() as i64),
            cpuset: spec.cpuset.clone(),
            pids: spec.pids,
            restart: left_to_the_engine(spec),
        }
    }
}

/// Returns what the engine is told about restarts. One that starts after the machine did starts all that it may, at once
/// and in no order (`on-failure` too, as what it killed at its own end counts as failed); what depends on others is left
/// to the daemon, which starts it after them.
fn left_to_the_engine(spec: &ContainerSpec) -> Restart {
    if spec.depends_on.is_empty() { spec.restart } else { Restart::No }
}

impl ContainerSeen {
    /// Returns the name of the manifest that it is stamped with, if it is ours.
    pub fn subject(&self) -> Option<&str> {
        self.stamp.as_ref().map(|stamp| stamp.subject.as_str())
    }
}

impl State {
    /// Returns true while there are processes in it, or the engine is about to start them again.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Returns the engine's word, `running`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl Health {
    /// Returns the engine's word, `healthy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

fn attached() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

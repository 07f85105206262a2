//! `Container`: a container run by the local engine.

mod capabilities;
mod dependency;
mod exposure;
mod grant;
mod health;
mod mount;
mod resources;
mod rules;
mod secrets;
mod update;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    capabilities::{Capabilities, WITHHELD},
    dependency::{Dependency, DependencyCondition},
    exposure::Exposure,
    grant::Grant,
    health::{HealthCheck, HttpCheck, OnUnhealthy, TcpCheck},
    mount::{Mount, Tmpfs, can_be_declared},
    resources::{Device, Log, LogDriver, Ulimit},
    secrets::SecretUse,
    update::{Update, UpdatePolicy, Window},
};
use crate::{Condition, Progress, duration::Duration, quantity::Bytes};

/// Networks that every engine has and no manifest makes.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// A container that the machine keeps as it is declared here.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Container",
    plural = "containers",
    singular = "container",
    shortname = "ct",
    category = "all",
    derive = "PartialEq",
    status = "ContainerStatus",
    doc = "A container run by the local engine and kept as it is declared.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Update", type_ = "string", json_path = ".status.updateAvailable", priority = 1),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerSpec {
    /// The image, by tag or digest: `nginx:1.27`, `registry.lan:5000/app@sha256:…`. It is pulled when it is missing.
    #[schemars(
        regex(pattern = r"^[a-z0-9][A-Za-z0-9._/:@-]*$"),
        length(max = 512),
        extend("patternErrorMessage" = "write it like `nginx:1.27` or `registry.lan:5000/app:1`")
    )]
    pub image: String,
    /// The arguments, in place of the image's own (`CMD`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The program that the arguments are given to, in place of the image's own (`ENTRYPOINT`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The directory that the program begins in, in place of the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^/"),
        extend("patternErrorMessage" = "write an absolute path, it begins with `/`")
    )]
    pub working_dir: Option<String>,
    /// Environment variables, beside those that the image sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Ports of the container that are reachable from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Labels for other tools. Keys that begin with `piccolo.os/` are the machine's own and are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the container is started again after it ended. The engine does it, also while the daemon is down; for one
    /// with `dependsOn` the daemon does it, so while the daemon is down nobody does.
    #[serde(default)]
    pub restart: Restart,
    /// Directories, files and named volumes that the container sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Secrets that the container is given, as files in memory or, when asked for, as environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// Directories kept in memory, empty at each start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// The most memory it may use, `256Mi`. The kernel ends a process that asks for more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// The most swap it may use beside its memory, `512Mi`; none when left out. It needs `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Bytes>,
    /// The most processor time it may use, in cores: `0.5` is half of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 4096.0))]
    pub cpus: Option<f64>,
    /// The cores it may run on, by number: `0-3` or `0,2`. Every core when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$"),
        extend("patternErrorMessage" = "write numbers and ranges of cores: `0-3` or `0,2`")
    )]
    pub cpuset: Option<String>,
    /// The most processes and threads it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_194_304))]
    pub pids: Option<i64>,
    /// Its share of the disk's time against other containers, 500 for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 1000))]
    pub io_weight: Option<u16>,
    /// The most that it may write to its own file system, `10Gi`. Only some storage drivers of the engine can keep it:
    /// `overlay2` on XFS with project quotas, `btrfs`, `zfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Bytes>,
    /// The size of the memory that its processes share at `/dev/shm`, 64 MiB when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// Limits that the kernel keeps for each process, by name: `nofile = { soft = 4096, hard = 8192 }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Devices of the machine that the container may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Graphics processors that the container may use, by number or identifier; `["all"]` for every one. It needs the
    /// maker's container toolkit on the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_:.-]*$")),
        extend("patternErrorMessage" = "write `all`, a number or an identifier of the device")
    )]
    pub gpus: Vec<String>,
    /// Where its output goes. Kept by the engine in three files of 10 MiB when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// How it is found out whether the container does its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// The user, and group, that it runs as: `1000`, `1000:1000` or a name of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$"),
        extend("patternErrorMessage" = "write a number or a name, and a group after a colon if wanted: `1000:1000`")
    )]
    pub user: Option<String>,
    /// Further groups of its processes, by number or by a name of the image: `44` for a graphics card, for instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")),
        extend("patternErrorMessage" = "write a number or a name of the image")
    )]
    pub groups: Vec<String>,
    /// Linux capabilities added to or taken from the default set, which is the engine's without `AUDIT_WRITE`, `MKNOD`,
    /// `NET_RAW` and `SETFCAP`.
    #[serde(default, skip_serializing_if = "Capabilities::is_default")]
    pub capabilities: Capabilities,
    /// Lets programs such as `sudo` gain rights that the container was not started with.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_new_privileges: bool,
    /// Gives it every device and every right of the machine's root. It needs the grant `privileged`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Shows it the processes of the whole machine. It needs the grant `host-pid`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host_pid: bool,
    /// Shares the machine's memory segments and queues with it. It needs the grant `host-ipc`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub host_ipc: bool,
    /// What it may have although it could take over the machine with it. Each has to be named here, so that nothing of
    /// the kind is overlooked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Makes the container's own file system read-only; mounts and tmpfs stay as they are declared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only_root: bool,
    /// Containers that must be there before this one starts. An engine that comes back starts all it may in no order, so
    /// it is given no `restart` for a container with dependencies: the daemon starts that one again, after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// The network it joins: the name of a Network manifest, or of a network that somebody else keeps; or `bridge`,
    /// `host` or `none` of the engine. On a network of a manifest containers reach each other by name. `host` needs the
    /// grant `host-network`. `bridge` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$"),
        extend("patternErrorMessage" = "write the name of a network: letters, digits, `_`, `.` and `-`")
    )]
    pub network: Option<String>,
    /// Networks that it joins beside `network`, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")),
        extend("patternErrorMessage" = "write the name of a network: letters, digits, `_`, `.` and `-`")
    )]
    pub more_networks: Vec<String>,
    /// Further names by which others on its networks reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        inner(regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$")),
        extend("patternErrorMessage" = "write a name of letters, digits, `-`, `_` and `.`")
    )]
    pub aliases: Vec<String>,
    /// What it calls itself, the beginning of its identifier when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"),
        extend("patternErrorMessage" = "write a name of letters, digits, `-`, `_` and `.`")
    )]
    pub hostname: Option<String>,
    /// Addresses of names that no name server tells it: `nas = "192.168.1.5"`; `host-gateway` stands for the machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// The name servers that it asks, in place of the machine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<std::net::IpAddr>,
    /// Settings of the kernel that each container has of its own: names that begin with `net.`, `kernel.msg`,
    /// `kernel.sem`, `kernel.shm` or `fs.mqueue.`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Runs a small first process that passes signals on and reaps what is left over. Useful for programs that ignore
    /// SIGTERM as process 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub init: bool,
    /// The signal that asks it to stop, `SIGTERM` when neither this nor the image says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^SIG[A-Z0-9+-]{2,12}$"),
        extend("patternErrorMessage" = "write the name of a signal: `SIGTERM`")
    )]
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed, `10s` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Duration>,
    /// How it follows its image. A tag that moves is not followed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Whether it should run. With `false` it is made but kept stopped.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub running: bool,
}

/// A port of the container that is reachable from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// The port that the program in the container listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: u16,
    /// The port of the machine that leads to it.
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: u16,
    /// The address of the machine that it is bound to. Every address, IPv4 and IPv6, when left out; `127.0.0.1` keeps it
    /// to the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<std::net::IpAddr>,
    /// From where it can be reached: `lan`, from wherever the machine can be, as when left out; `loopback`, from the
    /// machine itself; a range such as `192.168.1.0/24`, and the machine itself; `none`, from nowhere. A change of it
    /// makes the container anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^(lan|loopback|none|[0-9a-fA-F.:]+(/[0-9]{1,3})?)$"),
        extend("patternErrorMessage" = "write `lan`, `loopback`, `none` or a range of addresses such as `192.168.1.0/24`")
    )]
    pub exposure: Option<String>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// When a container is started again after it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Never: the container runs once and has then done its work.
    No,
    /// When it ended with an error.
    OnFailure,
    /// Always.
    #[default]
    Always,
}

/// How a container stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The engine's word: `created`, `running`, `paused`, `restarting`, `exited` or `dead`; `absent` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What its health check says: `starting`, `healthy` or `unhealthy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The engine's identifier of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The identifier of the image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The digest of the image that it runs, as a registry names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// The digest that its image has at the registry by now, if that is another one and may be updated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_available: Option<String>,
    /// How far the pull of its image has come, while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The exit code of its last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl ContainerSpec {
    /// Returns the networks of manifests that it joins, the first one first.
    pub fn joins(&self) -> impl Iterator<Item = &str> {
        let first = self.network.as_deref().filter(|network| !BUILT_IN.contains(network));
        first.into_iter().chain(self.more_networks.iter().map(String::as_str))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something with which a container could take over the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// `privileged = true`: every device and every right.
    Privileged,
    /// `network = "host"`: the machine's own network, with all that listens on its loopback.
    HostNetwork,
    /// `hostPid = true`: the processes of the whole machine.
    HostPid,
    /// `hostIpc = true`: the machine's memory segments and queues.
    HostIpc,
    /// A mount of the engine's socket, which is as good as root.
    DockerSocket,
    /// A mount of `/` or `/var`, or of anything at or below `/boot`, `/dev`, `/etc`, `/proc`, `/root`, `/run`, `/sys`,
    /// `/usr`, `/var/lib/docker`, `/var/lib/piccolo` or `/var/run`. `/etc/hostname`, `/etc/localtime` and `/etc/timezone` may be
    /// read by all.
    SystemPaths,
    /// One of the capabilities that are as good as root: `ALL`, `BPF`, `DAC_READ_SEARCH`, `SYS_ADMIN`, `SYS_BOOT`,
    /// `SYS_MODULE`, `SYS_PTRACE`, `SYS_RAWIO`.
    SystemCapabilities,
    /// Reaches the API of this machine over its network, which containers can't otherwise. It still takes a token.
    PiccoloApi,
}

/// Places of the machine that are never shown to a container without a grant, with all that is below them.
const SYSTEM: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/docker",
    "/var/lib/piccolo",
    "/var/run",
];
/// Places that hold all of these.
const ABOVE: &[&str] = &["/", "/var", "/var/lib"];
/// Files among them that many images want to read and that tell next to nothing.
const HARMLESS: &[&str] = &["/etc/hostname", "/etc/localtime", "/etc/timezone"];
/// Capabilities that are as good as root.
const MIGHTY: &[&str] =
    &["ALL", "BPF", "DAC_READ_SEARCH", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];

impl Grant {
    /// Returns the grant that a mount of this plain absolute path needs, if any.
    pub fn for_path(path: &str, read_only: bool) -> Option<Self> {
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        if path.ends_with("/docker.sock") || path.ends_with("/containerd.sock") {
            return Some(Self::DockerSocket);
        }
        let below =
            |place: &&str| path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let harmless = read_only && HARMLESS.contains(&path);
        (!harmless && (ABOVE.contains(&path) || SYSTEM.iter().any(below))).then_some(Self::SystemPaths)
    }

    /// Returns the grant that a capability needs, if any.
    pub fn for_capability(name: &str) -> Option<Self> {
        MIGHTY.contains(&name).then_some(Self::SystemCapabilities)
    }

    /// Says what a container can do with it.
    pub const fn danger(self) -> &'static str {
        match self {
            Self::Privileged => "a privileged container can do all that the machine's root can",
            Self::HostNetwork => "on the network `host` a container sees and can reach all that the machine can",
            Self::HostPid => "with `hostPid` a container sees the processes of the whole machine",
            Self::HostIpc => "with `hostIpc` a container shares the memory of the machine's programs",
            Self::DockerSocket => "who can speak to the engine's socket can do all that the machine's root can",
            Self::SystemPaths => "the path is a part of the machine itself",
            Self::SystemCapabilities => "the capability is as good as being the machine's root",
            Self::PiccoloApi => "who reaches the machine's API can try to guess or steal a token",
        }
    }

    /// Returns the word of the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::HostNetwork => "host-network",
            Self::HostPid => "host-pid",
            Self::HostIpc => "host-ipc",
            Self::DockerSocket => "docker-socket",
            Self::SystemPaths => "system-paths",
            Self::SystemCapabilities => "system-capabilities",
            Self::PiccoloApi => "piccolo-api",
        }
    }
}

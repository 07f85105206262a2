use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A container run by the local engine.
    Container,
    /// A network that containers join.
    Network,
    /// A place for data that outlives containers.
    Volume,
    /// Values that only this machine can read.
    Secret,
    /// An image that containers are made from.
    Image,
    /// A git repository that manifests come from.
    ConfigSource,
    /// A network link of the machine.
    Link,
    /// What the machine is called, and which time it has.
    Host,
    /// Who may reach the machine.
    Firewall,
    /// A disk with a file system.
    Disk,
    /// The system of a stick that comes onto a disk.
    Install,
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind(pub String);

impl Kind {
    /// Every kind there is, in the order in which a machine is described: what others stand on comes first.
    pub const ALL: &'static [Self] = &[
        Self::Secret,
        Self::ConfigSource,
        Self::Host,
        Self::Firewall,
        Self::Link,
        Self::Image,
        Self::Network,
        Self::Disk,
        Self::Install,
        Self::Volume,
        Self::Container,
    ];

    /// Returns the kind as a manifest writes it, `Container`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "Container",
            Self::Network => "Network",
            Self::Volume => "Volume",
            Self::Secret => "Secret",
            Self::Image => "Image",
            Self::ConfigSource => "ConfigSource",
            Self::Link => "Link",
            Self::Host => "Host",
            Self::Firewall => "Firewall",
            Self::Disk => "Disk",
            Self::Install => "Install",
        }
    }

    /// Returns the word of the API path, `containers`.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Network => "networks",
            Self::Volume => "volumes",
            Self::Secret => "secrets",
            Self::Image => "images",
            Self::ConfigSource => "configsources",
            Self::Link => "links",
            Self::Host => "hosts",
            Self::Firewall => "firewalls",
            Self::Disk => "disks",
            Self::Install => "installs",
        }
    }

    /// Returns the word for one of them, `container`.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Secret => "secret",
            Self::Image => "image",
            Self::ConfigSource => "configsource",
            Self::Link => "link",
            Self::Host => "host",
            Self::Firewall => "firewall",
            Self::Disk => "disk",
            Self::Install => "install",
        }
    }

    /// Returns the abbreviation that command lines take, `ct`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Container => "ct",
            Self::Network => "net",
            Self::Volume => "vol",
            Self::Secret => "sec",
            Self::Image => "img",
            Self::ConfigSource => "cs",
            Self::Link => "ln",
            Self::Host => "ho",
            Self::Firewall => "fw",
            Self::Disk => "dk",
            Self::Install => "ins",
        }
    }

    /// Returns the kind that a person means by `container`, `containers`, `Container` or `ct`.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| {
            [kind.as_str(), kind.plural(), kind.singular(), kind.short()].iter().any(|w| w.eq_ignore_ascii_case(word))
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Reads the exact word of a manifest.
    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word).ok_or_else(|| UnknownKind(word.to_owned()))
    }
}

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown kind `{}`", self.0)
    }
}

impl std::error::Error for UnknownKind {}

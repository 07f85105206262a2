use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Serialize;

use crate::{
    ConfigSource, Container, Disk, Firewall, Host, Image, Install, Kind, Link, Mode, Network, Secret, Volume,
    parse::Violation,
};

/// One wanted thing, of whichever kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Manifest {
    /// A container.
    Container(Box<Container>),
    /// A network.
    Network(Box<Network>),
    /// A volume.
    Volume(Box<Volume>),
    /// A secret.
    Secret(Box<Secret>),
    /// An image.
    Image(Box<Image>),
    /// A source of manifests.
    ConfigSource(Box<ConfigSource>),
    /// A network link.
    Link(Box<Link>),
    /// The machine's own settings.
    Host(Box<Host>),
    /// The firewall.
    Firewall(Box<Firewall>),
    /// A disk.
    Disk(Box<Disk>),
    /// An installation.
    Install(Box<Install>),
}

/// A kind's own type, as it is found inside a [`Manifest`].
pub trait Declared: Resource + Clone + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// Returns the manifest as this type if it is of this kind.
    fn of(manifest: &Manifest) -> Option<&Self>;

    /// Returns `metadata.name`.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Returns whether it is kept so, or only planned.
    fn mode(&self) -> Mode {
        Mode::of(self.meta())
    }
}

impl Manifest {
    /// Returns the kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Container(_) => Kind::Container,
            Self::Network(_) => Kind::Network,
            Self::Volume(_) => Kind::Volume,
            Self::Secret(_) => Kind::Secret,
            Self::Image(_) => Kind::Image,
            Self::ConfigSource(_) => Kind::ConfigSource,
            Self::Link(_) => Kind::Link,
            Self::Host(_) => Kind::Host,
            Self::Firewall(_) => Kind::Firewall,
            Self::Disk(_) => Kind::Disk,
            Self::Install(_) => Kind::Install,
        }
    }

    /// Returns `metadata`.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Container(it) => &it.metadata,
            Self::Network(it) => &it.metadata,
            Self::Volume(it) => &it.metadata,
            Self::Secret(it) => &it.metadata,
            Self::Image(it) => &it.metadata,
            Self::ConfigSource(it) => &it.metadata,
            Self::Link(it) => &it.metadata,
            Self::Host(it) => &it.metadata,
            Self::Firewall(it) => &it.metadata,
            Self::Disk(it) => &it.metadata,
            Self::Install(it) => &it.metadata,
        }
    }

    /// Returns `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Checks the rules that only show when fields are looked at together.
    pub fn validate(&self) -> Vec<Violation> {
        let mut violations = match self {
            Self::Container(it) => it.validate(),
            Self::Network(it) => it.validate(),
            Self::Volume(it) => it.validate(),
            Self::Secret(it) => it.validate(),
            Self::Image(it) => it.validate(),
            Self::ConfigSource(it) => it.validate(),
            Self::Link(it) => it.validate(),
            Self::Host(it) => it.validate(),
            Self::Firewall(it) => it.validate(),
            Self::Disk(it) => it.validate(),
            Self::Install(it) => it.validate(),
        };
        violations.extend(Mode::validate(self.metadata()));
        violations
    }
}

impl Declared for Container {
    const KIND: Kind = Kind::Container;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Container(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Network {
    const KIND: Kind = Kind::Network;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Network(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Volume {
    const KIND: Kind = Kind::Volume;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Volume(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Secret {
    const KIND: Kind = Kind::Secret;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Secret(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Image {
    const KIND: Kind = Kind::Image;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Image(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for ConfigSource {
    const KIND: Kind = Kind::ConfigSource;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::ConfigSource(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Link {
    const KIND: Kind = Kind::Link;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Link(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Host {
    const KIND: Kind = Kind::Host;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Host(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Firewall {
    const KIND: Kind = Kind::Firewall;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Firewall(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Disk {
    const KIND: Kind = Kind::Disk;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Disk(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Install {
    const KIND: Kind = Kind::Install;

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Install(it) => Some(it),
            _ => None,
        }
    }
}

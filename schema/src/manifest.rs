use serde::Serialize;

use crate::{Container, Kind, Network, Secret, Volume, parse::Violation};

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
}

/// A kind's own type, as it is found inside a [`Manifest`].
pub trait Declared: Clone + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// Returns `metadata.name`.
    fn name(&self) -> &str;
    /// Returns the manifest as this type if it is of this kind.
    fn of(manifest: &Manifest) -> Option<&Self>;
}

impl Manifest {
    /// Returns the kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Container(_) => Kind::Container,
            Self::Network(_) => Kind::Network,
            Self::Volume(_) => Kind::Volume,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// Returns `metadata.name`.
    pub fn name(&self) -> &str {
        match self {
            Self::Container(it) => it.name(),
            Self::Network(it) => it.name(),
            Self::Volume(it) => it.name(),
            Self::Secret(it) => it.name(),
        }
    }
}

impl Manifest {
    /// Checks the rules that only show when fields are looked at together.
    pub fn validate(&self) -> Vec<Violation> {
        match self {
            Self::Container(it) => it.validate(),
            Self::Network(it) => it.validate(),
            Self::Volume(it) => it.validate(),
            Self::Secret(it) => it.validate(),
        }
    }
}

impl Declared for Container {
    const KIND: Kind = Kind::Container;

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Container(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Network {
    const KIND: Kind = Kind::Network;

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Network(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Volume {
    const KIND: Kind = Kind::Volume;

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Volume(it) => Some(it),
            _ => None,
        }
    }
}

impl Declared for Secret {
    const KIND: Kind = Kind::Secret;

    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn of(manifest: &Manifest) -> Option<&Self> {
        match manifest {
            Manifest::Secret(it) => Some(it),
            _ => None,
        }
    }
}

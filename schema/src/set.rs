//! What is wrong between manifests: each is right by itself, together they can't work. Pure.

mod disks;
mod firewall;
mod links;
mod missing;
mod policies;
mod rivals;
mod show;
mod waits;

use std::collections::BTreeMap;

pub use self::show::Source;
use crate::{
    Container, Declared, Kind, Manifest,
    parse::{Code, Path},
};

/// Something that is wrong between manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The stable code.
    pub code: Code,
    /// False when it may well be meant.
    pub is_error: bool,
    /// What should be changed.
    pub at: Spot,
    /// What else has to do with it.
    pub others: Vec<Spot>,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub help: String,
}

/// A field of one of the manifests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The place of the manifest among those that were given.
    pub manifest: usize,
    /// The field.
    pub path: Path,
}

/// How much of a machine's manifests is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of them: what is not there is missing.
    Whole,
    /// Some of them.
    Part,
}

/// Returns all that is wrong between these manifests, in their order. Of two that are in each other's way the later one
/// is named first.
#[must_use]
pub fn check(manifests: &[&Manifest], extent: Extent) -> Vec<Conflict> {
    let set = Set::new(manifests);
    let mut out = Vec::new();
    rivals::names(&set, &mut out);
    rivals::ports(&set, &mut out);
    rivals::subnets(&set, &mut out);
    rivals::references(&set, &mut out);
    firewall::ports(&set, &mut out);
    disks::check(&set, &mut out);
    waits::cycles(&set, &mut out);
    links::check(&set, extent, &mut out);
    if extent == Extent::Whole {
        missing::check(&set, &mut out);
        firewall::targets(&set, &mut out);
        policies::check(&set, &mut out);
    }
    out.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    out
}

/// Manifests, sorted for look-ups.
struct Set<'a> {
    manifests: &'a [&'a Manifest],
    /// Where the first manifest of each identity stands.
    first: BTreeMap<(Kind, &'a str), usize>,
}

impl<'a> Set<'a> {
    fn new(manifests: &'a [&'a Manifest]) -> Self {
        let mut first = BTreeMap::new();
        for (at, manifest) in manifests.iter().enumerate() {
            first.entry((manifest.kind(), manifest.name())).or_insert(at);
        }
        Self { manifests, first }
    }

    /// Returns the manifests of one kind with their places.
    fn all<M: Declared>(&self) -> impl Iterator<Item = (usize, &'a M)> + Clone {
        self.manifests.iter().enumerate().filter_map(|(at, manifest)| Some((at, M::of(manifest)?)))
    }

    /// Returns the containers with their places.
    fn containers(&self) -> impl Iterator<Item = (usize, &'a Container)> {
        self.all::<Container>()
    }

    /// Returns the manifest of this name.
    fn get<M: Declared>(&self, name: &str) -> Option<(usize, &'a M)> {
        let at = *self.first.get(&(M::KIND, name))?;
        Some((at, M::of(self.manifests[at])?))
    }
}

impl Spot {
    fn new(manifest: usize, path: Path) -> Self {
        Self { manifest, path }
    }

    /// Returns the place of a manifest's name.
    fn name(manifest: usize) -> Self {
        Self::new(manifest, Path::default().key("metadata").key("name"))
    }
}

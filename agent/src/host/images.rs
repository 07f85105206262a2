//! Images as the machine has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use jiff::Timestamp;
use piccolo_schema::{
    ImageSpec, Progress,
    image::{Push, Reference},
};
use serde::{Deserialize, Serialize};

use super::{Digests, HostError, Reason};

/// The container engine as far as images go that manifests declare.
pub trait Images: Send + Sync + 'static {
    /// Lists all images of the engine.
    fn images(&self) -> impl Future<Output = Result<ImagesView, HostError>> + Send;
    /// Waits until an image may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Pulls the image of a manifest, with the login that this names.
    fn pull_declared(&self, spec: &ImageSpec) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Builds the image of the manifest `name` and stamps it with what it was built from.
    fn build(&self, name: &str, spec: &ImageSpec, built: &Built) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives the image of this identifier to a registry, and writes down that it has it.
    fn push(&self, name: &str, image: &str, push: &Push) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Gives a name back that an image has only because a push of this manifest broke off.
    fn give_back(&self, name: &str, to: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Removes an image that nobody needs. One that a container uses stays, and so do its names in other repositories.
    fn remove_image(&self, image: &str, repository: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Loads the image of this reference from an archive, and writes down which one it was.
    fn load(&self, reference: &str, archive: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What the engine has of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImagesView {
    /// Every image, sorted by identifier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageSeen>,
    /// How far the pull of each image has come that is under way, by the name under which the engine will list it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pulls: BTreeMap<String, Progress>,
    /// The secrets that logins are taken from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Digests,
    /// What declared images are built from, by place, as far as it has been looked at.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, ContextSeen>,
    /// What registries were given, by manifest and by the name that it has there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pushed: BTreeMap<String, BTreeMap<String, Pushed>>,
    /// Names that images have only for the time of a push, by manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lent: BTreeMap<String, BTreeSet<String>>,
    /// The archives that manifests name, by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub archives: BTreeMap<String, ArchiveSeen>,
    /// Where images came from that their registry did not give, by the name under which the engine lists them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub brought: BTreeMap<String, Brought>,
    /// The images that came here for a manifest, by identifier. This and what follows is looked at only where a manifest asks
    /// for removals.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ours: BTreeMap<String, Ours>,
    /// The identifiers of what containers run, whoever made them, and of what ours ran before that.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub used: BTreeSet<String>,
    /// The names that manifests give to images, in familiar form.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub named: BTreeSet<String>,
    /// The clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Timestamp>,
}

/// How an image came to be ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ours {
    /// The repository that it was brought from, or made for.
    pub repository: String,
    /// When.
    pub since: Timestamp,
}

impl ImagesView {
    /// Returns the images that are ours and that nobody needs.
    pub fn unneeded(&self) -> impl Iterator<Item = (&ImageSeen, &Ours)> {
        let ours = self.images.iter().filter_map(|image| Some((image, self.ours.get(&image.id)?)));
        ours.filter(|(image, _)| {
            !self.used.contains(&image.id) && !image.names.iter().any(|name| self.named.contains(name))
        })
    }
}

/// The file of an archive as a look from outside shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArchiveSeen {
    /// It is there.
    There(Fingerprint),
    /// It can't be used, and why.
    Unusable(String),
}

/// What tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    /// How large it is, in bytes.
    pub size: u64,
    /// When it was written, in nanoseconds.
    pub modified: i64,
}

/// How an image came here that its registry did not give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Brought {
    /// The engine's identifier.
    pub id: String,
    /// The digest of its manifest, which the engine does not know of an image that it did not pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The archive that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<FromArchive>,
}

/// An archive as it was when an image was loaded from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FromArchive {
    /// Where it was.
    pub path: String,
    /// Which version of it.
    pub fingerprint: Fingerprint,
}

/// An image that a registry was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pushed {
    /// The engine's identifier.
    pub image: String,
    /// The digest that the registry gave it.
    pub digest: String,
}

/// What an image is built from, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContextSeen {
    /// What tells it from any other: a digest, or a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why it can't be seen now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// Why something can't be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The cause.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

/// What is written on an image that was built here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The digest of what the manifest said of the build.
    pub recipe: String,
    /// The fingerprint of what it was built from.
    pub source: String,
}

/// An image as the engine shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSeen {
    /// The engine's identifier.
    pub id: String,
    /// Every name by which it can be run: `nginx:1.27`, `nginx@sha256:…`, in familiar form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How much of the disk it takes, in bytes.
    #[serde(default)]
    pub size: u64,
    /// What it was built from, if it was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Built>,
}

impl ImageSeen {
    /// Returns the digest that the registry of this reference gave it.
    pub fn digest(&self, wanted: &Reference) -> Option<String> {
        let digest = |name: &String| {
            let name = Reference::parse(name).ok()?;
            let digest = name.digest()?.to_owned();
            (name.repository() == wanted.repository()).then_some(digest)
        };
        self.names.iter().find_map(digest)
    }
}

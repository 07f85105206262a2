//! `Image`: an image that is on the machine before a container needs it. References to images.

mod build;
mod mirror;
mod push;
mod reference;
mod rules;

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    build::{Build, Repository},
    mirror::Mirror,
    push::Push,
    reference::Reference,
};
use crate::{Condition, Progress, quantity::Bytes};

/// An image that is brought to this machine before a container needs it.
///
/// A container that names the same `image` waits until it is here, and does not pull it by itself.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "piccolo.os",
    version = "v1alpha1",
    kind = "Image",
    plural = "images",
    singular = "image",
    shortname = "img",
    category = "all",
    derive = "PartialEq",
    status = "ImageStatus",
    doc = "An image that is brought to this machine before a container needs it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reference", type_ = "string", json_path = ".spec.reference"),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// The name of the image as a container writes it, `registry.lan:5000/app:1`. It is pulled from there, unless
    /// something below says where it comes from.
    #[schemars(extend("examples" = ["nginx:1.27", "registry.lan:5000/app:1"]))]
    pub reference: String,
    /// The login for its registry. It is used for whatever is asked about the repository of `reference`: this pull, the
    /// pulls of containers on other tags of it, and the search for updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Registries that have the images of this repository too, asked in this order before its own, which is asked when none
    /// of them gives it. What a mirror says a tag names is believed; write a digest into `reference` where it is not to be.
    /// Like the login they are used for whatever is asked about the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub mirrors: Vec<Mirror>,
    /// A file of this machine from which the image is loaded instead of being pulled, `/srv/images/app.tar`: an OCI archive
    /// or what `docker save` writes, not compressed as a whole. The image gets the name `reference`, whatever it is called
    /// in the archive; of several images there that of this name is taken. Where `reference` has a digest, it has to be that
    /// of the manifest in the archive. A file that is put in place of this one is loaded again, and containers of it
    /// are replaced, unless they have `update` with `policy = "manual"`. Once it is loaded the file may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/srv/images/app.tar"]))]
    pub archive: Option<String>,
    /// Builds the image on this machine instead of pulling it. Images that its `FROM` lines name are pulled by the engine
    /// if they are not here, with the login of `credentials` where they come from the registry of `reference`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Registries that are given the image, each time that there is another one here. They are not watched: what somebody
    /// puts in its place there stays until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub push: Vec<Push>,
    /// What becomes of other images of the same repository, such as older versions, that Piccolo brought here and that nothing
    /// needs any more: `never` leaves them, as when left out, `unused` removes them. What a container runs, also a stopped one
    /// or one of others, what it ran before that, and what a manifest names is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<Prune>,
}

/// What becomes of images that nothing needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Prune {
    /// They stay.
    #[default]
    Never,
    /// They are removed.
    Unused,
}

/// Where a login comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// The name of a Secret manifest with the values `username` and `password`, or with `config.json` as `docker login`
    /// writes it, of which the entry of the registry is taken. Who already has a Kubernetes secret may call that
    /// `.dockerconfigjson`.
    #[schemars(
        regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        extend("patternErrorMessage" = "write the name of a manifest: lower-case letters, digits and `-`")
    )]
    pub secret: String,
}

/// How an image stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// The engine's identifier of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// The digest that its registry gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What it was built from, where it was built here: the digest of a directory, or the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<String>,
    /// The digests under which it was pushed, by the name that it has there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pushed: BTreeMap<String, String>,
    /// How much of the disk it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// How far its pull has come, while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How it stands in the words of the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

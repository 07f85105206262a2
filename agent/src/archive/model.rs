//! The documents in an archive, as far as they matter here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The media types of lists of manifests.
const LISTS: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

/// `index.json` of an OCI image layout, and what it may lead to when there is one image for each platform.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// Says where content is, how much and which.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

/// The machine that an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// The manifest of one image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// An entry of Docker's `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Saved {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Vec<String>,
}

impl Descriptor {
    pub(super) fn is_list(&self) -> bool {
        LISTS.contains(&self.media_type.as_str())
    }

    /// Returns true for what runs on this machine, or does not say where it runs. What is no image at all, such as an
    /// attestation, says `unknown`.
    pub(super) fn runs_here(&self) -> bool {
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.platform.as_ref().is_none_or(|it| it.os == "linux" && it.architecture == here)
    }

    /// Returns the name that whoever wrote the archive gave the image.
    pub(super) fn name(&self) -> Option<&String> {
        let plain = self.annotations.get("org.opencontainers.image.ref.name").filter(|it| it.contains([':', '/']));
        self.annotations.get("io.containerd.image.name").or(plain)
    }
}

//! Repositories that manifests come from, as the machine knows them.

use std::{collections::BTreeMap, future::Future};

use piccolo_schema::ConfigSourceSpec;
use serde::{Deserialize, Serialize};

use super::HostError;

/// Git repositories, and what of them is in force here.
pub trait Sources: Send + Sync + 'static {
    /// Says what is known of each. Asks no repository: that is done in the background, as often as each wants it.
    fn sources(&self) -> impl Future<Output = Result<SourcesView, HostError>> + Send;
    /// Puts the manifests of a revision in force, if it is still the one that the repository has. All of them at once:
    /// dropped half-way, either none is or all are.
    fn take(&self, source: &str, revision: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Waits until a repository may have something else.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// What is known of all sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourcesView {
    /// By the name of the manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceSeen>,
}

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceSeen {
    /// What the manifest said when the repository was asked.
    pub asked: ConfigSourceSpec,
    /// The revision whose manifests are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// How many manifests came with it.
    pub manifests: usize,
    /// True if the manifest asks for something else of the repository than when that was taken.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
    /// When the repository answered last, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// Why it does not answer now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// The files of the source that are not as its revision has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<String>,
}

/// A revision that a repository has, and what became of it under the eyes of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Offer {
    /// The revision, 40 digits.
    pub revision: String,
    /// The fingerprint of the key that signed it, if that is one that may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Why its signature does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distrust: Option<String>,
    /// True if it does not follow the revision that is in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rewound: bool,
    /// True if it leaves nothing of what is in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub emptied: bool,
    /// Why it can't be put in force at all, each reason in a sentence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// What it changes, `add container/web`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

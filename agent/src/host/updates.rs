//! Updates of images: what is known of them, and the verbs that they need beside the engine's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use jiff::{Timestamp, civil::DateTime};
use piccolo_schema::image::Reference;
use serde::{Deserialize, Serialize};

use super::{EngineView, HostError, Snapshots};

/// What an update needs of the machine: snapshots, and a book of digests that outlives everything.
pub trait Updates: Snapshots {
    /// Returns what is known of updates of these containers, the clock included.
    fn known(&self, view: &EngineView) -> impl Future<Output = Result<UpdatesSeen, HostError>> + Send;
    /// Waits until something else is known, or time matters.
    fn news(&self) -> impl Future<Output = ()> + Send;
    /// Writes down that a container runs this digest from now on, and what a person can go back to.
    fn commit(
        &self,
        subject: &str,
        digest: &str,
        previous: Option<&Previous>,
    ) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Writes down that this digest did not do well, and is never to be tried again.
    fn condemn(&self, subject: &str, digest: &str, why: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What is known of updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdatesSeen {
    /// The clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Timestamp>,
    /// The same on the wall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<DateTime>,
    /// What is written down, by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<String, Record>,
    /// The volumes of which a snapshot is to be taken.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kept_volumes: BTreeSet<String>,
    /// The snapshots that updates have taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Copied>,
    /// The volumes whose snapshots can't be seen, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unseen: BTreeMap<String, String>,
    /// Since when containers do well without a break, by identifier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub well_since: BTreeMap<String, Timestamp>,
}

/// A snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// The volume.
    pub volume: String,
    /// The label.
    pub label: String,
}

/// What is written down of a container's image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The image that `offered` and `current` speak of.
    pub image: String,
    /// The digest that it has at the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// The digest that the container was updated to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// The digest that a person has approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<String>,
    /// What it ran before its last update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Whether a person wants to go back to that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub back: bool,
    /// When each digest was seen first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub first_seen: BTreeMap<String, Timestamp>,
    /// The digests that did not do well, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failed: BTreeMap<String, String>,
}

/// An image to go back to, with its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// Its digest.
    pub digest: String,
    /// The label of the snapshots that the update from it has taken.
    pub label: String,
}

/// What is written on a container beside its spec when its image is one of several that the tag has named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The digest that it was made from.
    pub digest: String,
    /// The container that it is to take the place of, by identifier; none if that is not on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The label of the snapshots that are restored for it, if it is a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<String>,
}

impl Record {
    /// Returns the name of the image that the container is made from, if it was updated before.
    pub fn pin(&self) -> Option<String> {
        Some(Reference::parse(&self.image).ok()?.at(self.current.as_deref()?).ok()?.to_string())
    }

    /// Notes what the registry has. A container of another image begins anew, but a failure is never forgotten.
    pub fn offer(&mut self, image: &str, digest: &str, now: Timestamp) {
        if self.image != image {
            self.leave(image);
        }
        self.offered = Some(digest.to_owned());
        self.first_seen.retain(|known, _| known == digest);
        self.first_seen.entry(digest.to_owned()).or_insert(now);
    }

    /// Notes that the container runs this digest, and what can be gone back to.
    pub fn commit(&mut self, digest: &str, previous: Option<&Previous>) {
        self.current = Some(digest.to_owned());
        self.previous = previous.cloned();
        (self.approved, self.back) = (None, false);
    }

    /// Notes that a person wants to go back to what it ran before, and returns the digest of that.
    ///
    /// # Errors
    /// When there is nothing to go back to.
    pub fn go_back(&mut self) -> Result<String, String> {
        let Some(Previous { digest, .. }) = &self.previous else {
            return Err("nothing is kept to go back to: it was not updated, or returned already".to_owned());
        };
        if let Some(why) = self.failed.get(digest) {
            return Err(format!("{digest} was tried and failed ({why}); it is not tried again"));
        }
        self.back = true;
        Ok(digest.clone())
    }

    /// Notes that a person wants the container to run just this digest of its image; what lies in its volumes stays. One
    /// that `follows` its tag goes there as it goes back from an update.
    ///
    /// # Errors
    /// When it failed before.
    pub fn return_to(&mut self, image: &str, digest: &str, follows: bool) -> Result<(), String> {
        if let Some(why) = self.failed.get(digest) {
            return Err(format!("{digest} was tried and failed ({why}); it is not tried again"));
        }
        let is_same = self.image == image;
        if !is_same {
            self.leave(image);
        }
        if follows {
            // No snapshot has this label, so none is restored.
            self.previous = Some(Previous { digest: digest.to_owned(), label: "none".to_owned() });
            self.back = true;
        }
        if !(is_same && follows) {
            self.current = Some(digest.to_owned());
        }
        Ok(())
    }

    /// Begins anew for another image. A failure is never forgotten.
    pub fn leave(&mut self, image: &str) {
        *self = Self { image: image.to_owned(), failed: std::mem::take(&mut self.failed), ..Self::default() };
    }

    /// Notes that this digest did not do well.
    pub fn condemn(&mut self, digest: &str, why: &str) {
        self.failed.entry(digest.to_owned()).or_insert_with(|| why.to_owned());
        self.approved = None;
        // Who wanted to go back to it can't.
        self.back &= self.previous.as_ref().is_some_and(|previous| previous.digest != digest);
    }
}

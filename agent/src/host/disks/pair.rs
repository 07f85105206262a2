//! Two disks that hold the same, each a half of one file system.

use serde::{Deserialize, Serialize};

use super::{DiskSeen, DisksView, HalfKey, Identity, MakeOrder};

/// What a half says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Half {
    /// Its own UUID, beside that of the file system.
    pub uuid: String,
    /// Its number in the file system; 0 while it is being filled in the place of another one.
    pub number: u64,
    /// How many disks the file system has.
    pub of: u64,
    /// How often was written to the file system when this half was last a part of it.
    pub generation: u64,
}

/// What is remembered of a file system on two disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirrored {
    /// What the kernel calls the other disk now; none while it is not a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The numbers of the pluggings-in of those that are a part of it. One that was pulled out and came back has another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seqs: Vec<u64>,
    /// Which half is written to without the other one, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<Alone>,
    /// The generation at which both halves were last known to be alike. A half with an earlier one is out of date.
    pub floor: u64,
    /// True if it can be mounted only as one that lacks a disk.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}

/// A half that is written to without the other one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Alone {
    /// Its own UUID.
    pub half: String,
    /// The generation from which on it was alone. Whoever has a later one was written to elsewhere.
    pub from: u64,
}

/// How a mounted file system on two disks stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PairSeen {
    /// The disks that are a part of it now, by the kernel's names, sorted.
    pub devices: Vec<String>,
    /// The number of the half that is missing, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<u64>,
    /// How often was written to it.
    pub generation: u64,
    /// How much of a new half is filled, in percent, while one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<u8>,
    /// True if a part of it is kept once, for it was written while a half was missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uneven: bool,
    /// True while it is moved about, whoever began that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub moves: bool,
}

/// The second disk of a file system that is to be made on two, or one that is to be filled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HalfOrder {
    /// What the kernel calls the disk now.
    pub device: String,
    /// The number of its plugging-in.
    pub seq: u64,
    /// The disk.
    #[serde(flatten)]
    pub identity: Identity,
    /// The digest of what was found on it.
    pub digest: String,
    /// The ticket to be used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What is in our marks, if this goes on with what was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// What is filled in the place of the disk itself, where that is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenHalf>,
}

/// The inside of an encrypted half that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenHalf {
    /// What the kernel calls the disk now.
    pub disk: String,
    /// The UUID of its header.
    pub header: String,
    /// What is inside, below `/dev`.
    pub device: String,
}

/// How one file system is made on two encrypted disks that are open and hold nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JoinOrder {
    /// The label that it gets at last.
    pub label: String,
    /// The two.
    pub halves: [OpenHalf; 2],
}

/// How the lost half of a mounted file system is filled anew on another disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RebuildOrder {
    /// The file system.
    pub uuid: String,
    /// Where it is mounted.
    pub at: String,
    /// The number of the lost half.
    pub lost: u64,
    /// The half that came back and is out of date, if it is filled itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Half>,
    /// The disk that is filled.
    #[serde(flatten)]
    pub onto: HalfOrder,
}

impl MakeOrder {
    /// Returns the tickets that are used up for it.
    pub fn tickets(&self) -> impl Iterator<Item = &String> {
        self.ticket.iter().chain(self.second.iter().filter_map(|it| it.ticket.as_ref()))
    }

    /// Returns the order for one disk, as it would be for that alone.
    pub fn of_half(&self, half: &HalfOrder) -> Self {
        let HalfOrder { device, seq, identity, digest, ticket, resumes, .. } = half.clone();
        Self { device, seq, identity, digest, ticket, resumes, second: None, ..self.clone() }
    }
}

impl DisksView {
    /// Returns the name under which a making on the second disk of a manifest is remembered. No manifest has it.
    pub fn second(subject: &str) -> String {
        format!("{subject}/mirror")
    }
}

impl DiskSeen {
    /// Returns by what one of two encrypted disks is known that is opened for a manifest. One that was pulled out and came back
    /// has another name, for what was inside before may still be held.
    pub fn half_key(&self, subject: &str) -> HalfKey {
        HalfKey { under: format!("{subject}/{}", self.seq), what: self.name() }
    }
}

//! How an installed machine becomes as new: what is asked for, how it stands, and the verbs of the start that does it, in the
//! order of their use.

use std::future::Future;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{DiskSeen, HostError, Identity, Signature, firewall};

/// A disk for data that is to be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Erase {
    /// What it is, for people.
    pub name: String,
    /// By what it is known.
    #[serde(flatten)]
    pub identity: Identity,
    /// What was found on it when it was ordered, itself and its partitions. With anything else on it it is not erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Signature>,
}

impl Erase {
    /// Returns what has this disk erased, as it is now.
    pub fn new(disk: &DiskSeen) -> Self {
        let found = disk.signatures.iter().chain(disk.partitions.iter().flat_map(|it| &it.signatures)).cloned();
        Self { name: disk.name(), identity: disk.identity.clone(), found: found.collect() }
    }

    /// Returns true if nothing is on the disk that was not found before. One that is half erased has less.
    pub fn covers(&self, disk: &DiskSeen) -> bool {
        let is_same = |one: &Signature, other: &Signature| {
            (one.offset, &one.kind, &one.uuid) == (other.offset, &other.kind, &other.uuid)
        };
        Self::new(disk).found.iter().all(|now| self.found.iter().any(|then| is_same(now, then)))
    }
}

/// How far the reset of an order came, beside the order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetProgress {
    /// The leave of the order.
    pub ticket: String,
    /// How many starts began with it, and how often one began anew.
    pub tries: u32,
    /// Something may be erased by now.
    pub has_begun: bool,
}

/// A reset that the next start does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetOrder {
    /// The leave that it was given by.
    pub ticket: String,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// The partition of the state, by its UUID in the table. That of another machine is never touched.
    pub state: String,
    /// The disks for data that are erased as well. All others are left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erase: Vec<Erase>,
}

impl ResetOrder {
    /// Returns the digest by which the state knows it.
    pub fn digest(&self) -> String {
        firewall::digest(&serde_json::to_string(self).unwrap_or_default())
    }

    /// Says what the next start does.
    pub fn words(&self) -> String {
        let names: Vec<&str> = self.erase.iter().map(|it| it.name.as_str()).collect();
        let data = if names.is_empty() {
            "keeps all disks for data".to_owned()
        } else {
            format!("erases {}", names.join(", "))
        };
        format!("The next start forgets all that this machine knows, and {data}")
    }
}

/// What there is to be reset, and what is ordered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetView {
    /// The partition of the state, by its UUID in the table.
    pub state: String,
    /// Every disk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSeen>,
    /// What the next start does, if it is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<ResetOrder>,
}

/// Who gave an order, as the state of the machine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// The machine itself, when its state was open.
    Machine,
    /// Somebody who has written beside the loader alone.
    Stranger,
    /// There is no state that could tell: its keys are destroyed, or it is new and not bound to the TPM yet.
    Nobody,
}

/// What a reset leaves behind for the new machine to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResetDone {
    /// When it was ordered.
    pub ordered: Timestamp,
    /// The disks for data that were erased.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<String>,
    /// Those that were not, each in a sentence that says why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

/// The start that resets its machine. It runs from memory, and nothing of the state is open.
///
/// Each verb can be repeated. After any of them, and in the midst of any of them, the power may fail: the order is there until
/// the last of them, so the next start begins anew.
pub trait Resets: Send + Sync {
    /// Returns what is ordered. None if nothing is, or nothing that can be understood.
    fn order(&self) -> impl Future<Output = Result<Option<ResetOrder>, HostError>> + Send;
    /// Returns the partition of the state of this machine, by its UUID in the table.
    fn state(&self) -> impl Future<Output = Result<String, HostError>> + Send;
    /// Returns how far it came by now; nothing where nothing is noted.
    fn progress(&self) -> impl Future<Output = Result<ResetProgress, HostError>> + Send;
    /// Notes how far it came.
    fn note(&self, progress: &ResetProgress) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Proves that what the new state needs of this machine works: that its TPM keeps a secret and gives it back.
    fn ready(&self) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Says who gave this order, as the state tells. Fails where it holds keys of this TPM and can't be opened by them.
    fn voucher(&self, order: &ResetOrder) -> impl Future<Output = Result<Voucher, HostError>> + Send;
    /// Leaves word for the next ordinary start of why nothing came of it.
    fn leave_word(&self, why: &str) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Erases a disk for data: the keys of what is encrypted on it, and all that tells of file systems.
    fn erase(&self, disk: &Erase) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Destroys the keys of the state. From here on nobody reads what was in it.
    fn destroy(&self) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes an empty state with a new key, and leaves word in it of what was done, and of the order, so that one that is
    /// begun anew is known to it.
    fn make(&self, order: &ResetOrder, done: &ResetDone) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Has the TPM open it.
    fn bind(&self) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Makes the one key beside the TPM that opens it, and proves that it does, and that the one it was made with no longer does.
    fn recovery(&self) -> impl Future<Output = Result<Zeroizing<String>, HostError>> + Send;
    /// Gives the partition of the state another UUID, so that the order is for no machine any more.
    fn rename(&self) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Takes the order away, so that the next start is an ordinary one.
    fn finish(&self) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Shows something on the screens of the machine.
    fn show(&self, text: &str);
}

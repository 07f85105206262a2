//! Whose keys are meant, and the disk that the system itself keeps its state on.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use piccolo_schema::{DiskSpec, disk::Passphrase};
use serde::{Deserialize, Serialize};

use super::{DisksView, LuksSeen, OpenedBy, Partition, Shut};
use crate::host::STATE;

/// How long a recovery key is believed to be where its owner keeps it.
const BELIEVED: SignedDuration = SignedDuration::from_hours(24 * 180);

/// Whose keys a person means.
#[derive(Clone, Debug, PartialEq)]
pub enum Meant {
    /// Those of the disk of a manifest.
    Declared {
        /// The name of the manifest.
        name: String,
        /// What it asks for.
        spec: Box<DiskSpec>,
    },
    /// Those of the state of the system itself.
    State,
}

/// What a key that a person typed left undone, though it opened something. Each device is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It opened only a part of what it was to open, and may be a wrong one for the rest.
    Partly(String),
    /// It opened all, and a key that the manifest asks for was not added.
    NotAdded(String),
}

/// What became of the slots of the TPM that were to be bound to how the machine started this time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebound {
    /// Those that are.
    pub moved: Vec<Moved>,
    /// Why it went no further, if it did not come to its end.
    pub failed: Option<String>,
}

/// A slot of the TPM that another one took the place of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Moved {
    /// Which disk or partition it is of, for people, where several are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What the kernel calls the encrypted device; the whole path of a file.
    pub device: String,
    /// The number of the slot that it does not open any more.
    pub old: u8,
    /// The number of the one in its place.
    pub new: u8,
    /// True if the old one is still there, for it went no further.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
}

/// The encrypted state of the system, as its header tells, and what the TPM says to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateSeen {
    /// Its header.
    pub luks: LuksSeen,
    /// Why the TPM does not open it as the machine started this time, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shut: Option<Shut>,
}

/// The disks on which a state lies that is kept on two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateHalves {
    /// What the kernel calls those that are there.
    pub on: Vec<String>,
    /// True if one is missing, or not filled yet.
    pub is_lacking: bool,
    /// How far one is filled that was missing, in percent.
    pub filled: Option<u8>,
    /// What is there and takes no part. Where two are in use, that which was replaced, or what they were replaced by.
    pub left_out: Option<LeftOut>,
}

impl StateHalves {
    /// Returns true if this is still so: who is filled waits for no other one, and what was replaced is none, also meanwhile.
    pub fn counts(&self, left: &LeftOut) -> bool {
        let is_alone = self.is_lacking && self.on.len() == 1;
        let is_replaced = self.on.len() > 1 && matches!(left.why, WhyLeftOut::Strange | WhyLeftOut::Newer);
        (is_alone || is_replaced) && !left.on.iter().any(|it| self.on.contains(it))
    }
}

/// Disks with a half that takes no part in the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Why it takes none.
    pub why: WhyLeftOut,
    /// What the kernel calls them.
    pub on: Vec<String>,
}

/// Why a half takes no part in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyLeftOut {
    /// It and the state were each written to without the other.
    Differs,
    /// Several disks say that they hold it.
    Several,
    /// It belongs to the state, and another encryption is in it: what it was before another disk took its place, too.
    Strange,
    /// The state is one that was replaced, and this is what came after it.
    Newer,
    /// The kernel did not take it.
    Refused,
}

/// Whether somebody has the recovery key of an encrypted disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrieved {
    /// There is none.
    NotMade,
    /// Nobody has typed it yet.
    NotConfirmed,
    /// It was last typed then, which is long ago.
    ProofDue(Timestamp),
    /// It was typed then.
    Proved(Timestamp),
}

impl Meant {
    /// Returns what a manifest asks for, if one is meant.
    pub fn spec(&self) -> Option<&DiskSpec> {
        match self {
            Self::Declared { spec, .. } => Some(spec),
            Self::State => None,
        }
    }

    /// Returns the secrets whose passphrases open it.
    pub fn passphrases(&self) -> Vec<Passphrase> {
        self.spec().and_then(|it| it.encryption.as_ref()?.passphrase.clone()).into_iter().collect()
    }

    /// Returns how many headers with keys there are, once all that is asked for is there.
    pub fn many(&self) -> usize {
        self.spec().map_or(1, DiskSpec::locks)
    }

    /// Returns true if its keys are its owner's, who alone knows them.
    pub fn is_adopted(&self) -> bool {
        self.spec().is_some_and(|it| it.adopt.is_some())
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, old, new, kept, .. } = self;
        let home = if device.starts_with('/') { "" } else { "/dev/" };
        let end = if *kept { "is still there" } else { "is gone" };
        write!(f, "the TPM opens slot {new} of {home}{device} as the machine started this time, and slot {old} {end}")
    }
}

impl fmt::Display for Rebound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.moved.iter().map(Moved::to_string).collect();
        f.write_str(&all.join("; "))?;
        match &self.failed {
            Some(why) => write!(f, "; it went no further: {why}"),
            None => Ok(()),
        }
    }
}

impl LuksSeen {
    /// Says whether somebody has its recovery key.
    pub fn retrieved(&self, now: Timestamp) -> Retrieved {
        let keys = || self.keys.iter().filter(|it| it.by == OpenedBy::Recovery);
        match keys().filter_map(|it| it.proved).max() {
            None if keys().next().is_none() => Retrieved::NotMade,
            None => Retrieved::NotConfirmed,
            Some(last) if now.duration_since(last) >= BELIEVED => Retrieved::ProofDue(last),
            Some(last) => Retrieved::Proved(last),
        }
    }
}

impl DisksView {
    /// Returns the encrypted state that the system itself stands on: the open partition of that name on its own disk, or what
    /// two such partitions on two disks are together. A disk beside it that bears another such system is none of it.
    pub fn state(&self) -> Option<&LuksSeen> {
        let mut found = self.disks.iter().filter(|it| it.system).flat_map(|disk| {
            let parts = disk.partitions.iter().filter(|it| it.name == STATE);
            let is_in =
                |part: &Partition, luks: &LuksSeen| luks.device == part.device || part.joined.contains(&luks.device);
            parts.flat_map(move |part| disk.luks.iter().filter(move |it| is_in(part, it) && it.opened.is_some()))
        });
        let first = found.next()?;
        found.all(|it| it.device == first.device && it.uuid == first.uuid).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{DiskSeen, KeySeen, Opened, Partition};

    fn disk(device: &str, system: bool, is_open: bool) -> DiskSeen {
        let part = |number: u8, name: &str| Partition {
            device: format!("{device}{number}"),
            name: name.to_owned(),
            ..Partition::default()
        };
        let opened = is_open.then(Opened::default);
        let luks = LuksSeen { device: format!("{device}2"), uuid: device.to_owned(), opened, ..LuksSeen::default() };
        DiskSeen {
            device: device.to_owned(),
            system,
            partitions: vec![part(1, "esp"), part(2, STATE)],
            luks: vec![luks],
            ..DiskSeen::default()
        }
    }

    #[test]
    fn the_state_is_the_open_one_on_the_disk_of_the_system() {
        let found = |disks: &[DiskSeen]| {
            let view = DisksView { disks: disks.to_vec(), ..DisksView::default() };
            view.state().map(|it| it.uuid.clone())
        };
        assert_eq!(found(&[disk("vda", true, true), disk("vdb", false, true)]).as_deref(), Some("vda"));
        assert_eq!(found(&[disk("vda", true, false)]), None);
        assert_eq!(found(&[disk("vdb", false, true)]), None);
        // Two of them are never told apart by chance.
        assert_eq!(found(&[disk("vda", true, true), disk("vdb", true, true)]), None);
        // But for one that lies on both.
        let half = |device: &str| {
            let mut half = disk(device, true, true);
            (half.luks[0].device, half.luks[0].uuid) = ("md127".to_owned(), "6c1b".to_owned());
            half.partitions[1].joined = vec!["md127".to_owned()];
            half
        };
        assert_eq!(found(&[half("vda"), half("vdb")]).as_deref(), Some("6c1b"));
        assert_eq!(found(&[half("vda")]).as_deref(), Some("6c1b"));
        assert_eq!(found(&[half("vda"), disk("vdb", true, true)]), None);
        let mut other = disk("vda", true, true);
        other.partitions[1].name = "data".to_owned();
        assert_eq!(found(&[other]), None);
    }

    #[test]
    fn a_key_is_believed_to_be_kept_for_half_a_year() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let key = |days: Option<i64>| {
            let proved = days.map(|it| now - SignedDuration::from_hours(24 * it));
            KeySeen { by: OpenedBy::Recovery, proved, ..KeySeen::default() }
        };
        let of = |keys: &[KeySeen]| LuksSeen { keys: keys.to_vec(), ..LuksSeen::default() }.retrieved(now);
        assert_eq!(of(&[]), Retrieved::NotMade);
        assert_eq!(of(&[KeySeen::default()]), Retrieved::NotMade);
        assert_eq!(of(&[key(None)]), Retrieved::NotConfirmed);
        assert!(matches!(of(&[key(Some(179)), key(None)]), Retrieved::Proved(_)));
        assert!(matches!(of(&[key(Some(180)), key(Some(400))]), Retrieved::ProofDue(_)));
    }
}

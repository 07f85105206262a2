use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DiskSeen, Identity};

/// How long a ticket holds, in seconds.
const HOLDS: i64 = 3600;

/// Leave to erase one disk once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ticket {
    /// Its name, which a manifest repeats.
    pub ticket: String,
    /// The disk.
    #[serde(flatten)]
    pub identity: Identity,
    /// The digest of what was on it.
    pub digest: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it was used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
}

/// What a ticket is worth for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lets the disk be erased.
    Valid,
    /// Its hour is over.
    Expired,
    /// It was used up.
    Used,
    /// It is for another disk.
    OtherDisk,
    /// What is on the disk is not what it was made for.
    Changed,
}

impl Ticket {
    /// Makes a ticket for a disk as it is now.
    pub fn new(ticket: String, disk: &DiskSeen, made: Timestamp) -> Self {
        Self { ticket, identity: disk.identity.clone(), digest: disk.digest(), made, used: None }
    }

    /// Says what it is worth for a disk.
    pub fn standing(&self, disk: &DiskSeen, now: Timestamp) -> Standing {
        let age = now.duration_since(self.made).as_secs();
        if self.used.is_some() {
            Standing::Used
        } else if self.identity != disk.identity {
            Standing::OtherDisk
        } else if !(0..HOLDS).contains(&age) {
            Standing::Expired
        } else if self.digest != disk.digest() {
            Standing::Changed
        } else {
            Standing::Valid
        }
    }

    /// Returns the end of its time.
    pub fn until(&self) -> Timestamp {
        self.made.checked_add(jiff::SignedDuration::from_secs(HOLDS)).unwrap_or(Timestamp::MAX)
    }
}

/// Finds the one disk that is meant by any of its names, if what was typed is its serial number.
///
/// # Errors
/// In a sentence, when there is not one alone, or something else was typed.
pub fn named<'a>(disks: &'a [DiskSeen], which: &str, typed: &str) -> Result<&'a DiskSeen, String> {
    let fits = |disk: &&DiskSeen| {
        let names = [&disk.identity.serial, &disk.identity.wwn, &disk.device];
        names.iter().any(|name| !name.is_empty() && name.as_str() == which) || disk.ids.iter().any(|id| id == which)
    };
    let found: Vec<&DiskSeen> = disks.iter().filter(fits).collect();
    let [disk] = found.as_slice() else {
        return Err(format!("{} disks are called `{which}`; `piccolo disk list` shows all", found.len()));
    };
    let number = [&disk.identity.serial, &disk.identity.wwn].into_iter().find(|it| !it.is_empty());
    match number {
        None => Err(format!("{} has no serial number, so no ticket can be bound to it", disk.name())),
        Some(number) if number != typed => Err(format!("`{typed}` is not the serial number of {}", disk.name())),
        Some(_) => Ok(disk),
    }
}

impl Standing {
    /// Says why it is worth nothing, with the name of the ticket before it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Valid => "holds",
            Self::Expired => "held for an hour, which is over",
            Self::Used => "was used up",
            Self::OtherDisk => "is for another disk",
            Self::Changed => "was made when something else was on the disk",
        }
    }
}

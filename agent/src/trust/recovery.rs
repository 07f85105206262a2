//! Whether a recovery key is where its owner will find it: what is known of that, and what has to be done.
//!
//! A recovery key is shown once. Until its owner typed a part of it back, nobody knows that it was kept, and nothing is done
//! that could make it the only way in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a proof that the key opens its slot is worth something.
const PROOF: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What is remembered of a recovery key. Nothing of the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The slot that it opens.
    pub slot: u8,
    /// When it was made.
    pub made: Timestamp,
    /// Which of its groups is asked for, counted from 0.
    pub group: u8,
    /// When its owner typed that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Timestamp>,
    /// When the whole key was last seen to open its slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<Timestamp>,
    /// The slot of the one before, which opens until this one is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u8>,
}

/// How a recovery key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Missing,
    /// It was shown, and nobody said that it was kept.
    NotRetrieved,
    /// It was kept, but it is long ago that it was seen to open the disk.
    Unproved,
    /// It was kept, and it opens the disk.
    Kept,
}

/// What happens to a recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// One was made, opens this slot, and this group of it is asked for.
    Made {
        /// The slot.
        slot: u8,
        /// The group.
        group: u8,
    },
    /// Its owner typed the group that was asked for.
    Confirmed,
    /// The whole key opened its slot.
    Proved,
    /// The slot of the one before was wiped.
    Wiped,
}

/// Returns what is known after this, none if it can't have happened.
pub fn after(record: Option<&Record>, act: Act, now: Timestamp) -> Option<Record> {
    match (record, act) {
        (before, Act::Made { slot, group }) => {
            // One that nobody kept is in nobody's hands: the one that opens meanwhile is the one before it.
            let opens = before.and_then(|it| if it.confirmed.is_some() { Some(it.slot) } else { it.before });
            let is_free = opens != Some(slot);
            is_free.then_some(Record { slot, made: now, group, confirmed: None, proved: None, before: opens })
        }
        (Some(record), Act::Confirmed) => Some(Record { confirmed: Some(now), ..record.clone() }),
        (Some(record), Act::Proved) => {
            // Whoever has the whole key has the group too.
            let confirmed = record.confirmed.or(Some(now));
            Some(Record { confirmed, proved: Some(now), ..record.clone() })
        }
        (Some(record), Act::Wiped) if record.confirmed.is_some() => Some(Record { before: None, ..record.clone() }),
        _ => None,
    }
}

/// Says how it stands.
pub fn standing(record: Option<&Record>, now: Timestamp) -> Standing {
    let Some(record) = record else { return Standing::Missing };
    let Some(confirmed) = record.confirmed else { return Standing::NotRetrieved };
    let seen = record.proved.unwrap_or(confirmed);
    let fresh = SignedDuration::try_from(PROOF).is_ok_and(|proof| now.duration_since(seen) < proof);
    if fresh { Standing::Kept } else { Standing::Unproved }
}

/// Returns the slot that is to be wiped now: of the key before, once the one after it is confirmed.
pub fn to_wipe(record: &Record) -> Option<u8> {
    record.before.filter(|_| record.confirmed.is_some())
}

impl Standing {
    /// Returns the reason of the condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "RecoveryKeyMissing",
            Self::NotRetrieved => "RecoveryKeyNotRetrieved",
            Self::Unproved => "RecoveryKeyUnproved",
            Self::Kept => "RecoveryKeyKept",
        }
    }

    /// Returns true if what could make it the only way in may be done: sealing anew, an update of the firmware.
    pub const fn allows_risk(self) -> bool {
        matches!(self, Self::Kept | Self::Unproved)
    }

    /// Returns one sentence: what that means, and what to do.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing => "there is no recovery key; make one before the TPM is the only way in",
            Self::NotRetrieved => {
                "the recovery key was shown, and nobody typed the part that was asked for; until then nothing risky is done"
            }
            Self::Unproved => "it is long ago that the recovery key was seen to open the disk; try it",
            Self::Kept => "the recovery key was kept and opens the disk",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(days * 24 * 60 * 60).unwrap()
    }

    fn made(slot: u8) -> Act {
        Act::Made { slot, group: 3 }
    }

    #[test]
    fn a_key_is_made_kept_proved_and_grows_old() {
        assert_eq!(standing(None, at(0)), Standing::Missing);
        let shown = after(None, made(1), at(0)).unwrap();
        assert_eq!(standing(Some(&shown), at(100)), Standing::NotRetrieved);
        assert!(!standing(Some(&shown), at(0)).allows_risk());
        let kept = after(Some(&shown), Act::Confirmed, at(1)).unwrap();
        assert_eq!(standing(Some(&kept), at(30)), Standing::Kept);
        assert_eq!(standing(Some(&kept), at(31)), Standing::Unproved);
        let proved = after(Some(&kept), Act::Proved, at(40)).unwrap();
        assert_eq!(standing(Some(&proved), at(69)), Standing::Kept);
        // Typed whole before it was asked for, it is kept as well.
        let proved = after(Some(&shown), Act::Proved, at(1)).unwrap();
        assert!(standing(Some(&proved), at(1)).allows_risk());
    }

    #[test]
    fn the_key_before_opens_until_the_new_one_is_kept() {
        let kept = after(after(None, made(1), at(0)).as_ref(), Act::Confirmed, at(0)).unwrap();
        let turned = after(Some(&kept), made(2), at(5)).unwrap();
        assert_eq!((turned.before, to_wipe(&turned)), (Some(1), None));
        assert_eq!(after(Some(&turned), Act::Wiped, at(5)), None);
        // Another try after one that nobody wrote down.
        let again = after(Some(&turned), made(3), at(6)).unwrap();
        assert_eq!(again.before, Some(1));
        assert_eq!(after(Some(&again), made(1), at(6)), None, "the only key that was kept is written over");
        let kept = after(Some(&again), Act::Confirmed, at(7)).unwrap();
        assert_eq!(to_wipe(&kept), Some(1));
        let done = after(Some(&kept), Act::Wiped, at(7)).unwrap();
        assert_eq!((done.slot, done.before), (3, None));
    }

    proptest! {
        #[test]
        fn a_key_that_was_kept_is_never_lost(acts in prop::collection::vec((0..4_u8, 0..4_u8), 0..40)) {
            let (mut record, mut kept) = (None::<Record>, None);
            for (day, (act, slot)) in acts.into_iter().enumerate() {
                let act = [made(slot), Act::Confirmed, Act::Proved, Act::Wiped][usize::from(act)];
                let Some(next) = after(record.as_ref(), act, at(day.try_into().unwrap())) else { continue };
                if next.confirmed.is_some() {
                    kept = Some(next.slot);
                }
                prop_assert!(kept.is_none() || next.slot == kept.unwrap() || next.before == kept);
                record = Some(next);
            }
        }
    }
}

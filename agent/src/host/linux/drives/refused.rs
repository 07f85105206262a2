//! Which disks nothing opened, until something is another, or for a while.

use std::time::Duration;

use piccolo_schema::disk::Passphrase;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Drives;
use crate::host::{DisksView, HostError, KeyOrder, KeySeen, Locked, Reason};

/// How often a half is tried in vain before the other one may be used without it.
const TRIES: u32 = 3;
/// After how long it is tried again then.
const AGAIN: Duration = Duration::from_secs(60);

/// A disk that nothing opened, and what was tried: when that is another, it is tried again.
pub(super) struct Refused {
    locked: Locked,
    /// True if it was to be opened; else a key was to be added or taken away.
    opens: bool,
    keys: Vec<KeySeen>,
    passphrases: Vec<Passphrase>,
    tried: Vec<Option<[u8; 32]>>,
    /// What holds for a while only, as where a disk or a server does not answer.
    passing: Option<Passing>,
}

/// How often it was tried in vain, and when it is tried again.
#[derive(Clone, Copy, Debug)]
struct Passing {
    tries: u32,
    again: Instant,
    /// True once it was told that the time has come.
    is_told: bool,
}

impl Passing {
    /// Counts one more that was in vain.
    fn next(before: Option<Self>, now: Instant) -> Self {
        Self { tries: before.map_or(0, |it| it.tries).saturating_add(1), again: now + AGAIN, is_told: false }
    }

    /// Returns when it is tried again; none while it is tried as soon as anything else that failed.
    fn waits(self) -> Option<Instant> {
        (self.tries >= TRIES).then_some(self.again)
    }
}

/// What is remembered of disks that nothing opened.
impl Drives {
    pub(super) async fn refused(
        &self,
        subject: &str,
        order: &KeyOrder,
        (passphrases, opens): (Vec<Passphrase>, bool),
        error: &HostError,
    ) {
        let tried = self.fingerprints(&passphrases).await;
        let mut all = self.locked();
        let before = all.get(order.under(subject)).and_then(|it| it.passing);
        let passing = (error.reason != Reason::Undecryptable).then(|| Passing::next(before, Instant::now()));
        let again = if passing.is_some() { ", which is tried again each minute" } else { "" };
        let why = format!("{}{again}", error.message.trim());
        let locked = Locked { subject: subject.to_owned(), uuid: order.uuid.clone(), why };
        let refused = Refused { locked, opens, keys: Vec::new(), passphrases, tried, passing };
        all.insert(order.under(subject).to_owned(), refused);
    }

    /// Tries all of a manifest at once again whose failure may have passed, for it has for one of them.
    pub(super) fn may_have_passed(&self, subject: &str) {
        self.locked().retain(|_, it| it.passing.is_none() || it.locked.subject != subject);
    }

    /// Returns once something is to be tried again, once for each time. It may have become due before anybody asked.
    pub(super) async fn is_due(&self) {
        let next = self.locked().values().filter_map(|it| it.passing.filter(|it| !it.is_told)?.waits()).min();
        let Some(next) = next else { return std::future::pending().await };
        tokio::time::sleep_until(next).await;
        let mut all = self.locked();
        let due = all.values_mut().filter_map(|it| it.passing.as_mut()).filter(|it| it.again <= next);
        due.for_each(|it| it.is_told = true);
    }

    /// Returns the disks that are still locked, for nothing has changed since they were tried.
    pub(super) async fn still_locked(&self, view: &DisksView) -> Vec<Locked> {
        let all: Vec<(String, Vec<Passphrase>)> =
            self.locked().iter().map(|(subject, it)| (subject.clone(), it.passphrases.clone())).collect();
        let mut now = Vec::new();
        for (subject, passphrases) in all {
            now.push((subject, self.fingerprints(&passphrases).await));
        }
        let mut locked = self.locked();
        for (subject, tried) in now {
            let Some(refused) = locked.get_mut(&subject) else { continue };
            let luks = view.disks.iter().find_map(|it| it.luks(&refused.locked.uuid));
            let keys = luks.filter(|it| it.opened.is_some() != refused.opens).map(|it| it.keys.clone());
            let first = refused.keys.is_empty();
            if keys.as_ref().is_none_or(|keys| !first && *keys != refused.keys) || tried != refused.tried {
                locked.remove(&subject);
            } else if let Some(keys) = keys {
                refused.keys = keys;
            }
        }
        let now = Instant::now();
        let waits = |it: &&Refused| it.passing.is_none_or(|it| it.waits().is_some_and(|again| again > now));
        locked.values().filter(waits).map(|it| it.locked.clone()).collect()
    }

    /// Returns by what passphrases are known again. It stays in memory.
    async fn fingerprints(&self, passphrases: &[Passphrase]) -> Vec<Option<[u8; 32]>> {
        let mut all = Vec::new();
        for it in passphrases {
            let key = match &self.keyring {
                Some(ring) => ring.passphrase(it).await.ok(),
                None => None,
            };
            all.push(key.map(|key| Sha256::digest(key.plain().expose()).into()));
        }
        all
    }

    pub(super) fn locked(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Refused>> {
        self.locked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Forgets that nothing opened a disk.
impl Drives {
    pub(super) fn opened_by_hand(&self, uuid: &str) {
        self.locked().retain(|_, it| it.locked.uuid != uuid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_a_while_is_tried_again_in_time() {
        let start = Instant::now();
        let first = Passing::next(None, start);
        let second = Passing::next(Some(first), start);
        assert_eq!((first.waits(), second.waits()), (None, None), "the first failures say nothing yet");
        let third = Passing::next(Some(second), start);
        assert_eq!(third.waits(), Some(start + AGAIN));
        // What was due and failed once more is not tried without a pause.
        let later = start + AGAIN;
        assert_eq!(Passing::next(Some(third), later).waits(), Some(later + AGAIN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_half_that_fails_is_locked_for_a_while_and_with_its_other_one_again() {
        let home = tempfile::tempdir().unwrap();
        let drives = Drives::open(home.path());
        let luks = crate::host::LuksSeen { uuid: "6c1b".to_owned(), ..Default::default() };
        let disk = crate::host::DiskSeen { seq: 7, luks: vec![luks.clone()], ..Default::default() };
        let view = DisksView { disks: vec![disk.clone()], ..DisksView::default() };
        let order = KeyOrder { uuid: luks.uuid, half: Some(disk.half_key("album")), ..KeyOrder::default() };
        let error = HostError::new(Reason::TimedOut, "`cryptsetup` took longer than 60s");
        for _ in 1..TRIES {
            drives.refused("album", &order, (Vec::new(), true), &error).await;
            assert_eq!(drives.still_locked(&view).await, []);
        }
        drives.refused("album", &order, (Vec::new(), true), &error).await;
        let locked = drives.still_locked(&view).await;
        assert_eq!((locked[0].subject.as_str(), locked[0].uuid.as_str()), ("album", "6c1b"));
        assert!(locked[0].why.ends_with("tried again each minute"), "{}", locked[0].why);
        // Its time comes once, also where nobody waited for it.
        tokio::time::advance(AGAIN * 2).await;
        drives.is_due().await;
        assert_eq!(drives.still_locked(&view).await, []);
        assert!(tokio::time::timeout(AGAIN * 9, drives.is_due()).await.is_err());
        drives.refused("album", &order, (Vec::new(), true), &error).await;
        drives.may_have_passed("another");
        assert_eq!(drives.still_locked(&view).await.len(), 1);
        drives.may_have_passed("album");
        assert_eq!(drives.still_locked(&view).await, []);
        // What was refused for good stays so until something is another.
        let error = HostError::new(Reason::Undecryptable, "it was sealed by another TPM");
        drives.refused("album", &order, (Vec::new(), true), &error).await;
        drives.may_have_passed("album");
        assert_eq!(drives.still_locked(&view).await[0].why, "it was sealed by another TPM");
    }
}

//! Which disks nothing opened, until something is another.

use piccolo_schema::disk::Passphrase;
use sha2::{Digest, Sha256};

use super::Drives;
use crate::host::{DisksView, HostError, KeyOrder, KeySeen, Locked};

/// A disk that nothing opened, and what was tried: when that is another, it is tried again.
pub(super) struct Refused {
    locked: Locked,
    /// True if it was to be opened; else a key was to be added or taken away.
    opens: bool,
    keys: Vec<KeySeen>,
    passphrases: Vec<Passphrase>,
    tried: Vec<Option<[u8; 32]>>,
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
        let locked =
            Locked { subject: subject.to_owned(), uuid: order.uuid.clone(), why: error.message.trim().to_owned() };
        let tried = self.fingerprints(&passphrases).await;
        let refused = Refused { locked, opens, keys: Vec::new(), passphrases, tried };
        self.locked().insert(order.under(subject).to_owned(), refused);
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
        locked.values().map(|it| it.locked.clone()).collect()
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

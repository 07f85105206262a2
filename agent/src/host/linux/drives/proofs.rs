//! Whether what a header tells of its keys still holds: that the TPM opens its slot, and that a secret has the value that it
//! had. Both are tried once, and again when something of it is another.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use piccolo_schema::disk::{Passphrase, Tang};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Drives, encrypt::Worked, hands::KeyWork, key::Key, keyring::Keyring, locks::of};
use crate::host::{
    DisksView, HostError, KeySeen, LuksSeen, Mount, OpenedBy, Pcrs, Reason, Shut, StateSeen, tpm::token::Token,
};

/// How long a look waits for the TPM. One that is slower is asked again when keys changed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was tried, by the UUID of its disk. It stays in memory.
#[derive(Default)]
pub(super) struct Proofs(Mutex<BTreeMap<String, Proof>>);

#[derive(Default)]
struct Proof {
    /// The slots of the TPM as they were when it was asked, and what it said.
    chip: Option<(Vec<KeySeen>, Option<Shut>)>,
    /// By slot: what the value was known by that was tried, and whether it opens.
    tried: BTreeMap<u8, ([u8; 32], bool)>,
    /// The passphrase that opened it last, for the day when its secret holds another.
    opens: Option<Key>,
    /// The server that the manifest named when it helped to open it last, for the day when another one is named.
    server: Option<Tang>,
}

impl Proofs {
    /// Returns the passphrase that opened a disk last.
    pub(super) fn last(&self, uuid: &str) -> Option<Key> {
        self.lock().get(uuid)?.opens.clone()
    }

    /// Returns the server that helped to open a disk last, of those that its manifest named.
    pub(super) fn server(&self, uuid: &str) -> Option<Tang> {
        self.lock().get(uuid)?.server.clone()
    }

    /// Remembers a server that its manifest names, and that helped to open a disk.
    pub(super) fn served(&self, uuid: &str, server: &Tang) {
        self.lock().entry(uuid.to_owned()).or_default().server = Some(server.clone());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drives {
    /// Adds to a look what is known of keys, and tries what was not tried as it is. What is not used yet is left alone, so that
    /// nothing waits for it.
    pub(super) async fn prove(&self, view: &mut DisksView) {
        let Some(ring) = &self.keyring else { return };
        let other = |it: &Mount| it.mirror.as_ref().and_then(|it| it.device.clone());
        let present = view.mounts.iter().filter(|it| it.present);
        let mounted: Vec<String> =
            present.flat_map(|it| [Some(it.mount.device.clone()), other(&it.mount)]).flatten().collect();
        let locked: Vec<&str> = view.locked.iter().map(|it| it.uuid.as_str()).collect();
        let is_due = |luks: &&mut LuksSeen| match &luks.opened {
            Some(opened) => mounted.contains(&opened.device),
            None => locked.contains(&luks.uuid.as_str()),
        };
        let mut shut = Vec::new();
        for luks in view.disks.iter_mut().flat_map(|it| &mut it.luks).filter(is_due) {
            shut.extend(self.prove_chip(ring, luks, |it| it.bound().is_some()).await);
            if luks.opened.is_some() {
                self.prove_secrets(ring, luks).await;
            }
        }
        self.proofs.lock().retain(|uuid, _| view.disks.iter().any(|it| it.luks(uuid).is_some()));
        view.shut = shut;
        // No manifest keeps the slot of the system's own disk: the installation made it.
        let state = match view.state() {
            Some(luks) => {
                let shut = self.prove_chip(ring, luks, |it| it.by == OpenedBy::Tpm2).await;
                Some(StateSeen { luks: luks.clone(), shut })
            }
            None => None,
        };
        ring.tell(state);
    }

    async fn prove_chip(&self, ring: &Keyring, luks: &LuksSeen, is_own: fn(&KeySeen) -> bool) -> Option<Shut> {
        let own: Vec<KeySeen> = luks.keys.iter().filter(|it| is_own(it)).cloned().collect();
        if own.is_empty() {
            return None;
        }
        let before = self.proofs.lock().get(&luks.uuid).and_then(|it| it.chip.clone()).filter(|(keys, _)| *keys == own);
        if let Some((_, shut)) = before {
            return shut;
        }
        // What is not known is not told.
        let shut = timeout(PATIENCE, self.ask_chip(ring, luks, &own)).await.ok().and_then(Result::ok).flatten();
        self.proofs.lock().entry(luks.uuid.clone()).or_default().chip = Some((own, shut.clone()));
        shut
    }

    /// Returns what keeps the TPM from opening a disk, if it refuses.
    async fn ask_chip(&self, ring: &Keyring, luks: &LuksSeen, own: &[KeySeen]) -> Result<Option<Shut>, HostError> {
        let is_own = |it: &Token| own.iter().any(|key| key.slot == it.slot);
        let Worked::Tokens(tokens) = self.work(&of(luks), KeyWork::Tokens).await? else { return Ok(None) };
        let own: Vec<(String, Token)> = tokens
            .into_iter()
            .filter_map(|text| Some((text.clone(), Token::read(&text).ok().filter(is_own)?)))
            .collect();
        let texts: Vec<String> = own.iter().map(|(text, _)| text.clone()).collect();
        match ring.by_chip(&texts, None).await {
            Some(Err(error)) if error.reason == Reason::Undecryptable => {
                let all = own.iter().flat_map(|(_, it)| it.sealed.pcrs.iter()).map(u64::from);
                let changed = ring.changed(Pcrs::of(all).unwrap_or_default()).await;
                Ok(Some(Shut { uuid: luks.uuid.clone(), why: error.message, changed }))
            }
            _ => Ok(None),
        }
    }

    async fn prove_secrets(&self, ring: &Keyring, luks: &mut LuksSeen) {
        let order = of(luks);
        for seen in luks.keys.iter_mut().filter(|it| it.by == OpenedBy::Passphrase) {
            let Some((secret, key)) = seen.secret.as_ref().and_then(|it| it.split_once('/')) else { continue };
            let named = Passphrase { secret: secret.to_owned(), key: key.to_owned() };
            // One that is not there is not another one.
            let Ok(value) = ring.passphrase(&named).await else { continue };
            let print: [u8; 32] = Sha256::digest(value.plain().expose()).into();
            let before = self.proofs.lock().get(&luks.uuid).and_then(|it| it.tried.get(&seen.slot).copied());
            let opens = match before.filter(|(tried, _)| *tried == print) {
                Some((_, opens)) => opens,
                None => {
                    let work = KeyWork::Try { key: value.clone(), slot: Some(seen.slot) };
                    let Ok(Worked::Opens(opens)) = self.work(&order, work).await else { continue };
                    let mut all = self.proofs.lock();
                    let proof = all.entry(luks.uuid.clone()).or_default();
                    proof.tried.insert(seen.slot, (print, opens));
                    if opens {
                        proof.opens = Some(value);
                    }
                    opens
                }
            };
            seen.outdated = !opens;
        }
    }
}

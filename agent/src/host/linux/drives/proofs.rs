//! Whether what a header tells of its keys still holds: that the TPM opens its slot, and that a secret has the value that it
//! had. Both are tried once, and again when something of it is another.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use piccolo_schema::disk::{Passphrase, Tang};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::{Drives, beside_the_point, encrypt::Worked, hands::KeyWork, key::Key, keyring::Keyring, locks::of};
use crate::host::{
    DisksView, HostError, KeySeen, LuksSeen, Mount, OpenedBy, Pcrs, Reason, Shut, StateSeen, tpm::token::Token,
};

/// How long a look waits for the TPM.
const PATIENCE: Duration = Duration::from_secs(10);
/// After how long a TPM is asked again that gave no answer; each time in vain it is twice as long.
const AGAIN: Duration = Duration::from_secs(60);
/// How long that is at most.
const LONGEST: Duration = Duration::from_secs(3600);

/// What was tried, by the UUID of its disk. It stays in memory.
#[derive(Default)]
pub(super) struct Proofs {
    disks: Mutex<BTreeMap<String, Proof>>,
    /// The devices that the last look did not find the TPM to open, of those that it should.
    unopened: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Proof {
    /// The slots of the TPM as they were when it was asked, and what it said.
    chip: Option<(Vec<KeySeen>, Said)>,
    /// By slot: what the value was known by that was tried, and whether it opens.
    tried: BTreeMap<u8, ([u8; 32], bool)>,
    /// The passphrase that opened it last, for the day when its secret holds another.
    opens: Option<Key>,
    /// The server that the manifest named when it helped to open it last, for the day when another one is named.
    server: Option<Tang>,
}

/// What the TPM says to the slots of a disk that it should open.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// It opens it.
    Opens,
    /// It refuses, as the machine started this time.
    Shut(Shut),
    /// It did not answer, so often by now, and is asked again then.
    Nothing { tries: u32, again: Instant },
}

impl Said {
    /// Counts one more time that it did not answer.
    fn nothing(before: Option<&Self>, now: Instant) -> Self {
        let tries = if let Some(Self::Nothing { tries, .. }) = before { tries.saturating_add(1) } else { 1 };
        let pause = AGAIN.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST);
        Self::Nothing { tries, again: now + pause }
    }

    /// Returns true if it need not be asked again yet.
    fn holds(&self, now: Instant) -> bool {
        if let Self::Nothing { again, .. } = self { now < *again } else { true }
    }

    fn shut(self) -> Option<Shut> {
        if let Self::Shut(shut) = self { Some(shut) } else { None }
    }
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

    /// Returns the devices that the TPM is not known to open as the machine started this time, of those that it should.
    pub(super) fn unopened(&self) -> Vec<String> {
        self.unopened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Proof>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (mut shut, mut unopened) = (Vec::new(), Vec::new());
        for luks in view.disks.iter_mut().flat_map(|it| &mut it.luks).filter(is_due) {
            let said = self.prove_chip(ring, luks, |it| it.bound().is_some()).await;
            unopened.extend((said != Said::Opens).then(|| luks.device.clone()));
            shut.extend(said.shut());
            if luks.opened.is_some() {
                self.prove_secrets(ring, luks).await;
            }
        }
        self.proofs.lock().retain(|uuid, _| view.disks.iter().any(|it| it.luks(uuid).is_some()));
        view.shut = shut;
        // No manifest keeps the slot of the system's own disk: the installation made it.
        let state = match view.state() {
            Some(luks) => {
                let said = self.prove_chip(ring, luks, |it| it.by == OpenedBy::Tpm2).await;
                unopened.extend((said != Said::Opens).then(|| luks.device.clone()));
                Some(StateSeen { luks: luks.clone(), shut: said.shut() })
            }
            None => None,
        };
        *self.proofs.unopened.lock().unwrap_or_else(PoisonError::into_inner) = unopened;
        ring.tell(state);
    }

    /// Says whether the TPM opens a disk by its own slots of it; where there is none, nothing keeps it from that. What it says is
    /// remembered until they are others, and that it says nothing for a while.
    async fn prove_chip(&self, ring: &Keyring, luks: &LuksSeen, is_own: fn(&KeySeen) -> bool) -> Said {
        let own: Vec<KeySeen> = luks.keys.iter().filter(|it| is_own(it)).cloned().collect();
        if own.is_empty() {
            return Said::Opens;
        }
        let before = self.proofs.lock().get(&luks.uuid).and_then(|it| it.chip.clone());
        let before = before.filter(|(keys, _)| *keys == own).map(|(_, said)| said);
        if let Some(said) = before.clone().filter(|it| it.holds(Instant::now())) {
            return said;
        }
        let answer = timeout(PATIENCE, self.ask_chip(ring, luks, &own)).await;
        // Only what it said is remembered as that.
        let said = match answer {
            Ok(Ok(said)) => said,
            Ok(Err(_)) | Err(_) => Said::nothing(before.as_ref(), Instant::now()),
        };
        self.proofs.lock().entry(luks.uuid.clone()).or_default().chip = Some((own, said.clone()));
        said
    }

    /// Has the TPM say whether it opens a disk.
    async fn ask_chip(&self, ring: &Keyring, luks: &LuksSeen, own: &[KeySeen]) -> Result<Said, HostError> {
        // A wrong PIN counts against the chip's patience, and none is known here.
        let is_own = |it: &Token| !it.sealed.pin && own.iter().any(|key| key.slot == it.slot);
        let Worked::Tokens(tokens) = self.work(&of(luks), KeyWork::Tokens).await? else {
            return Err(beside_the_point());
        };
        let own: Vec<(String, Token)> = tokens
            .into_iter()
            .filter_map(|text| Some((text.clone(), Token::read(&text).ok().filter(is_own)?)))
            .collect();
        let texts: Vec<String> = own.iter().map(|(text, _)| text.clone()).collect();
        match ring.by_chip(&texts, None).await {
            Some(Err(error)) if error.reason == Reason::Undecryptable => {
                let all = own.iter().flat_map(|(_, it)| it.sealed.pcrs.iter()).map(u64::from);
                let changed = ring.changed(Pcrs::of(all).unwrap_or_default()).await;
                Ok(Said::Shut(Shut { uuid: luks.uuid.clone(), why: error.message, changed }))
            }
            Some(Err(error)) => Err(error),
            // A token that can't be read says nothing of the start.
            Some(Ok(_)) | None => Ok(Said::Opens),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tpm_said_holds_and_its_silence_for_a_while_that_grows_to_an_hour() {
        let start = Instant::now();
        let far = start + LONGEST * 100;
        assert!(Said::Opens.holds(far) && Said::Shut(Shut::default()).holds(far));
        let mut said = Said::nothing(Some(&Said::Opens), start);
        assert!(said.holds(start) && !said.holds(start + AGAIN));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let Said::Nothing { again, .. } = said else { panic!("it said something") };
            pauses.push(again - start);
            said = Said::nothing(Some(&said), start);
        }
        assert_eq!(pauses[..4], [AGAIN, AGAIN * 2, AGAIN * 4, AGAIN * 8]);
        assert_eq!(pauses.last(), Some(&LONGEST));
    }
}

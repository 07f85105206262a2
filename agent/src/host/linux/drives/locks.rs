//! Encrypted disks as the daemon sees them: which key opens one, and what people may do with its keys.

use piccolo_schema::{
    DiskSpec,
    disk::{Encryption, Passphrase, Tang},
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    Drives, beside_the_point, clevis,
    encrypt::{Worked, names},
    hands::{Answer, KeyWork, Request},
    key::{FirstKeys, Key},
    keyring::Keyring,
};
use crate::{
    clock,
    host::{
        DisksView, HostError, KeyAct, KeyOrder, KeySeen, Locked, LuksSeen, MakeOrder, NewKey, Reason, bound, disk_label,
    },
};

/// A disk that nothing opened, and what was tried: when that is another, it is tried again.
pub(super) struct Refused {
    locked: Locked,
    /// True if it was to be opened; else a key was to be added or taken away.
    opens: bool,
    keys: Vec<KeySeen>,
    passphrases: Vec<Passphrase>,
    tried: Vec<Option<[u8; 32]>>,
}

impl Drives {
    /// Makes the keys of a disk that is to be encrypted.
    pub(super) async fn first_keys(&self, order: &MakeOrder) -> Result<Option<FirstKeys>, HostError> {
        let Some(encryption) = &order.encryption else { return Ok(None) };
        let ring = self.keyring()?;
        let tpm = match bound(encryption, ring.signer().as_deref())? {
            Some(bound) => Some(ring.seal(&bound).await?),
            None => None,
        };
        let tang = match &encryption.tang {
            Some(tang) => Some(clevis::bind(tang).await?),
            None => None,
        };
        let passphrase = match &encryption.passphrase {
            Some(it) => Some((ring.passphrase(it).await?, names(&it.to_string()))),
            None => None,
        };
        Ok(Some(FirstKeys { tpm, tang, passphrase }))
    }

    /// Turns a key. The caller holds the turn.
    pub(super) async fn turn(&self, subject: &str, order: &KeyOrder) -> Result<(), HostError> {
        let (passphrases, work): (Vec<Passphrase>, Box<dyn Fn(Key) -> KeyWork + Send + Sync>) = match &order.act {
            KeyAct::Close => return self.ask(Request::Close { subject: subject.to_owned() }).await.map(drop),
            KeyAct::Open { passphrase, others, discard } => {
                let (subject, discard) = (subject.to_owned(), *discard);
                let all = passphrase.iter().chain(others).cloned().collect();
                (all, Box::new(move |key| KeyWork::Open { subject: subject.clone(), key, discard }))
            }
            KeyAct::Add { key, passphrase } => {
                let ring = self.keyring()?;
                let (new, token, is_chosen) = match key {
                    NewKey::Tpm2(bound) => ring.seal(bound).await.map(|(key, token)| (key, token, false))?,
                    NewKey::Tang(tang) => clevis::bind(tang).await.map(|(key, token)| (key, token, false))?,
                    NewKey::Passphrase(it) => (ring.passphrase(it).await?, names(&it.to_string()), true),
                };
                let add = move |with| KeyWork::Add { with, new: new.clone(), is_chosen, token: token.clone() };
                (passphrase.iter().cloned().collect(), Box::new(add))
            }
            KeyAct::Remove { slot, what, proved, passphrase } => {
                let (slot, what, proved) = (*slot, what.clone(), *proved);
                (
                    passphrase.iter().cloned().collect(),
                    Box::new(move |with| KeyWork::Remove { with, slot, what: what.clone(), proved }),
                )
            }
        };
        let opens = matches!(order.act, KeyAct::Open { .. });
        match self.with_own_key(order, &passphrases, work).await {
            Err(error) if error.reason == Reason::Undecryptable => {
                self.refused(subject, order, (passphrases, opens), &error).await;
                Err(error)
            }
            other => other.map(drop),
        }
    }

    /// Does something by the first key of this machine that opens the disk: that of the TPM, then the passphrases. The key of
    /// a slot that goes with it is of no use for that. It is `Undecryptable` only where each was refused for good: a TPM that
    /// is not there yet, or does not answer, may open it the next time.
    async fn with_own_key(
        &self,
        order: &KeyOrder,
        passphrases: &[Passphrase],
        work: impl Fn(Key) -> KeyWork + Send,
    ) -> Result<Worked, HostError> {
        let ring = self.keyring()?;
        let Worked::Tokens(tokens) = self.work(order, KeyWork::Tokens).await? else { return Err(beside_the_point()) };
        let goes = if let KeyAct::Remove { slot, .. } = order.act { Some(slot) } else { None };
        let servers: Vec<Tang> = order.tang.iter().cloned().chain(self.proofs.server(&order.uuid)).collect();
        let (mut why, mut for_good) = (Vec::new(), true);
        for by_server in [false, true] {
            // A server is asked only where the TPM did not do. What one token gives may open nothing any more.
            for token in tokens.chunks(1) {
                let given = if by_server {
                    ring.by_server(token, goes, &servers).await
                } else {
                    ring.by_chip(token, goes).await
                };
                match given {
                    Some(Ok(key)) => match self.work(order, work(key)).await {
                        Err(error) if is_wrong(&error) => why.push(error.message),
                        other => {
                            let named = order.tang.as_ref().filter(|_| by_server && other.is_ok());
                            named.into_iter().for_each(|it| self.proofs.served(&order.uuid, it));
                            return other;
                        }
                    },
                    Some(Err(error)) => {
                        for_good &= error.reason == Reason::Undecryptable;
                        why.push(error.message);
                    }
                    None => {}
                }
            }
        }
        for it in passphrases {
            let told = |error: HostError| format!("by the secret `{}`: {}", it.secret, error.message);
            match ring.passphrase(it).await {
                Ok(key) => match self.work(order, work(key)).await {
                    Err(error) if is_wrong(&error) => why.push(told(error)),
                    other => return other,
                },
                Err(error) => {
                    // One that is missing, or is no text, is seen when it changes.
                    for_good &= matches!(error.reason, Reason::Undecryptable | Reason::Gone | Reason::Refused);
                    why.push(told(error));
                }
            }
        }
        if let Some(key) = self.proofs.last(&order.uuid) {
            // The secret may have another value since.
            match self.work(order, work(key)).await {
                Err(error) if is_wrong(&error) => {}
                other => return other,
            }
        }
        if why.is_empty() {
            why.push("no key of this machine opens it".to_owned());
        }
        why.dedup();
        let reason = if for_good { Reason::Undecryptable } else { Reason::Failed };
        Err(HostError::new(reason, why.join("; ")))
    }

    pub(super) async fn work(&self, order: &KeyOrder, work: KeyWork) -> Result<Worked, HostError> {
        let (device, uuid) = (order.device.clone(), order.uuid.clone());
        match self.ask(Request::Keys { device, uuid, work: Box::new(work) }).await? {
            Answer::Worked(worked) => Ok(worked),
            _ => Err(beside_the_point()),
        }
    }

    fn keyring(&self) -> Result<&Keyring, HostError> {
        let none = || HostError::new(Reason::Refused, "Nothing here opens encrypted disks");
        self.keyring.as_ref().ok_or_else(none)
    }
}

/// What is remembered of disks that nothing opened.
impl Drives {
    async fn refused(
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
        self.locked().insert(subject.to_owned(), refused);
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

    fn locked(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, Refused>> {
        self.locked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What people do with the keys of a disk that a manifest means.
impl Drives {
    /// Opens a disk by a key that a person typed: its recovery key or a passphrase.
    ///
    /// # Errors
    /// When there is no such disk, or the key does not open it.
    pub async fn unlock(&self, name: &str, spec: &DiskSpec, typed: &Zeroizing<String>) -> Result<(), HostError> {
        let luks = self.encrypted(name, spec).await?;
        let order = of(&luks);
        let _turn = self.turn.lock().await;
        let key = typed_key(typed)?;
        if luks.opened.is_some()
            && let Worked::Opens(false) = self.work(&order, KeyWork::Try { key: key.clone(), slot: None }).await?
        {
            let message = format!("The key does not open /dev/{}, which is open already", luks.device);
            return Err(HostError::new(Reason::PermissionDenied, message));
        }
        let work = KeyWork::Open { subject: name.to_owned(), key: key.clone(), discard: spec.trim };
        self.work(&order, work).await?;
        let renewed = self.renew(&luks, spec, key).await;
        // It is open, whatever became of that.
        self.locked().remove(name);
        self.keys_changed(&order);
        renewed.map_err(|error| {
            let message =
                format!("The disk is open, and a key that its manifest asks for was not added: {}", error.message);
            HostError::new(error.reason, message)
        })
    }

    /// Adds what the manifest asks for and does not open the disk yet, by the key that a person has typed: nothing else of this
    /// machine may open it, as where a secret has another value since.
    async fn renew(&self, luks: &LuksSeen, spec: &DiskSpec, typed: Key) -> Result<(), HostError> {
        let Some(encryption) = spec.encryption.as_ref().filter(|_| spec.adopt.is_none()) else { return Ok(()) };
        // What one of them is refused by is no reason to leave the others out.
        let chip = self.renew_chip(luks, encryption, &typed).await;
        let server = self.renew_server(luks, encryption, &typed).await;
        chip.and(server).and(self.renew_passphrase(luks, encryption, &typed).await)
    }

    async fn renew_chip(&self, luks: &LuksSeen, encryption: &Encryption, typed: &Key) -> Result<(), HostError> {
        let ring = self.keyring()?;
        let Some(bound) = bound(encryption, ring.signer().as_deref())? else { return Ok(()) };
        if luks.keys.iter().any(|it| it.bound().as_ref() == Some(&bound)) {
            return Ok(());
        }
        let made = ring.seal(&bound).await?;
        self.add(luks, typed, made, false).await
    }

    async fn renew_server(&self, luks: &LuksSeen, encryption: &Encryption, typed: &Key) -> Result<(), HostError> {
        let missing = |it: &&Tang| !luks.keys.iter().any(|key| key.tang.as_ref() == Some(*it));
        let Some(tang) = encryption.tang.as_ref().filter(missing) else { return Ok(()) };
        let made = clevis::bind(tang).await?;
        self.add(luks, typed, made, false).await
    }

    async fn renew_passphrase(&self, luks: &LuksSeen, encryption: &Encryption, typed: &Key) -> Result<(), HostError> {
        let Some(wanted) = &encryption.passphrase else { return Ok(()) };
        let new = self.keyring()?.passphrase(wanted).await?;
        match self.work(&of(luks), KeyWork::Try { key: new.clone(), slot: None }).await? {
            Worked::Opens(false) => self.add(luks, typed, (new, names(&wanted.to_string())), true).await,
            _ => Ok(()),
        }
    }

    async fn add(
        &self,
        luks: &LuksSeen,
        typed: &Key,
        (new, token): (Key, Value),
        is_chosen: bool,
    ) -> Result<(), HostError> {
        self.work(&of(luks), KeyWork::Add { with: typed.clone(), new, is_chosen, token }).await.map(drop)
    }

    /// Makes a recovery key of a disk. It is told this once, and counts for nothing before somebody has proved to have it.
    ///
    /// # Errors
    /// When there is no such disk, or nothing of this machine opens it.
    pub async fn recovery_key(&self, name: &str, spec: &DiskSpec) -> Result<(u8, Zeroizing<String>), HostError> {
        let tang = spec.encryption.as_ref().and_then(|it| it.tang.clone());
        let order = KeyOrder { tang, ..of(&self.encrypted(name, spec).await?) };
        let _turn = self.turn.lock().await;
        let passphrases: Vec<Passphrase> = spec.encryption.iter().filter_map(|it| it.passphrase.clone()).collect();
        let made = self.with_own_key(&order, &passphrases, |with| KeyWork::Recovery { with }).await?;
        let Worked::Recovery(slot, key) = made else { return Err(beside_the_point()) };
        self.keys_changed(&order);
        Ok((slot, Zeroizing::new(String::from_utf8_lossy(key.plain().expose()).into_owned())))
    }

    /// Takes down that somebody has the recovery key of a disk, and takes those away that were made before.
    ///
    /// # Errors
    /// When there is no such disk, or this is no recovery key of it.
    pub async fn prove_recovery(
        &self,
        name: &str,
        spec: &DiskSpec,
        typed: &Zeroizing<String>,
    ) -> Result<u8, HostError> {
        let order = of(&self.encrypted(name, spec).await?);
        let _turn = self.turn.lock().await;
        // Those of a disk that was adopted are its owner's.
        let kept = spec.adopt.is_some();
        let proved = self.work(&order, KeyWork::Prove { key: typed_key(typed)?, now: clock::now(), kept }).await;
        self.keys_changed(&order);
        match proved? {
            Worked::Slot(slot) => Ok(slot),
            _ => Err(beside_the_point()),
        }
    }

    fn keys_changed(&self, order: &KeyOrder) {
        self.forget(&order.device);
        self.hint.notify_one();
    }

    /// Finds the encrypted disk of a manifest.
    async fn encrypted(&self, name: &str, spec: &DiskSpec) -> Result<LuksSeen, HostError> {
        let known = self.known().clone();
        let Answer::Seen(view, _) = self.ask(Request::Look(known)).await? else {
            return Err(beside_the_point());
        };
        let label = disk_label(name);
        let is_it = |luks: &&LuksSeen| match &spec.adopt {
            Some(uuid) => luks.uuid.eq_ignore_ascii_case(uuid),
            None => view.disks.iter().any(|disk| {
                let whole = disk.whole().filter(|it| it.label.as_ref() == Some(&label));
                whole.is_some_and(|it| it.uuid.as_ref() == Some(&luks.uuid))
            }),
        };
        let found: Vec<&LuksSeen> = view.disks.iter().flat_map(|it| &it.luks).filter(is_it).collect();
        match found.as_slice() {
            [luks] => Ok((*luks).clone()),
            [] => Err(HostError::new(Reason::Gone, format!("No encrypted disk of `{name}` is here"))),
            _ => Err(HostError::new(Reason::Refused, format!("Several disks say that they are `{name}`; unplug one"))),
        }
    }
}

/// Returns which disk an order means.
pub(super) fn of(luks: &LuksSeen) -> KeyOrder {
    KeyOrder { device: luks.device.clone(), uuid: luks.uuid.clone(), ..KeyOrder::default() }
}

/// Returns true if a key does not open the disk, so that another one may.
const fn is_wrong(error: &HostError) -> bool {
    matches!(error.reason, Reason::Undecryptable | Reason::PermissionDenied)
}

/// A recovery key may be typed with blanks and capital letters.
fn typed_key(typed: &Zeroizing<String>) -> Result<Key, HostError> {
    let plain = match crate::secrets::RecoveryKey::parse(typed) {
        Some(key) => key.text(),
        None => crate::secrets::Plain::new(typed.as_bytes().to_vec()),
    };
    Key::text(&plain, "What was typed")
}

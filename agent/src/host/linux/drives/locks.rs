//! Encrypted disks as the daemon sees them: which key opens one, and what is done with it.

use piccolo_schema::disk::{Encryption, Filesystem, Passphrase, Tang};
use serde_json::Value;

use super::{
    Drives, beside_the_point, clevis,
    encrypt::{Worked, names},
    hands::{Answer, KeyWork, Request},
    key::{FirstKeys, Key},
    keyring::Keyring,
};
use crate::host::{HostError, KeyAct, KeyOrder, LuksSeen, MakeOrder, NewKey, Reason, bound};

/// What is done by a key, once there is one.
type Work<'a> = dyn Fn(Key) -> KeyWork + Send + Sync + 'a;

/// Why no key opened a disk so far, and whether that holds for good: a TPM that is not there yet, or does not answer, may open
/// it the next time.
#[derive(Default)]
struct Refusals {
    why: Vec<String>,
    passing: bool,
}

impl Drives {
    /// Makes the keys of a disk that is to be encrypted, or of each of its partitions that is; none where nothing outlives a
    /// start.
    pub(super) async fn first_keys(&self, order: &MakeOrder) -> Result<Vec<FirstKeys>, HostError> {
        let Some(encryption) = &order.encryption else { return Ok(Vec::new()) };
        let many = match order.parts.len() {
            0 => usize::from(order.filesystem != Filesystem::Swap),
            _ => order.locked_parts().count(),
        };
        let mut all = Vec::new();
        for _ in 0..many {
            all.push(self.first_keys_of_one(encryption).await?);
        }
        Ok(all)
    }

    async fn first_keys_of_one(&self, encryption: &Encryption) -> Result<FirstKeys, HostError> {
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
        Ok(FirstKeys { tpm, tang, passphrase })
    }

    /// Makes what shall open a new slot, with the token that says how, and says whether a person chose it.
    pub(super) async fn new_key(&self, key: &NewKey) -> Result<(Key, Value, bool), HostError> {
        let ring = self.keyring()?;
        match key {
            NewKey::Tpm2(bound) => ring.seal(bound).await.map(|(key, token)| (key, token, false)),
            NewKey::Tang(tang) => clevis::bind(tang).await.map(|(key, token)| (key, token, false)),
            NewKey::Passphrase(it) => Ok((ring.passphrase(it).await?, names(&it.to_string()), true)),
        }
    }

    /// Turns a key. Nobody else waits for a server that is asked meanwhile.
    pub(super) async fn turn(&self, subject: &str, order: &KeyOrder) -> Result<(), HostError> {
        let under = order.under(subject).to_owned();
        let (passphrases, work): (Vec<Passphrase>, Box<Work<'_>>) = match &order.act {
            KeyAct::Close => {
                let _turn = self.turn.lock().await;
                return self.ask(Request::Close { subject: under }).await.map(drop);
            }
            KeyAct::OpenAnew { discard } => {
                return self.work(order, KeyWork::OpenAnew { subject: under, discard: *discard }).await.map(drop);
            }
            KeyAct::Open { passphrase, others, discard } => {
                let all = passphrase.iter().chain(others).cloned().collect();
                let discard = *discard;
                (all, Box::new(move |key| KeyWork::Open { subject: under.clone(), key, discard }))
            }
            KeyAct::Add { key, passphrase } => {
                let (new, token, is_chosen) = self.new_key(key).await?;
                let add = move |with| KeyWork::Add { with, new: new.clone(), is_chosen, token: token.clone() };
                (passphrase.iter().cloned().collect(), Box::new(add))
            }
            KeyAct::Remove { slot, what, proved, passphrase } => {
                let remove = |with| KeyWork::Remove { with, slot: *slot, what: what.clone(), proved: *proved };
                (passphrase.iter().cloned().collect(), Box::new(remove))
            }
        };
        let opens = matches!(order.act, KeyAct::Open { .. });
        match self.with_own_key(order, &passphrases, &*work).await {
            Err(error) if error.reason == Reason::Undecryptable => {
                self.refused(subject, order, (passphrases, opens), &error).await;
                Err(error)
            }
            // A half that does not answer, or whose server does not, keeps the other one from nothing for ever.
            Err(error) if opens && order.half.is_some() && error.reason != Reason::Gone => {
                self.refused(subject, order, (passphrases, opens), &error).await;
                Err(error)
            }
            other => {
                if opens && other.is_ok() {
                    self.may_have_passed(subject);
                }
                other.map(drop)
            }
        }
    }

    /// Does something by the first key of this machine that opens the disk: that of the TPM, then that of a server, then the
    /// passphrases. The key of a slot that goes with it is of no use for that. It is `Undecryptable` only where each was refused
    /// for good.
    pub(super) async fn with_own_key(
        &self,
        order: &KeyOrder,
        passphrases: &[Passphrase],
        work: &Work<'_>,
    ) -> Result<Worked, HostError> {
        let ring = self.keyring()?;
        let Worked::Tokens(tokens) = self.work(order, KeyWork::Tokens).await? else { return Err(beside_the_point()) };
        let goes = if let KeyAct::Remove { slot, .. } = order.act { Some(slot) } else { None };
        let servers: Vec<Tang> = order.tang.iter().cloned().chain(self.proofs.server(&order.uuid)).collect();
        let mut refusals = Refusals::default();
        // What one token gives may open nothing any more.
        for token in tokens.chunks(1) {
            let Some(given) = ring.by_chip(token, goes).await else { continue };
            if let Some(done) = self.tried(order, (given, &[]), work, &mut refusals).await {
                return done;
            }
        }
        // A server is asked only where the TPM did not do.
        for token in tokens.chunks(1) {
            let Some(given) = ring.by_server(token, goes, &servers).await else { continue };
            if let Some(done) = self.tried(order, (given, &[]), work, &mut refusals).await {
                let named = order.tang.as_ref().filter(|_| done.is_ok());
                named.into_iter().for_each(|it| self.proofs.served(&order.uuid, it));
                return done;
            }
        }
        for it in passphrases {
            let (known, given) = (refusals.why.len(), ring.passphrase(it).await);
            // One that is missing, or is no text, is seen when it changes.
            let seen = &[Reason::Gone, Reason::Refused];
            if let Some(done) = self.tried(order, (given, seen), work, &mut refusals).await {
                return done;
            }
            refusals.why[known..].iter_mut().for_each(|why| *why = format!("by the secret `{}`: {why}", it.secret));
        }
        if let Some(key) = self.proofs.last(&order.uuid)
            // The secret may have another value since.
            && let Some(done) = self.tried(order, (Ok(key), &[]), work, &mut Refusals::default()).await
        {
            return done;
        }
        Err(refusals.told())
    }

    /// Does it by a key that was given, if one was; none if that does not open the disk. What is refused for these reasons too
    /// is refused for good.
    async fn tried(
        &self,
        order: &KeyOrder,
        (given, for_good): (Result<Key, HostError>, &[Reason]),
        work: &Work<'_>,
        refusals: &mut Refusals,
    ) -> Option<Result<Worked, HostError>> {
        match given {
            Ok(key) => match self.work(order, work(key)).await {
                Err(error) if is_wrong(&error) => refusals.why.push(error.message),
                other => return Some(other),
            },
            Err(error) => {
                refusals.passing |= error.reason != Reason::Undecryptable && !for_good.contains(&error.reason);
                refusals.why.push(error.message);
            }
        }
        None
    }

    /// Does something with the keys of a disk, which is looked at once more before. Each has a turn of its own, so that none
    /// waits for what is asked of others in between.
    pub(super) async fn work(&self, order: &KeyOrder, work: KeyWork) -> Result<Worked, HostError> {
        let (device, uuid) = (order.device.clone(), order.uuid.clone());
        let _turn = self.turn.lock().await;
        match self.ask(Request::Keys { device, uuid, work: Box::new(work) }).await? {
            Answer::Worked(worked) => Ok(worked),
            _ => Err(beside_the_point()),
        }
    }

    pub(super) fn keyring(&self) -> Result<&Keyring, HostError> {
        let none = || HostError::new(Reason::Refused, "Nothing here opens encrypted disks");
        self.keyring.as_ref().ok_or_else(none)
    }
}

impl Refusals {
    fn told(mut self) -> HostError {
        if self.why.is_empty() {
            self.why.push("no key of this machine opens it".to_owned());
        }
        self.why.dedup();
        let reason = if self.passing { Reason::Failed } else { Reason::Undecryptable };
        HostError::new(reason, self.why.join("; "))
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

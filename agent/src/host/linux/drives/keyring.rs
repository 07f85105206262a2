use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use piccolo_schema::disk::{Passphrase, Tang};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::{clevis, key::Key};
use crate::host::{
    Above, Bound, HostError, Pcrs, Reason, Signer, StateSeen, Tpm,
    linux::{Chip, Enrolment, Vault, luks},
    tpm::token::{self, Token},
};

/// How often somebody else changed keys of disks, who says so here.
#[derive(Debug, Default)]
pub struct Changes {
    count: AtomicU64,
    hint: Notify,
}

impl Changes {
    /// Counts one more.
    pub fn count(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.hint.notify_one();
    }
}

/// Knows what was measured as the machine started, this time and when all was well.
pub trait Starts: Send + Sync {
    /// Says what is different in this start of what is measured into these registers, if that is known.
    fn changed(&self, pcrs: Pcrs) -> BoxFuture<'_, Option<String>>;
}

/// What this machine has to open encrypted disks with: its TPM, and what is in secrets.
#[derive(Clone)]
pub struct Keyring {
    chip: Chip,
    vault: Vault,
    changes: Arc<Changes>,
    starts: Option<Arc<dyn Starts>>,
    /// Where it is told how the state of the system stands.
    state: watch::Sender<Option<StateSeen>>,
}

impl Keyring {
    /// Returns a ring of these.
    pub fn new(chip: Chip, vault: Vault) -> Self {
        Self { chip, vault, changes: Arc::default(), starts: None, state: watch::Sender::new(None) }
    }

    /// Lets somebody else who changes keys of disks count here how often.
    #[must_use]
    pub fn counting(self, changes: Arc<Changes>) -> Self {
        Self { changes, ..self }
    }

    /// Asks this what changed where the TPM refuses.
    #[must_use]
    pub fn asking(self, starts: Arc<dyn Starts>) -> Self {
        Self { starts: Some(starts), ..self }
    }

    /// Tells here how the encrypted state of the system stands, whenever that is another way.
    #[must_use]
    pub fn telling(self, state: watch::Sender<Option<StateSeen>>) -> Self {
        Self { state, ..self }
    }

    /// Tells how the encrypted state of the system stands.
    pub(super) fn tell(&self, state: Option<StateSeen>) {
        self.state.send_if_modified(|told| {
            let is_other = *told != state;
            *told = state;
            is_other
        });
    }

    /// Says what is different in this start of what is measured into these registers, if that is known.
    pub(super) async fn changed(&self, pcrs: Pcrs) -> Option<String> {
        self.starts.as_ref()?.changed(pcrs).await
    }

    /// Returns how often others changed keys of disks.
    pub(super) fn changes(&self) -> u64 {
        self.changes.count.load(Ordering::SeqCst)
    }

    /// Waits until others changed some; for ever where there is no ring.
    pub(super) async fn changed_by_others(ring: Option<&Self>) {
        match ring {
            Some(ring) => ring.changes.hint.notified().await,
            None => pending().await,
        }
    }

    /// Returns whose signatures over the kernel's image come with this system, by the name of that key.
    pub(super) fn signer(&self) -> Option<String> {
        self.chip.signer()?.name().ok()
    }

    /// Makes a key that the TPM alone gives back on these terms, with the token that says how.
    pub(super) async fn seal(&self, bound: &Bound) -> Result<(Key, Value), HostError> {
        let signer = match &bound.signed {
            Some(name) => Some(self.signed_by(name)?),
            None => None,
        };
        let wish = Enrolment { pcrs: bound.pcrs, ..Enrolment::default() };
        self.seal_as((&wish, true), signer.as_ref()).await
    }

    /// Makes one on the terms of a token, with its registers as they are now. A PIN is part of it where it is of the token's.
    pub(super) async fn seal_like(&self, token: &Token, pin: Option<&str>) -> Result<(Key, Value), HostError> {
        let above = if token.sealed.home.is_some() { Above::Shared } else { Above::Old };
        let wish = Enrolment { pcrs: token.sealed.pcrs, pin: pin.filter(|_| token.sealed.pin), above };
        self.seal_as((&wish, token.kept), token.sealed.signer.as_ref()).await
    }

    /// Makes sure that the TPM gives back what opens the slot of a token.
    pub(super) async fn opens(&self, token: &Token, pin: Option<&str>) -> Result<(), HostError> {
        let pin = pin.filter(|_| token.sealed.pin).map(|it| token::pin(it, token.salt.as_deref()));
        self.chip.unseal(&token.sealed, pin.as_ref()).await.map(drop)
    }

    /// Makes one as somebody wishes; `kept` by a manifest or not.
    pub(super) async fn seal_as(
        &self,
        (wish, kept): (&Enrolment<'_>, bool),
        signer: Option<&Signer>,
    ) -> Result<(Key, Value), HostError> {
        let (passphrase, token) = luks::sealed(&self.chip, (wish, kept), signer).await?;
        let strange = |_| HostError::new(Reason::Failed, "What the TPM sealed can't be written down");
        Ok((Key::of(passphrase), serde_json::from_str(&token.write()).map_err(strange)?))
    }

    fn signed_by(&self, name: &str) -> Result<Signer, HostError> {
        let is_it = |it: &Signer| it.name().is_ok_and(|it| it == name);
        let gone =
            || HostError::new(Reason::Gone, "The system brings another key for signatures along by now, or none");
        self.chip.signer().filter(is_it).ok_or_else(gone)
    }

    /// Has the TPM give back what opens a disk, by the first of its tokens that it can, but for that of a slot that goes.
    /// None if there is no token.
    pub(super) async fn by_chip(&self, tokens: &[String], goes: Option<u8>) -> Option<Result<Key, HostError>> {
        let mut last = None;
        for text in tokens.iter().filter(|it| !clevis::is_one(it)) {
            let opened = match Token::read(text) {
                Ok(token) if Some(token.slot) == goes => continue,
                Ok(token) => self.chip.unseal(&token.sealed, None).await,
                // It is none the next time either.
                Err(error) => Err(HostError::new(Reason::Undecryptable, format!("The TPM is not asked: {error}"))),
            };
            match opened {
                Ok(secret) => return Some(Ok(Key::of(token::passphrase(&secret)))),
                Err(error) => last = Some(Err(error)),
            }
        }
        last
    }

    /// Has a server help to work out what opens a disk, by the first of its tokens for which one does, but for that of a slot
    /// that goes, and that none of these servers is of. None if there is no token.
    pub(super) async fn by_server(
        &self,
        tokens: &[String],
        goes: Option<u8>,
        servers: &[Tang],
    ) -> Option<Result<Key, HostError>> {
        let mut last = None;
        for text in tokens.iter().filter(|it| clevis::is_one(it) && goes.is_none_or(|slot| !clevis::is_of(it, slot))) {
            match clevis::open(text, servers).await {
                Ok(key) => return Some(Ok(key)),
                Err(error) => last = Some(Err(error)),
            }
        }
        last
    }

    /// Returns the passphrase of a secret.
    pub(super) async fn passphrase(&self, it: &Passphrase) -> Result<Key, HostError> {
        let missing = || {
            let message = format!("The secret `{}` holds no `{}` here yet", it.secret, it.key);
            HostError::new(Reason::Gone, message)
        };
        let value = self.vault.value(&it.secret, &it.key).await?.ok_or_else(missing)?;
        Key::text(&value, &format!("`{}` of the secret `{}`", it.key, it.secret))
    }
}

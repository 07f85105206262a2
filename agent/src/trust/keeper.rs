//! The keys of this machine, and the chip that they may be sealed to.

mod moves;
mod reseal;
mod starts;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls_pki_types::UnixTime;
use tokio::sync::Mutex as Turn;

pub use self::reseal::Rebinding;
use super::{
    Form, KeyFile, KeyStanding, Pcrs, Quote, Standing, TrustError, Vouched,
    lock::Lock,
    plan::{self, Goal},
};
use crate::{
    host::{HostError, Tpm},
    secrets::{Identity, Plain, Recipient},
};

/// The directory beside the lock with the certificates of makers whom the owner believes.
const MAKERS: &str = "makers";

/// The keys of this machine, and the chip that they may be sealed to.
pub struct Keeper<T> {
    tpm: T,
    keys: Vec<KeyFile>,
    /// The file of the lock.
    lock: PathBuf,
    /// The file of the last good start.
    start: PathBuf,
    /// Why keys could not be opened, by their names.
    troubles: Mutex<BTreeMap<&'static str, String>>,
    /// Keys are moved by one at a time.
    turn: Turn<()>,
    /// So is the file of the last good start.
    starts: Turn<()>,
}

/// How keys shall be sealed.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The registers that have to be as they are now.
    pub pcrs: Pcrs,
    /// Who can open the keys when the chip can't; when left out those of before.
    pub recovery: Vec<Recipient>,
}

impl<T: Tpm> Keeper<T> {
    /// Keeps these keys with this chip; the file of the lock is made when they are sealed first.
    pub fn new(tpm: T, keys: Vec<KeyFile>, lock: PathBuf) -> Self {
        let start = lock.with_file_name("start.json");
        Self { tpm, keys, lock, start, troubles: Mutex::default(), turn: Turn::default(), starts: Turn::default() }
    }

    /// Says how the keys stand, without the chip.
    pub fn standing(&self) -> Standing {
        let troubles = self.troubles();
        let stand = |key: &KeyFile| {
            let (form, trouble) = (key.form(), troubles.get(key.name).cloned());
            let path = if form == Form::Sealed { key.sealed() } else { key.path.clone() };
            KeyStanding { name: key.name, form, path, trouble }
        };
        let mut standing = Standing::new(self.keys.iter().map(stand).collect(), self.tpm.is_there());
        if let Ok(Some(lock)) = Lock::read(&self.lock) {
            (standing.pcrs, standing.recovery) = (lock.pcrs(), lock.recovery);
        }
        standing
    }

    /// Says how the keys stand, and what chip there is.
    pub async fn look(&self) -> Standing {
        let mut standing = self.standing();
        if self.tpm.is_there() {
            if !self.troubles().is_empty() {
                standing.changed = self.changed(standing.pcrs).await;
            }
            match self.tpm.look().await {
                Ok(seen) => {
                    let makers = self.lock.with_file_name(MAKERS);
                    let own = seen.endorsement.as_deref();
                    let vouched = |it: &Vec<u8>| Vouched::find(it, own, &makers, UnixTime::now());
                    standing.maker = seen.certificate_der.as_ref().map(vouched);
                    standing.tpm = Some(seen);
                }
                Err(error) => standing.trouble = Some(error.message),
            }
        }
        standing
    }

    /// Opens a key that is sealed. None if there is nothing to open: it lies in its file, or there is none yet.
    ///
    /// # Errors
    /// When it is sealed and can't be opened. Then no other key may be made in its place.
    pub async fn open(&self, name: &str) -> Result<Option<Plain>, TrustError> {
        let Some(key) = self.keys.iter().find(|it| it.name == name && it.form() == Form::Sealed) else {
            return Ok(None);
        };
        let opened = async { self.unlock(key, &self.opened_lock().await?) }.await;
        let mut troubles = self.troubles();
        match &opened {
            Ok(_) => drop(troubles.remove(key.name)),
            Err(error) => drop(troubles.insert(key.name, error.to_string())),
        }
        opened.map(Some)
    }

    /// Has the chip sign what the registers hold, with these bytes of whoever asks.
    ///
    /// # Errors
    /// When there is no chip, or it does not.
    pub async fn quote(&self, nonce: &[u8], pcrs: Pcrs) -> Result<Quote, HostError> {
        self.tpm.quote(nonce, pcrs).await
    }

    /// Seals every key to the chip, or seals them anew in another way. Broken off anywhere, every key opens as before, and
    /// the next call goes on.
    ///
    /// # Errors
    /// When the chip does not do it, files can't be written, or nobody could open the keys without the chip.
    pub async fn seal(&self, wish: &Wish) -> Result<Standing, TrustError> {
        let _turn = self.turn.lock().await;
        let before = Lock::read(&self.lock)?;
        let recovery = match (wish.recovery.is_empty(), &before) {
            (false, _) => wish.recovery.clone(),
            (true, Some(lock)) => lock.recovery(),
            (true, None) => Vec::new(),
        };
        if recovery.is_empty() {
            return Err(TrustError::NoRecovery);
        }
        if self.keys.iter().any(|it| it.form() == Form::Missing) {
            return Err(TrustError::NoKeys);
        }
        let wish = Wish { pcrs: wish.pcrs, recovery };
        if let Some(lock) = before {
            self.change_lock(&lock, &wish).await?;
        }
        self.reach(Goal::Sealed, &wish).await
    }

    /// Puts every key back into a file. Broken off anywhere, every key opens as before, and the next call goes on.
    ///
    /// # Errors
    /// When the chip does not open them, or files can't be written.
    pub async fn unseal(&self) -> Result<Standing, TrustError> {
        let _turn = self.turn.lock().await;
        self.reach(Goal::Files, &Wish::default()).await
    }

    async fn reach(&self, goal: Goal, wish: &Wish) -> Result<Standing, TrustError> {
        while let Some(step) = self.next(goal)? {
            self.apply(step, wish).await?;
        }
        self.troubles().clear();
        Ok(self.standing())
    }

    /// Returns the next step to there.
    pub(super) fn next(&self, goal: Goal) -> Result<Option<plan::Step>, TrustError> {
        let forms: Vec<_> = self.keys.iter().map(KeyFile::form).collect();
        Ok(plan::next(goal, &forms, Lock::read(&self.lock)?.is_some()))
    }

    async fn opened_lock(&self) -> Result<Identity, TrustError> {
        let lock = Lock::read(&self.lock)?.ok_or_else(|| TrustError::NoLock(self.lock.clone()))?;
        lock.open(&self.tpm).await
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

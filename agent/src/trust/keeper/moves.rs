//! Each change to the files of keys. What takes a form away first proves that the other one opens, from the disk and by
//! the chip.

use std::{fs::File, path::Path};

use super::{Keeper, KeyFile, Lock, Pcrs, TrustError, Wish};
use crate::{
    file,
    host::Tpm,
    secrets::{self, Identity, Plain, Recipient},
    trust::plan::Step,
};

/// The size of a key, about.
const ABOUT: usize = 4096;

impl<T: Tpm> Keeper<T> {
    /// Makes one change.
    pub(in crate::trust) async fn apply(&self, step: Step, wish: &Wish) -> Result<(), TrustError> {
        match step {
            Step::MakeLock => {
                let made = Lock::make(&self.tpm, &Identity::generate(), wish.pcrs, &wish.recovery).await?;
                made.write(&self.lock)
            }
            Step::Seal(key) => {
                let (key, lock) = (&self.keys[key], self.opened_lock().await?);
                self.lock_up(key, &read(&key.path)?, &lock, &wish.recovery)
            }
            Step::RemoveFile(key) => {
                let key = self.proved(key).await?;
                remove(&key.path)
            }
            Step::Unseal(key) => {
                let (key, lock) = (&self.keys[key], self.opened_lock().await?);
                let plain = self.unlock(key, &lock)?;
                file::replace(&key.path, plain.expose()).map_err(|error| TrustError::Write(key.path.clone(), error))
            }
            Step::RemoveSealed(key) => {
                let key = self.proved(key).await?;
                remove(&key.sealed())
            }
        }
    }

    /// Lets the lock open in another way, and others open what it locks. The half that opens stays the same, so files that
    /// are sealed need not change with it.
    pub(super) async fn change_lock(&self, lock: &Lock, wish: &Wish) -> Result<(), TrustError> {
        let others = lock.recovery() != wish.recovery;
        if lock.pcrs() == wish.pcrs && !others && wish.pcrs == Pcrs::NONE {
            return Ok(());
        }
        let identity = lock.open(&self.tpm).await?;
        // Registers may have changed since, though they are the same ones: what opens now shall open from now on.
        Lock::make(&self.tpm, &identity, wish.pcrs, &wish.recovery).await?.write(&self.lock)?;
        for key in self.keys.iter().filter(|key| others && key.sealed().exists()) {
            let plain = self.unlock(key, &identity)?;
            self.lock_up(key, &plain, &identity, &wish.recovery)?;
        }
        Ok(())
    }

    /// Reads what is sealed of a key.
    pub(super) fn unlock(&self, key: &KeyFile, lock: &Identity) -> Result<Plain, TrustError> {
        let path = key.sealed();
        let armour = read(&path)?;
        let armour = std::str::from_utf8(armour.expose()).map_err(|_| TrustError::Damaged(path.clone()))?;
        lock.open(armour).map_err(|_| TrustError::Damaged(path))
    }

    pub(super) fn lock_up(
        &self,
        key: &KeyFile,
        plain: &Plain,
        lock: &Identity,
        recovery: &[Recipient],
    ) -> Result<(), TrustError> {
        let all: Vec<Recipient> = [lock.recipient()].into_iter().chain(recovery.iter().cloned()).collect();
        let armour = secrets::seal(plain, &all)?;
        let path = key.sealed();
        file::replace(&path, armour.as_bytes()).map_err(|error| TrustError::Write(path, error))
    }

    /// Returns the key if both of its forms open, and are the same.
    async fn proved(&self, key: usize) -> Result<&KeyFile, TrustError> {
        let (key, lock) = (&self.keys[key], self.opened_lock().await?);
        let same = self.unlock(key, &lock)? == read(&key.path)?;
        same.then_some(key).ok_or_else(|| TrustError::Different(key.path.clone(), key.sealed()))
    }
}

fn read(path: &Path) -> Result<Plain, TrustError> {
    let read = File::open(path).and_then(|file| Plain::read(file, ABOUT));
    read.map_err(|error| TrustError::Read(path.to_owned(), error))
}

/// Removes a file, and returns when that survives a loss of power.
fn remove(path: &Path) -> Result<(), TrustError> {
    file::remove(path).map_err(|error| TrustError::Write(path.to_owned(), error))
}

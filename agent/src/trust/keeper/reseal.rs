//! Keys that are bound to registers, bound to this start and the next one.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use super::{Keeper, KeyFile, Lock, Pcrs, Standing, TrustError};
use crate::{
    host::Tpm,
    secrets::{Identity, Plain},
    trust::{Next, Story},
};

/// How keys shall be bound anew.
#[derive(Default)]
pub struct Rebinding {
    /// The registers; those of before when left out.
    pub pcrs: Option<Pcrs>,
    /// What opens the keys where the chip does not any more.
    pub recovery: Option<Identity>,
    /// What starts next: the keys open after that start as well.
    pub next: Option<Next>,
}

impl Rebinding {
    /// Takes a recovery key as it is typed.
    ///
    /// # Errors
    /// A sentence, when that is none.
    pub fn new(pcrs: Option<Pcrs>, recovery: Option<&str>, next: Option<Next>) -> Result<Self, String> {
        let read = |typed: &str| Identity::parse(&Plain::new(typed.trim().as_bytes().to_vec()));
        let wrong = "this is no recovery key: it begins with AGE-SECRET-KEY-1";
        let recovery = recovery.map(|typed| read(typed).ok_or_else(|| wrong.to_owned())).transpose()?;
        Ok(Self { pcrs, recovery, next })
    }
}

impl<T: Tpm> Keeper<T> {
    /// Binds the keys to this start, and takes it for a good one. What is bound to the start of before goes last, once the new
    /// form was opened. Broken off anywhere, the recovery key opens every key, and the next call goes on.
    ///
    /// # Errors
    /// When nothing is sealed, nothing opens it, or the chip or files fail.
    pub async fn reseal(&self, wish: &Rebinding, now: String) -> Result<Standing, TrustError> {
        let _turn = self.turn.lock().await;
        let sealed: Vec<&KeyFile> = self.keys.iter().filter(|key| key.sealed().exists()).collect();
        let lock = Lock::read(&self.lock)?.filter(|_| !sealed.is_empty()).ok_or(TrustError::NotBound)?;
        let pcrs = wish.pcrs.unwrap_or_else(|| lock.pcrs());
        let recovery = lock.recovery();
        // Opened before anything is written: by the lock if the chip gives it, else by the recovery key.
        let (identity, plains) = match (lock.open(&self.tpm).await, &wish.recovery) {
            (Ok(identity), _) => (identity, Vec::new()),
            (Err(error), None) => return Err(error),
            (Err(_), Some(key)) => (Identity::generate(), self.opened_by(key, &sealed)?),
        };
        let mut made = Lock::make(&self.tpm, &identity, pcrs, &recovery).await?;
        if let Some(next) = &wish.next {
            made = made.also(&self.tpm, &identity, self.foreseen(next, pcrs).await?).await?;
        }
        for (key, plain) in sealed.iter().zip(&plains) {
            self.lock_up(key, plain, &identity, &recovery)?;
        }
        made.write(&self.lock)?;
        let opened = self.opened_lock().await?;
        sealed.iter().try_for_each(|key| self.unlock(key, &opened).map(drop))?;
        self.troubles().clear();
        self.keep(now).await?;
        Ok(self.standing())
    }

    /// Binds the lock to this start alone where it was bound to the next one before, and that has come.
    pub(super) async fn settle(&self) -> Result<(), TrustError> {
        let _turn = self.turn.lock().await;
        let Some(lock) = Lock::read(&self.lock)? else { return Ok(()) };
        if !lock.has_come(&self.tpm).await {
            return Ok(());
        }
        let identity = lock.open(&self.tpm).await?;
        Lock::make(&self.tpm, &identity, lock.pcrs(), &lock.recovery()).await?.write(&self.lock)
    }

    fn opened_by(&self, recovery: &Identity, sealed: &[&KeyFile]) -> Result<Vec<Plain>, TrustError> {
        let open = |key: &&KeyFile| self.unlock(key, recovery).map_err(|_| TrustError::NotRecovery);
        sealed.iter().map(open).collect()
    }

    /// Works out what registers hold after the next start.
    async fn foreseen(&self, next: &Next, pcrs: Pcrs) -> Result<BTreeMap<u8, String>, TrustError> {
        let blind = Pcrs::of(next.unforeseen().iter().filter(|it| pcrs.has(*it)).map(u64::from)).unwrap_or_default();
        if !blind.is_empty() || pcrs.iter().any(|it| !Pcrs::OF_A_START.has(it)) {
            return Err(TrustError::Unforeseen(if blind.is_empty() { pcrs } else { blind }));
        }
        let measured = self.tpm.measured().await?;
        let story = Story::read(&measured.firmware_log, &measured.system_log)?;
        let untrue = Pcrs::of(story.untrue_of(&measured).iter().filter(|it| pcrs.has(*it)).map(u64::from));
        match untrue.unwrap_or_default() {
            wrong if wrong.is_empty() => {}
            wrong => return Err(TrustError::Untrue(wrong)),
        }
        let next = next.after(&story)?;
        Ok(pcrs.iter().map(|pcr| (pcr, HEXLOWER.encode(&next.value(pcr)))).collect())
    }
}

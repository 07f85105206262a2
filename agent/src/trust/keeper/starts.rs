//! What the machine measured as it started, beside what it measured when all was well.

use super::{Form, Keeper, KeyFile, Lock, Pcrs, TrustError};
use crate::{
    host::Tpm,
    trust::{Kept, Verdict, Why},
};

impl<T: Tpm> Keeper<T> {
    /// Says what changed since the last good start.
    ///
    /// # Errors
    /// When the file of that can't be read.
    pub async fn why(&self) -> Result<Why, TrustError> {
        let bound = self.bound();
        let kept = Kept::read(&self.start)?;
        Ok(match self.tpm.measured().await {
            Ok(now) => Why::find(kept.as_ref(), &now, bound),
            Err(error) => Why::nothing(Verdict::NoLog, error.message, bound),
        })
    }

    /// Says what is different in this start of what is measured into these registers, if that is known.
    pub async fn changed(&self, pcrs: Pcrs) -> Option<String> {
        let kept = Kept::read(&self.start).ok()?;
        let now = self.tpm.measured().await.ok()?;
        Why::find(kept.as_ref(), &now, pcrs).shuts()
    }

    /// Says what changed since the last good start, and keeps this one in its place if it was one: where a key opened that is
    /// bound to registers, or where none was kept before. For when every key was opened.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub async fn remember(&self, now: String) -> Result<Why, TrustError> {
        let why = self.why().await?;
        self.settle().await?;
        let is_proved = !self.bound().is_empty() && self.troubles().is_empty();
        if is_proved || why.verdict == Verdict::NothingKept {
            self.keep(now).await?;
        }
        Ok(why)
    }

    /// Takes this start for a good one. Without a log of it there is nothing to keep.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub async fn keep(&self, now: String) -> Result<(), TrustError> {
        let _turn = self.starts.lock().await;
        let before = Kept::read(&self.start)?;
        let Ok(measured) = self.tpm.measured().await else { return Ok(()) };
        if before.is_some_and(|it| it.measured == measured) {
            return Ok(());
        }
        // What can't be understood explains nothing later.
        Kept::of(measured, now).map_or(Ok(()), |kept| kept.write(&self.start))
    }

    /// Returns the registers that keys are bound to at present.
    fn bound(&self) -> Pcrs {
        let is_sealed = self.keys.iter().map(KeyFile::form).any(|form| form == Form::Sealed);
        let lock = Lock::read(&self.lock).ok().flatten().filter(|_| is_sealed);
        lock.map(|it| it.pcrs()).unwrap_or_default()
    }
}

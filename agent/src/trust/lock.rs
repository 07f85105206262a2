//! The lock: a key of which only the chip can give back the half that opens.
//!
//! What a TPM seals is small, so it seals one key of age, and files are encrypted for that; the ordinary program `age`
//! opens them with a recovery key when the chip can't.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Pcrs, TrustError};
use crate::{
    file,
    host::{Above, Sealed, Terms, Tpm},
    secrets::{Identity, Plain, Recipient},
};

/// The largest file.
const LARGEST: u64 = 64 << 10;
/// The form of the file.
const VERSION: u32 = 1;

/// The lock as it lies on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lock {
    version: u32,
    /// Who can open what it locks besides the chip.
    pub(super) recovery: Vec<String>,
    /// The half that opens, as the chip sealed it.
    sealed: Sealed,
    /// The same for a start that is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Sealed>,
}

impl Lock {
    /// Makes a lock, and proves that the chip opens it.
    pub(super) async fn make(
        tpm: &impl Tpm,
        identity: &Identity,
        pcrs: Pcrs,
        recovery: &[Recipient],
    ) -> Result<Self, TrustError> {
        let secret = Zeroizing::new(identity.text().expose().to_vec());
        let sealed = tpm.seal(&secret, pcrs, None, Above::Shared).await?;
        let lock =
            Self { version: VERSION, recovery: recovery.iter().map(ToString::to_string).collect(), sealed, next: None };
        let opened = lock.open(tpm).await?;
        if opened.recipient() == identity.recipient() { Ok(lock) } else { Err(TrustError::Unproved) }
    }

    /// Has the chip open it.
    pub(super) async fn open(&self, tpm: &impl Tpm) -> Result<Identity, TrustError> {
        let mut secret = match (tpm.unseal(&self.sealed, None).await, &self.next) {
            (Err(first), Some(next)) => tpm.unseal(next, None).await.map_err(|_| first)?,
            (opened, _) => opened?,
        };
        Identity::parse(&Plain::new(std::mem::take(&mut *secret))).ok_or(TrustError::Unproved)
    }

    /// Lets it open after another start as well, in which the registers hold this. That can't be proved before.
    pub(super) async fn also(
        self,
        tpm: &impl Tpm,
        identity: &Identity,
        values: BTreeMap<u8, String>,
    ) -> Result<Self, TrustError> {
        let secret = Zeroizing::new(identity.text().expose().to_vec());
        let next = tpm.seal_on(&secret, &Terms::held(values), None, Above::Shared).await?;
        Ok(Self { next: Some(next), ..self })
    }

    /// Returns true if it opens as it was made for a start to come, and not as it was made first.
    pub(super) async fn has_come(&self, tpm: &impl Tpm) -> bool {
        let Some(next) = &self.next else { return false };
        tpm.unseal(&self.sealed, None).await.is_err() && tpm.unseal(next, None).await.is_ok()
    }

    /// Reads it; none if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, TrustError> {
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TrustError::Read(path.to_owned(), error)),
            Ok(_) => {}
        }
        let lock: Option<Self> = serde_json::from_str(&text).ok();
        let lock = lock.filter(|it| it.version == VERSION).ok_or_else(|| TrustError::Damaged(path.to_owned()))?;
        Ok(Some(lock))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), TrustError> {
        let text = serde_json::to_vec_pretty(self).map_err(|it| TrustError::Write(path.to_owned(), it.into()))?;
        file::replace(path, &text).map_err(|error| TrustError::Write(path.to_owned(), error))
    }

    /// Returns who can open what it locks besides the chip.
    pub(super) fn recovery(&self) -> Vec<Recipient> {
        self.recovery.iter().filter_map(|it| it.parse().ok()).collect()
    }

    /// Returns which registers have to be as they were.
    pub(super) const fn pcrs(&self) -> Pcrs {
        self.sealed.pcrs
    }
}

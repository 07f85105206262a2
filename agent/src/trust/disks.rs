//! What is asked of the key slots of an encrypted disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Pcrs;
use crate::host::{Signer, tpm::NotSigner};

/// A disk, and a key that opens it already.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DiskKey {
    /// The path of the disk.
    pub disk: PathBuf,
    /// The key, as it is typed.
    pub key: Zeroizing<String>,
}

/// How the TPM shall open a disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DiskWish {
    /// The path of the disk.
    pub disk: PathBuf,
    /// A key that opens it already.
    pub key: Zeroizing<String>,
    /// The registers that have to be as they are now.
    #[serde(default)]
    pub pcrs: Pcrs,
    /// What has to be typed as well.
    #[serde(default)]
    pub pin: Option<Zeroizing<String>>,
    /// A public key as text (PEM), whose signature over `signed_pcrs` is needed as well.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// The registers that are signed; that of the kernel's image when left out.
    #[serde(default)]
    pub signed_pcrs: Option<Pcrs>,
    /// Whether systemd before 254 shall unlock it too.
    #[serde(default)]
    pub old_systemd: bool,
}

impl DiskWish {
    /// Returns whose signature is needed, if anybody's is.
    ///
    /// # Errors
    /// When the key is none.
    pub fn signer(&self) -> Result<Option<Signer>, NotSigner> {
        let pcrs = || self.signed_pcrs.or_else(|| Pcrs::of([Signer::IMAGE])).unwrap_or_default();
        self.signed_by.as_ref().map(|key| Signer::new(key.as_bytes().to_vec(), pcrs())).transpose()
    }
}

/// A disk whose slots shall be bound to this start.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DiskRebinding {
    /// The path of the disk.
    pub disk: PathBuf,
    /// A key that opens it already.
    pub key: Zeroizing<String>,
    /// The PIN, where one is typed as well.
    #[serde(default)]
    pub pin: Option<Zeroizing<String>>,
}

/// A recovery key that was made. Told once, and kept nowhere.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskRecovery {
    /// The slot that it opens.
    pub slot: u8,
    /// The key, as it is typed.
    pub recovery_key: Zeroizing<String>,
}

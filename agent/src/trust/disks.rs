//! What is asked of the key slots of an encrypted disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Pcrs;

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
    /// Whether systemd before 254 shall unlock it too.
    #[serde(default)]
    pub old_systemd: bool,
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

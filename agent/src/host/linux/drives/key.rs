use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    host::{HostError, Reason},
    secrets::Plain,
};

/// A key on its way to a process that touches disks. It can't be printed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key(Zeroizing<String>);

/// The keys that a disk is made with: the first opens its first slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FirstKeys {
    /// What the TPM gives, with the token that says how.
    pub(super) tpm: Option<(Key, serde_json::Value)>,
    /// What a server helps to work out, with the token that says how.
    pub(super) tang: Option<(Key, serde_json::Value)>,
    /// The passphrase, with the token that names its secret.
    pub(super) passphrase: Option<(Key, serde_json::Value)>,
}

impl Key {
    pub(super) const fn of(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Takes a value over that is text.
    pub(super) fn text(value: &Plain, what: &str) -> Result<Self, HostError> {
        let text = std::str::from_utf8(value.expose()).ok().map(|it| it.trim_end_matches(['\r', '\n']));
        let text = text.filter(|it| !it.is_empty() && it.len() <= 512);
        let wrong = || HostError::new(Reason::Refused, format!("{what} is no text of at most 512 bytes"));
        text.map(|it| Self(Zeroizing::new(it.to_owned()))).ok_or_else(wrong)
    }

    pub(super) fn plain(&self) -> Plain {
        Plain::new(self.0.as_bytes().to_vec())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

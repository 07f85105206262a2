use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Plain;

/// The bytes of a digest that are kept: enough that no two values of a machine meet.
const KEPT: usize = 16;

/// Makes digests of values by which a change is seen. Without the key, which never leaves this machine, nobody can try
/// out which value a digest is of.
#[derive(Clone)]
pub struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    /// Derives the key from something that only this machine knows.
    pub(super) fn derive(secret: &[u8]) -> Self {
        Self(Zeroizing::new(mac(secret, b"piccolo.os digest of secret values, v1")))
    }

    /// Returns the digest of a value.
    pub fn digest(&self, value: &Plain) -> String {
        hex(&mac(self.0.as_slice(), value.expose()))
    }
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(KEPT).fold(String::with_capacity(2 * KEPT), |mut out, byte| {
        // Writing to a string can't fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(…)")
    }
}

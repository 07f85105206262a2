//! A key whose owner says by signatures what registers may hold: so a new kernel needs no new seal.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Pcrs, in_base64};

/// The largest key as text.
const LARGEST: usize = 16 << 10;
/// The largest file of signatures.
const LARGEST_FILE: usize = 256 << 10;
/// How a key in a text begins and ends.
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// What stands before an RSA key in its general form: the number of that algorithm.
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// The marks of ASN.1 that are met.
const SEQUENCE: u8 = 0x30;
const BITS: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// Whose signature counts, over which registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The public key as text (PEM), as systemd keeps it.
    #[serde(with = "in_base64")]
    pub key: Vec<u8>,
    /// The registers.
    pub pcrs: Pcrs,
}

/// A public key of RSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerKey {
    /// The product of both primes.
    pub modulus: Vec<u8>,
    /// Its exponent.
    pub exponent: u32,
    /// What signatures name it by.
    print: [u8; 32],
}

/// Why bytes are no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no public key of RSA with 2048 to 4096 bits in a text (`-----BEGIN PUBLIC KEY-----`)")]
pub struct NotSigner;

#[derive(Deserialize)]
struct Signatures {
    #[serde(default)]
    sha256: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    pcrs: Vec<u64>,
    pkfp: String,
    pol: String,
    sig: String,
}

impl Signer {
    /// The register into which the parts of the kernel's image are measured.
    pub const IMAGE: u64 = 11;

    /// Takes a key whose signatures shall count over these registers.
    ///
    /// # Errors
    /// When it is none that a TPM can check by, or no register is named.
    pub fn new(key: Vec<u8>, pcrs: Pcrs) -> Result<Self, NotSigner> {
        let signer = Self { key, pcrs };
        signer.parsed().filter(|_| !pcrs.is_empty()).ok_or(NotSigner)?;
        Ok(signer)
    }

    /// Returns the key.
    ///
    /// # Errors
    /// When it is none that a TPM can check by.
    pub fn public(&self) -> Result<SignerKey, NotSigner> {
        self.parsed().ok_or(NotSigner)
    }

    /// Returns the beginning of what signatures name the key by, to tell it from others.
    ///
    /// # Errors
    /// When it is none that a TPM can check by.
    pub fn name(&self) -> Result<String, NotSigner> {
        let print = self.parsed().ok_or(NotSigner)?.print;
        Ok(data_encoding::HEXLOWER.encode(&print[..8]))
    }

    fn parsed(&self) -> Option<SignerKey> {
        let text = std::str::from_utf8(&self.key).ok().filter(|it| it.len() <= LARGEST)?;
        let (_, rest) = text.split_once(BEGIN)?;
        let body: String = rest.split_once(END)?.0.split_whitespace().collect();
        let der = BASE64.decode(body.as_bytes()).ok()?;
        let (whole, []) = part(&der, SEQUENCE)? else { return None };
        let (bits, []) = part(whole.strip_prefix(&RSA)?, BITS)? else { return None };
        // No bit of the last byte is unused.
        let key = bits.strip_prefix(&[0])?;
        let (numbers, []) = part(key, SEQUENCE)? else { return None };
        let (modulus, rest) = part(numbers, INTEGER)?;
        let (exponent, []) = part(rest, INTEGER)? else { return None };
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let exponent = exponent.strip_prefix(&[0]).unwrap_or(exponent);
        let is_usual = [256, 384, 512].contains(&modulus.len()) && modulus[0] & 0x80 != 0 && exponent.len() <= 4;
        let exponent = exponent.iter().fold(0, |all, byte| (all << 8) | u32::from(*byte));
        is_usual.then(|| SignerKey { modulus: modulus.to_vec(), exponent, print: Sha256::digest(key).into() })
    }

    /// Finds the signature over this policy in a file as `systemd-measure sign` writes it.
    pub fn signature(&self, file: &[u8], policy: &[u8]) -> Option<Vec<u8>> {
        let print = self.parsed()?.print;
        let all: Signatures =
            Some(file).filter(|it| it.len() <= LARGEST_FILE).and_then(|it| serde_json::from_slice(it).ok())?;
        let is = |text: &str, wanted: &[u8]| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).is_ok_and(|it| it == wanted);
        let found = all.sha256.into_iter().find(|it| {
            Pcrs::of(it.pcrs.iter().copied()) == Some(self.pcrs) && is(&it.pkfp, &print) && is(&it.pol, policy)
        });
        BASE64.decode(found?.sig.as_bytes()).ok()
    }
}

/// Reads one part of ASN.1 with this mark, and returns what is in it and what is behind it.
fn part(bytes: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.strip_prefix(&[mark])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (long, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*long)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests;

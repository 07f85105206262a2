//! Signatures as `ssh-keygen -Y sign` makes them, and the public keys that they are checked with. Pure.
//!
//! Whoever sends one is not known yet, so no program is run for it: what is read is bounded, and the arithmetic is ring's.

use std::ops::RangeInclusive;

use data_encoding::{BASE64, BASE64_NOPAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// How the text of a signature begins and ends.
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// How its bytes begin, and what is signed.
const MAGIC: &[u8] = b"SSHSIG";
/// The one version that there is.
const VERSION: [u8; 4] = [0, 0, 0, 1];
/// The longest text of a key or a signature. The largest RSA keys need less than half of it.
const LONGEST: usize = 8 << 10;
/// The kinds of keys.
const KEYS: [&str; 4] = ["ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256", "ssh-rsa"];
/// What a key that needs a touch says when it was touched.
const TOUCHED: u8 = 1;

/// A public SSH key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Vec<u8>);

/// Why a text is no public key that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key is one line of `ssh-keygen`, as in its files that end with `.pub`: ssh-ed25519, \
         sk-ssh-ed25519@openssh.com, ecdsa-sha2-nistp256, or ssh-rsa of 2048 to 8192 bits"
)]
pub struct NoKey;

impl PublicKey {
    /// Reads a line as `ssh-keygen` writes it: the kind, the key, and a comment that counts for nothing.
    ///
    /// # Errors
    /// When it is another kind of key, or none.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let text = text.trim();
        let mut words = text.split(' ');
        let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if text.len() > LONGEST || text.contains(char::is_control) || !KEYS.contains(&kind) {
            return Err(NoKey);
        }
        let blob = BASE64.decode(key.as_bytes()).map_err(|_| NoKey)?;
        let is_kind = Fields(&blob).next() == Some(kind.as_bytes());
        (is_kind && Key::read(&blob).is_some()).then_some(Self(blob)).ok_or(NoKey)
    }

    /// Returns the fingerprint, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(&self.0)))
    }

    /// Returns whether the owner of this key signed just this message for this purpose.
    pub fn has_signed(&self, purpose: &str, message: &[u8], signature: &str) -> bool {
        self.check(purpose, message, signature).is_some()
    }

    fn check(&self, purpose: &str, message: &[u8], signature: &str) -> Option<()> {
        let bytes = bare(signature)?;
        let mut rest = Fields(bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION)?);
        let (key, space, reserved) = (rest.next()?, rest.next()?, rest.next()?);
        let (hash, signed) = (rest.next()?, rest.next()?);
        let is_ours = key == self.0 && space == purpose.as_bytes() && rest.0.is_empty();
        let digest = match hash {
            b"sha512" => Sha512::digest(message).to_vec(),
            b"sha256" => Sha256::digest(message).to_vec(),
            _ => return None,
        };
        let mut whole = MAGIC.to_vec();
        for part in [space, reserved, hash, &digest] {
            whole.extend(u32::try_from(part.len()).ok()?.to_be_bytes());
            whole.extend(part);
        }
        Key::read(&self.0).filter(|_| is_ours)?.check(&whole, signed)
    }
}

/// What is in a key.
enum Key<'a> {
    Ed25519(&'a [u8]),
    /// One that is in a device, for this application.
    Device(&'a [u8], &'a [u8]),
    P256(&'a [u8]),
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
}

/// How long an RSA key is whose signatures can be checked: 2048 to 8192 bits.
const RSA_BYTES: RangeInclusive<usize> = 256..=1024;

impl<'a> Key<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut rest = Fields(blob);
        let point = |it: &'a [u8], length| (it.len() == length).then_some(it);
        let key = match rest.next()? {
            b"ssh-ed25519" => Self::Ed25519(point(rest.next()?, 32)?),
            b"sk-ssh-ed25519@openssh.com" => Self::Device(point(rest.next()?, 32)?, rest.next()?),
            b"ecdsa-sha2-nistp256" if rest.next()? == b"nistp256" => Self::P256(point(rest.next()?, 65)?),
            b"ssh-rsa" => {
                let (e, n) = (rest.number()?, rest.number()?);
                RSA_BYTES.contains(&n.len()).then_some(Self::Rsa { n, e })?
            }
            _ => return None,
        };
        rest.0.is_empty().then_some(key)
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> Option<()> {
        let mut rest = Fields(signature);
        let (kind, value) = (rest.next()?, rest.next()?);
        let is = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8], message: &[u8], value: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, value).ok()
        };
        let is_last = rest.0.is_empty();
        match self {
            Self::Ed25519(key) if kind == b"ssh-ed25519" && is_last => is(&ED25519, key, message, value),
            Self::Device(key, application) if kind == b"sk-ssh-ed25519@openssh.com" => {
                // Its flags, and how often it has signed.
                let tail: &[u8; 5] = rest.0.try_into().ok()?;
                let signed = [&*Sha256::digest(application), tail, &*Sha256::digest(message)].concat();
                (tail[0] & TOUCHED != 0).then_some(())?;
                is(&ED25519, key, &signed, value)
            }
            Self::P256(key) if kind == b"ecdsa-sha2-nistp256" && is_last => {
                let mut numbers = Fields(value);
                let fixed = [wide(numbers.number()?)?, wide(numbers.number()?)?].concat();
                numbers.0.is_empty().then_some(())?;
                is(&ECDSA_P256_SHA256_FIXED, key, message, &fixed)
            }
            Self::Rsa { n, e } if is_last => {
                let how: &RsaParameters = match kind {
                    b"rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                    b"rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                    _ => return None,
                };
                RsaPublicKeyComponents { n, e }.verify(how, message, value).ok()
            }
            _ => None,
        }
    }
}

/// What is left of some bytes, in which each part has its length before it.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        self.0 = rest;
        Some(part)
    }

    /// Returns a number that is not negative, without what only says that it is not.
    fn number(&mut self) -> Option<&'a [u8]> {
        let part = self.next()?;
        let part = match part {
            [0, rest @ ..] => rest,
            [128..=255, ..] => return None,
            part => part,
        };
        part.first().is_some_and(|it| *it != 0).then_some(part)
    }
}

/// Returns a number in 32 bytes.
fn wide(number: &[u8]) -> Option<[u8; 32]> {
    let mut wide = [0; 32];
    wide.get_mut(32_usize.checked_sub(number.len())?..)?.copy_from_slice(number);
    Some(wide)
}

/// Returns the bytes between the first and the last line.
fn bare(text: &str) -> Option<Vec<u8>> {
    let text = Some(text.trim()).filter(|it| it.len() <= LONGEST)?;
    let body: String = text.strip_prefix(BEGIN)?.strip_suffix(END)?.split_ascii_whitespace().collect();
    BASE64.decode(body.as_bytes()).ok()
}

impl TryFrom<String> for PublicKey {
    type Error = NoKey;

    fn try_from(text: String) -> Result<Self, NoKey> {
        Self::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = Fields(&self.0).next().unwrap_or_default();
        write!(f, "{} {}", String::from_utf8_lossy(kind), BASE64.encode(&self.0))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests;

//! Whether what a TPM is said to have signed is so. Needs no TPM.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::words::Words;
use crate::host::{Pcrs, Quote};

/// How everything begins that a TPM signs of itself. A restricted key signs nothing else that begins so.
const MAGIC: u64 = 0xff54_4347;
const QUOTE: u64 = 0x8018;
const SHA256: u64 = 0x000b;
const ECC: u64 = 0x0023;
const NULL: u64 = 0x0010;
const ECDSA: u64 = 0x0018;
const P256: u64 = 0x0003;
/// Of a key that never leaves its chip, was made in it, and signs only what the chip says itself.
const SIGNER: u64 = FIXED_TPM | FIXED_PARENT | MADE_INSIDE | RESTRICTED | SIGNS;
const FIXED_TPM: u64 = 1 << 1;
const FIXED_PARENT: u64 = 1 << 4;
const MADE_INSIDE: u64 = 1 << 5;
const RESTRICTED: u64 = 1 << 16;
const DECRYPTS: u64 = 1 << 17;
const SIGNS: u64 = 1 << 18;
/// The endorsement hierarchy, of which the key is a child.
const ENDORSEMENT: [u8; 4] = [0x40, 0, 0, 0x0b];

/// What a quote proves, once it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The name of the key that signed.
    pub signer: String,
    /// What the registers held.
    pub registers: BTreeMap<u8, String>,
    /// How often the machine was started.
    pub starts: u64,
    /// How often it woke from sleep since.
    pub wakes: u64,
    /// The version of the chip's firmware.
    pub firmware: u64,
}

/// Why a quote proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// What is said to be signed is no quote.
    #[error("this is no quote of a TPM")]
    NotAQuote,
    /// The key may sign what others hand in, or lies outside of a TPM.
    #[error("the key is none that only speaks for its TPM (ECC P-256, made in it, restricted to signing)")]
    Signer,
    /// The key is another one.
    #[error("another key signed it: this is another machine, or its TPM was cleared")]
    Stranger,
    /// The signature is of other bytes or another key.
    #[error("the signature does not fit: the quote was changed")]
    Signature,
    /// It was asked for by somebody else, or before.
    #[error("it answers another question: the nonce is not the one that was asked with")]
    Nonce,
    /// Registers are told that are not those which are signed.
    #[error("the registers that are told are not those that are signed")]
    Registers,
}

/// Checks a quote against the bytes that it was asked with and, if it is known from before, the name of the key.
///
/// # Errors
/// When anything about it does not fit.
pub fn verify(quote: &Quote, nonce: &[u8], signer: Option<&str>) -> Result<Proof, Doubt> {
    let (point, name) = key(&quote.signer).ok_or(Doubt::Signer)?;
    if signer.is_some_and(|wanted| !wanted.trim().eq_ignore_ascii_case(&name)) {
        return Err(Doubt::Stranger);
    }
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(&quote.attest, &quote.signature).map_err(|_| Doubt::Signature)?;
    let signed = Signed::read(&quote.attest).ok_or(Doubt::NotAQuote)?;
    if !bool::from(signed.nonce.ct_eq(nonce)) {
        return Err(Doubt::Nonce);
    }
    if signed.by != qualified(&name) {
        return Err(Doubt::Signer);
    }
    if signed.pcrs != Pcrs::of(quote.registers.keys().map(|it| u64::from(*it))).unwrap_or_default()
        || Some(signed.digest) != digest(&quote.registers).as_deref()
    {
        return Err(Doubt::Registers);
    }
    let registers = quote.registers.clone();
    Ok(Proof { signer: name, registers, starts: signed.starts, wakes: signed.wakes, firmware: signed.firmware })
}

/// What is signed, `TPMS_ATTEST`.
struct Signed<'a> {
    by: &'a [u8],
    nonce: &'a [u8],
    starts: u64,
    wakes: u64,
    firmware: u64,
    pcrs: Pcrs,
    digest: &'a [u8],
}

impl<'a> Signed<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut words = Words(bytes);
        if !(words.is::<4>(MAGIC)? && words.is::<2>(QUOTE)?) {
            return None;
        }
        let (by, nonce, _clock) = (words.part()?, words.part()?, words.number::<8>()?);
        let (starts, wakes, _is_safe) = (words.number::<4>()?, words.number::<4>()?, words.number::<1>()?);
        let firmware = words.number::<8>()?;
        // One bank, of three octets.
        if !(words.is::<4>(1)? && words.is::<2>(SHA256)? && words.is::<1>(3)?) {
            return None;
        }
        let pcrs = Pcrs::from_octets(words.bytes(3)?.try_into().ok()?);
        let digest = words.part()?;
        words.0.is_empty().then_some(Self { by, nonce, starts, wakes, firmware, pcrs, digest })
    }
}

/// Reads a key, `TPMT_PUBLIC`, and returns its point and its name; none if it is not of the kind that signs quotes.
fn key(public: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut words = Words(public);
    if !(words.is::<2>(ECC)? && words.is::<2>(SHA256)?) {
        return None;
    }
    let attributes = words.number::<4>()?;
    let _policy = words.part()?;
    let is_plain = words.is::<2>(NULL)? && words.is::<2>(ECDSA)? && words.is::<2>(SHA256)?;
    let is_curve = words.is::<2>(P256)? && words.is::<2>(NULL)?;
    let mut point = vec![4];
    for coordinate in [words.part()?, words.part()?] {
        point.resize(point.len() + 32_usize.checked_sub(coordinate.len())?, 0);
        point.extend(coordinate);
    }
    let is_signer = attributes & SIGNER == SIGNER && attributes & DECRYPTS == 0;
    let is_one = is_plain && is_curve && is_signer && words.0.is_empty();
    is_one.then(|| (point, data_encoding::HEXLOWER.encode(&name(&Sha256::digest(public)))))
}

fn name(digest: &[u8]) -> Vec<u8> {
    [&[0, 0x0b], digest].concat()
}

/// Returns the name of a key below the seed of the endorsement hierarchy.
fn qualified(key: &str) -> Vec<u8> {
    let key = HEXLOWER_PERMISSIVE.decode(key.as_bytes()).unwrap_or_default();
    name(&Sha256::digest([&ENDORSEMENT[..], &key].concat()))
}

/// Returns the digest of what registers hold, one after the other.
fn digest(registers: &BTreeMap<u8, String>) -> Option<Vec<u8>> {
    let mut digest = Sha256::new();
    for value in registers.values() {
        let value = HEXLOWER_PERMISSIVE.decode(value.as_bytes()).ok().filter(|it| it.len() == 32)?;
        digest.update(value);
    }
    Some(digest.finalize().to_vec())
}

#[cfg(test)]
mod tests;

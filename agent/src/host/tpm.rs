//! The security chip of the machine, as far as keys are kept by it.

mod measured;
mod pcrs;
mod sealed;
mod signer;
mod terms;
pub mod token;

use std::{collections::BTreeMap, future::Future};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::{
    measured::{Measured, Versions},
    pcrs::Pcrs,
    sealed::{Home, NotSealed, Sealed},
    signer::{NotSigner, Signer, SignerKey},
    terms::Terms,
};
use super::HostError;

/// The most bytes that a TPM seals.
pub const LARGEST_SECRET: usize = 128;
/// The most bytes of a nonce that a TPM puts into a quote.
pub const LARGEST_NONCE: usize = 32;

/// A TPM 2.0.
///
/// No verb changes what the machine measured. The chip keeps nothing of ours but the key of all sealed things, which it makes
/// from its own seed and which other systems share (`0x81000001`).
pub trait Tpm: Send + Sync + 'static {
    /// Returns whether there is one to ask at all.
    fn is_there(&self) -> bool;
    /// Says what chip it is and what it can do.
    fn look(&self) -> impl Future<Output = Result<TpmSeen, HostError>> + Send;
    /// Seals a secret, so that only this chip can give it back, while the registers are as they are now.
    fn seal(
        &self,
        secret: &Zeroizing<Vec<u8>>,
        pcrs: Pcrs,
        pin: Option<&Zeroizing<Vec<u8>>>,
        above: Above,
    ) -> impl Future<Output = Result<Sealed, HostError>> + Send {
        async move { self.seal_on(secret, &Terms::now(pcrs), pin, above).await }
    }
    /// Seals a secret, so that only this chip can give it back, on these terms.
    fn seal_on(
        &self,
        secret: &Zeroizing<Vec<u8>>,
        terms: &Terms,
        pin: Option<&Zeroizing<Vec<u8>>>,
        above: Above,
    ) -> impl Future<Output = Result<Sealed, HostError>> + Send;
    /// Gives a secret back.
    fn unseal(
        &self,
        sealed: &Sealed,
        pin: Option<&Zeroizing<Vec<u8>>>,
    ) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, HostError>> + Send;
    /// Signs what the registers hold now, with these bytes of whoever asks.
    fn quote(&self, nonce: &[u8], pcrs: Pcrs) -> impl Future<Output = Result<Quote, HostError>> + Send;
    /// Says what the registers hold now, and what was written down of how they came to that.
    fn measured(&self) -> impl Future<Output = Result<Measured, HostError>> + Send;
}

/// The key under which something is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Above {
    /// The storage root key that lies in the chip. Wrong PINs never lock it.
    #[default]
    Shared,
    /// The one that systemd before 254 makes anew each time, and can alone unlock by. Too many wrong PINs lock it for a while.
    Old,
}

/// What chip it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TpmSeen {
    /// Four letters of its maker: `INTC`, `IBM`.
    pub maker: String,
    /// What the maker calls it.
    pub model: String,
    /// The version of its firmware.
    pub firmware: String,
    /// The revision of the specification that it keeps: `1.59`.
    pub revision: String,
    /// The algorithms that it knows, by their numbers in the registry of the TCG.
    pub algorithms: Vec<String>,
    /// The registers that each bank has, by the name of its digest.
    pub banks: BTreeMap<String, Pcrs>,
    /// How many wrong PINs it remembers.
    pub wrong_pins: u32,
    /// The name of the key that signs quotes: what to know the machine by.
    pub signer: String,
    /// The SHA-256 of the certificate that its maker gave it, if it has one.
    pub certificate: Option<String>,
    /// That certificate.
    #[serde(skip)]
    pub certificate_der: Option<Vec<u8>>,
    /// The key that it is to be of, as the chip itself makes it: the end of what a certificate says of its key.
    #[serde(skip)]
    pub endorsement: Option<Vec<u8>>,
}

/// What the registers held, signed by the chip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    /// What is signed, `TPMS_ATTEST`.
    #[serde(with = "in_base64")]
    pub attest: Vec<u8>,
    /// The signature, ECDSA over P-256 with SHA-256: both numbers, 32 bytes each.
    #[serde(with = "in_base64")]
    pub signature: Vec<u8>,
    /// The key that signed, `TPMT_PUBLIC`.
    #[serde(with = "in_base64")]
    pub signer: Vec<u8>,
    /// What the registers of the bank `sha256` held, in hexadecimal.
    pub registers: BTreeMap<u8, String>,
}

/// Bytes in base64, in documents.
pub(crate) mod in_base64 {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom("this is no base64"))
    }
}

//! The token in the header of a LUKS2 disk that says how its key is sealed, in the form of systemd: what one of us enrols,
//! the other one unlocks.

use std::num::NonZeroU32;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use ring::pbkdf2;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Home, NotSealed, Pcrs, Sealed, Signer};

/// The type of such tokens.
pub const TYPE: &str = "systemd-tpm2";
/// How often a PIN is hashed with its salt.
const ROUNDS: u32 = 10_000;
/// What says that a slot is kept as a manifest asks, and by nobody else: true, beside what systemd writes.
pub const KEPT: &str = "piccolo_disk";
/// The largest text of a token.
const LARGEST: usize = 64 << 10;
/// The most key slots of a disk.
const SLOTS: u8 = 32;

/// How the key in one slot of a disk is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The slot that it opens.
    pub slot: u8,
    /// The key of the slot, sealed.
    pub sealed: Sealed,
    /// What a PIN is hashed with, where there is one; systemd before 253 has none.
    pub salt: Option<Vec<u8>>,
    /// True if it is kept as the manifest of its disk asks.
    pub kept: bool,
}

/// Why a token can't be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotToken {
    /// It is of another type, or damaged.
    #[error("this is no token of type systemd-tpm2: `{0}` is missing or not what it has to be")]
    Shape(&'static str),
    /// It asks for what is not done here.
    #[error(
        "this token asks for {0}, which is not done here; unlock the disk with systemd-cryptsetup or its recovery key"
    )]
    Unable(&'static str),
    /// What is sealed can't be read.
    #[error("the token can't be used: {0}")]
    Sealed(#[from] NotSealed),
}

impl Token {
    /// Reads a token as `cryptsetup token export` writes it.
    ///
    /// # Errors
    /// When it is no such token, or asks for what is not done here.
    pub fn read(text: &str) -> Result<Self, NotToken> {
        let json: Value = Some(text)
            .filter(|it| it.len() <= LARGEST)
            .and_then(|it| serde_json::from_str(it).ok())
            .ok_or(NotToken::Shape("type"))?;
        if json["type"] != TYPE {
            return Err(NotToken::Shape("type"));
        }
        refuse_what_is_not_done(&json)?;
        let slot = only(&json["keyslots"]).and_then(|it| it.parse().ok()).filter(|it| *it < SLOTS);
        let numbers = json["tpm2-pcrs"].as_array().ok_or(NotToken::Shape("tpm2-pcrs"))?;
        let numbers: Option<Vec<u64>> = numbers.iter().map(Value::as_u64).collect();
        let policy = only(&json["tpm2-policy-hash"]).and_then(|it| HEXLOWER_PERMISSIVE.decode(it.as_bytes()).ok());
        let sealed = Sealed {
            blob: only(&json["tpm2-blob"]).and_then(decoded).ok_or(NotToken::Shape("tpm2-blob"))?,
            pcrs: numbers.and_then(Pcrs::of).ok_or(NotToken::Shape("tpm2-pcrs"))?,
            pin: flag(&json, "tpm2-pin")?,
            policy: policy.filter(|it| it.len() == 32).ok_or(NotToken::Shape("tpm2-policy-hash"))?,
            signer: signer(&json)?,
            home: optional(&json, "tpm2_srk")?.map(Home::read).transpose()?,
        };
        sealed.parts()?;
        let (slot, salt) = (slot.ok_or(NotToken::Shape("keyslots"))?, optional(&json, "tpm2_salt")?);
        Ok(Self { slot, sealed, salt, kept: json[KEPT] == true })
    }

    /// Writes it as `cryptsetup token import` reads it.
    pub fn write(&self) -> String {
        let sealed = &self.sealed;
        let mut json = json!({
            "type": TYPE, "keyslots": [self.slot.to_string()],
            "tpm2-blob": BASE64.encode(&sealed.blob), "tpm2-pcrs": sealed.pcrs, "tpm2-pcr-bank": "sha256",
            "tpm2-primary-alg": "ecc", "tpm2-policy-hash": data_encoding::HEXLOWER.encode(&sealed.policy),
        });
        if self.kept {
            json[KEPT] = json!(true);
        }
        if sealed.pin {
            json["tpm2-pin"] = json!(true);
        }
        if let Some(salt) = &self.salt {
            json["tpm2_salt"] = json!(BASE64.encode(salt));
        }
        if let Some(signer) = &sealed.signer {
            json["tpm2_pubkey_pcrs"] = json!(signer.pcrs);
            json["tpm2_pubkey"] = json!(BASE64.encode(&signer.key));
        }
        if let Some(home) = &sealed.home {
            json["tpm2_srk"] = json!(BASE64.encode(home.bytes()));
        }
        json.to_string()
    }
}

/// Returns a PIN as the chip takes it.
pub fn pin(typed: &str, salt: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let typed = match salt {
        None => Zeroizing::new(typed.to_owned()),
        Some(salt) => {
            let mut key = Zeroizing::new([0; 32]);
            let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, typed.as_bytes(), &mut *key);
            Zeroizing::new(BASE64.encode(&*key))
        }
    };
    let mut digest = Zeroizing::new(Sha256::digest(typed.as_bytes()).to_vec());
    // A chip ignores zeros at the end, so systemd leaves them away.
    while digest.last() == Some(&0) {
        digest.pop();
    }
    digest
}

/// Returns what opens the slot: the secret as text.
pub fn passphrase(secret: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(secret))
}

fn refuse_what_is_not_done(json: &Value) -> Result<(), NotToken> {
    let is_given = |key: &str| !matches!(&json[key], Value::Null | Value::Bool(false)) && json[key] != json!([]);
    match () {
        () if json["tpm2-pcr-bank"].as_str().is_some_and(|it| it != "sha256") => {
            Err(NotToken::Unable("registers of another bank than sha256"))
        }
        () if json["tpm2-primary-alg"].as_str().is_some_and(|it| it != "ecc") => {
            Err(NotToken::Unable("a primary key of RSA"))
        }
        () if is_given("tpm2_pcrlock") => Err(NotToken::Unable("the policy of systemd-pcrlock")),
        () if json["tpm2-blob"].as_array().is_some_and(|it| it.len() > 1) => Err(NotToken::Unable("several shards")),
        () => Ok(()),
    }
}

/// Returns whose signature counts by a token; nobody's where no register is named.
///
/// # Errors
/// When that can't be read, or is no key that a TPM checks by.
pub fn signer(json: &Value) -> Result<Option<Signer>, NotToken> {
    const PCRS: &str = "tpm2_pubkey_pcrs";
    let pcrs = match &json[PCRS] {
        Value::Null => Pcrs::NONE,
        all => serde_json::from_value(all.clone()).map_err(|_| NotToken::Shape(PCRS))?,
    };
    if pcrs.is_empty() {
        return Ok(None);
    }
    let key = optional(json, "tpm2_pubkey")?.ok_or(NotToken::Shape("tpm2_pubkey"))?;
    let unable = |_| NotToken::Unable("signatures of a key that is none of RSA");
    Signer::new(key, pcrs).map(Some).map_err(unable)
}

/// Returns a text, or the only one of a list.
fn only(value: &Value) -> Option<&str> {
    match value {
        Value::Array(all) if all.len() == 1 => all[0].as_str(),
        other => other.as_str(),
    }
}

fn flag(json: &Value, key: &'static str) -> Result<bool, NotToken> {
    match &json[key] {
        Value::Null => Ok(false),
        other => other.as_bool().ok_or(NotToken::Shape(key)),
    }
}

fn optional(json: &Value, key: &'static str) -> Result<Option<Vec<u8>>, NotToken> {
    match &json[key] {
        Value::Null => Ok(None),
        other => other.as_str().and_then(decoded).map(Some).ok_or(NotToken::Shape(key)),
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests;

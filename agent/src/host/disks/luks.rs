use std::fmt;

use piccolo_schema::disk::{Encryption, Passphrase, Tang};
use serde::{Deserialize, Serialize};

use super::{DiskSeen, Half, Signature, label};
use crate::host::{HostError, Pcrs, Reason};

/// What an encrypted disk is, in the word of util-linux.
pub const LUKS: &str = "crypto_LUKS";
/// Where the kernel shows what is inside of encrypted disks, below `/dev`.
const MAPPED: &str = "mapper/";

/// What is said where signatures are asked for, and the system says of nobody that he makes them.
const UNSIGNED: &str = "The system that runs brings no key of RSA along whose signatures over its image count \
                        (/run/systemd/tpm2-pcr-public-key.pem, which systemd's boot stub puts there); start an image that is \
                        signed, or take `signedPcr11` out";

/// A disk or partition that is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LuksSeen {
    /// What the kernel calls it now, `sda` or `sda1`.
    pub device: String,
    /// Its UUID, which is not that of what is inside.
    pub uuid: String,
    /// Its keys, by the numbers of their slots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeySeen>,
    /// What is inside, while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    /// True if we wrote down that what is inside is written over: it is a half that is filled, and was not seen whole yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filling: bool,
}

/// A key slot of an encrypted disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeySeen {
    /// Its number.
    pub slot: u8,
    /// What opens it.
    pub by: OpenedBy,
    /// The registers that have to be as they were, where a TPM opens it by these alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcrs: Option<Pcrs>,
    /// Whose signatures over the kernel's image count besides, by the name of that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// The secret that the passphrase is of, where that is known: `name/key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The server in the network that opens it, where a manifest asked for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tang: Option<Tang>,
    /// True if that secret holds another value by now, which does not open it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outdated: bool,
    /// When somebody last typed the recovery key that opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proved: Option<jiff::Timestamp>,
}

/// What opens a key slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpenedBy {
    /// A TPM.
    Tpm2,
    /// A recovery key.
    Recovery,
    /// A passphrase in a secret.
    Passphrase,
    /// A server in the network.
    Tang,
    /// Something that nothing is known of, as a passphrase of a person.
    #[default]
    Unknown,
}

/// What is inside of an encrypted disk that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Opened {
    /// What it is called below `/dev`: `mapper/pic-721c9525`.
    pub device: String,
    /// What is found there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signature>,
    /// What the half of a file system that is there says of itself, where that is on several disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half: Option<Half>,
    /// Why it can't be told what is there, or of what it is a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// An encrypted disk that was opened for a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Unlocked {
    /// The manifest.
    pub subject: String,
    /// What is inside, below `/dev`.
    pub device: String,
}

/// An encrypted disk that nothing on this machine opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Locked {
    /// The manifest.
    pub subject: String,
    /// The UUID of the encrypted disk.
    pub uuid: String,
    /// Why, in a sentence without an end.
    pub why: String,
}

/// An encrypted disk that has a slot of ours for the TPM, which the TPM does not open as the machine started this time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shut {
    /// The UUID of the encrypted disk.
    pub uuid: String,
    /// What the TPM says, in a sentence without an end.
    pub why: String,
    /// What is different from the last good start, of that which the slot is bound to, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
}

/// What is done with the keys of an encrypted disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyOrder {
    /// What the kernel calls the encrypted disk or partition now.
    pub device: String,
    /// Its UUID.
    pub uuid: String,
    /// The server that the manifest names, if it names one. No other one is asked because the header says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tang: Option<Tang>,
    /// Which half it is, where the manifest asks for two disks, or which partition, where a person asks for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half: Option<HalfKey>,
    /// What is done.
    pub act: KeyAct,
}

/// One of several that are encrypted for a manifest. Each is opened under a name of its own: a third one may be filled beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HalfKey {
    /// The name under which it is remembered that it is open. No manifest has it.
    pub under: String,
    /// The disk, for people.
    pub what: String,
}

/// One turn of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeyAct {
    /// Opens the disk by the first of these that does: the TPM, where it has a slot, and the passphrase.
    Open {
        /// The secret of the passphrase, if there is one.
        passphrase: Option<Passphrase>,
        /// The secrets that the header names besides: what opened it before the manifest changed still does.
        others: Vec<Passphrase>,
        /// True if the disk is told at once which of its blocks are free, which shows to others where data lies.
        discard: bool,
    },
    /// Opens it by a key of chance that nobody keeps, and makes swap inside: what was there before can't be read any more.
    OpenAnew {
        /// True if the disk is told at once which of its blocks are free.
        discard: bool,
    },
    /// Closes it.
    Close,
    /// Adds a slot.
    Add {
        /// What shall open it.
        key: NewKey,
        /// The passphrase that opens the disk already, if there is one. The TPM is asked first.
        passphrase: Option<Passphrase>,
    },
    /// Takes a slot away, for which another key has to open the disk.
    Remove {
        /// Its number.
        slot: u8,
        /// What opens it, for people. The slot stays if that is something else by now.
        what: String,
        /// True if it stays also where no recovery key was proved.
        proved: bool,
        /// The passphrase that still opens the disk, if there is one. The TPM is asked first.
        passphrase: Option<Passphrase>,
    },
}

/// What shall open a new slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NewKey {
    /// The TPM.
    Tpm2(Bound),
    /// A server in the network.
    Tang(Tang),
    /// A passphrase.
    Passphrase(Passphrase),
}

/// What a slot of the TPM is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bound {
    /// The registers that have to be as they are now.
    pub pcrs: Pcrs,
    /// Whose signature over the register of the kernel's image is needed besides, by the name of that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "registers {}", self.pcrs)?;
        match &self.signed {
            Some(signed) => write!(f, ", and 11 as {signed} signs it"),
            None => Ok(()),
        }
    }
}

impl KeyOrder {
    /// Returns the name under which the disk of a manifest is opened by it.
    pub fn under<'a>(&'a self, subject: &'a str) -> &'a str {
        self.half.as_ref().map_or(subject, |it| &it.under)
    }
}

impl Default for KeyAct {
    fn default() -> Self {
        Self::Open { passphrase: None, others: Vec::new(), discard: false }
    }
}

impl KeySeen {
    /// Returns what a slot of the TPM is bound to, where that is known.
    pub fn bound(&self) -> Option<Bound> {
        Some(Bound { pcrs: self.pcrs?, signed: self.signed.clone() })
    }

    /// Says what opens it, for people.
    pub fn words(&self) -> String {
        match (self.by, &self.secret) {
            (OpenedBy::Tpm2, _) => self.bound().map_or("the TPM".to_owned(), |it| format!("the TPM ({it})")),
            (OpenedBy::Tang, _) => match &self.tang {
                Some(tang) => format!("the server {}", tang.url),
                None => "a server".to_owned(),
            },
            (OpenedBy::Recovery, _) => "a recovery key".to_owned(),
            (OpenedBy::Passphrase, Some(secret)) => format!("the secret {secret}"),
            (OpenedBy::Passphrase | OpenedBy::Unknown, _) => "a passphrase".to_owned(),
        }
    }
}

impl Opened {
    /// Returns the one thing that is inside, if it is one thing alone.
    pub fn whole(&self) -> Option<&Signature> {
        let first = self.signatures.first()?;
        self.signatures.iter().all(|it| it.kind == first.kind && it.uuid == first.uuid).then_some(first)
    }

    /// Returns what the kernel's tree of devices calls it.
    pub fn name(&self) -> &str {
        mapped_name(&self.device).unwrap_or(&self.device)
    }
}

impl LuksSeen {
    /// Returns what an encryption asks for and does not open it yet.
    pub fn lacks(&self, encryption: &Encryption, bound: Option<&Bound>) -> Vec<NewKey> {
        let has = |is_it: &dyn Fn(&KeySeen) -> bool| self.keys.iter().any(is_it);
        let chip = bound.filter(|it| !has(&|key| key.by == OpenedBy::Tpm2 && key.bound().as_ref() == Some(it)));
        let server = encryption.tang.as_ref().filter(|it| !has(&|key| key.tang.as_ref() == Some(it)));
        let opens = |key: &KeySeen, secret: &str| key.secret.as_deref() == Some(secret) && !key.outdated;
        let secret = encryption.passphrase.as_ref().filter(|it| !has(&|key| opens(key, &it.to_string())));
        let chip = chip.cloned().map(NewKey::Tpm2).into_iter();
        chip.chain(server.cloned().map(NewKey::Tang)).chain(secret.cloned().map(NewKey::Passphrase)).collect()
    }
}

impl DiskSeen {
    /// Returns the encrypted disk or partition of this UUID.
    pub fn luks(&self, uuid: &str) -> Option<&LuksSeen> {
        self.luks.iter().find(|it| it.uuid.eq_ignore_ascii_case(uuid))
    }

    /// Returns the device that holds a file system, also one inside of what is encrypted and open.
    pub fn device_of(&self, uuid: &str) -> Option<&str> {
        let is_it = |it: &&Signature| it.uuid.as_deref().is_some_and(|has| has.eq_ignore_ascii_case(uuid));
        let opened = self.luks.iter().filter_map(|it| it.opened.as_ref());
        let inside = opened.filter(|it| it.whole().as_ref().is_some_and(is_it)).map(|it| it.device.as_str()).next();
        inside.or_else(|| self.holds(uuid).map(|(device, _)| device))
    }
}

/// Returns where below `/dev` the inside of a manifest's disk is once it was opened here.
pub fn mapped(subject: &str) -> String {
    format!("{MAPPED}{}", label(subject))
}

/// Returns what the kernel calls the inside of an encrypted disk, if this is one.
pub fn mapped_name(device: &str) -> Option<&str> {
    device.strip_prefix(MAPPED)
}

/// Returns what the slot of the TPM shall be bound to, if an encryption asks for one. The signer is whose signatures come with
/// this system.
///
/// # Errors
/// When signatures are asked for, and there is none.
pub fn bound(encryption: &Encryption, signer: Option<&str>) -> Result<Option<Bound>, HostError> {
    let Some(tpm2) = &encryption.tpm2 else { return Ok(None) };
    // The schema lets no other numbers through.
    let pcrs = Pcrs::of(tpm2.pcrs.iter().map(|pcr| u64::from(*pcr))).unwrap_or_default();
    let signed = match (tpm2.signed_pcr11, signer) {
        (false, _) => None,
        (true, Some(signer)) => Some(signer.to_owned()),
        (true, None) => return Err(HostError::new(Reason::Gone, UNSIGNED)),
    };
    Ok(Some(Bound { pcrs, signed }))
}

use std::{
    io::{self, Write},
    iter,
    str::FromStr,
};

use age::{
    DecryptError, Decryptor, Encryptor,
    armor::{ArmoredReader, ArmoredWriter, Format},
    x25519,
};

use super::Plain;

/// Somebody who can read a value that is encrypted for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// Why a value can't be opened. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is for others.
    #[error("it is not encrypted for this machine")]
    NotForUs,
    /// It was changed or cut after it was encrypted.
    #[error("it is damaged")]
    Damaged,
    /// It is of a size that no secret has.
    #[error("it is larger than a secret can be, 256 KiB")]
    TooLarge,
}

/// Why a value can't be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nobody could read it.
    #[error("there is nobody to encrypt for")]
    NoRecipient,
    /// The bytes could not be written.
    #[error("the value can't be encrypted")]
    Encrypt(#[source] io::Error),
}

/// Encrypts a value for each of these recipients, in armour.
///
/// # Errors
/// When there is no recipient, or no entropy.
pub fn seal(value: &Plain, recipients: &[Recipient]) -> Result<String, SealError> {
    let all = recipients.iter().map(|it| -> &dyn age::Recipient { &it.0 });
    let encryptor = Encryptor::with_recipients(all).map_err(|_| SealError::NoRecipient)?;
    let mut armour = Vec::new();
    let write = || -> io::Result<()> {
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(&mut armour, Format::AsciiArmor)?)?;
        writer.write_all(value.expose())?;
        writer.finish()?.finish().map(drop)
    };
    write().map_err(SealError::Encrypt)?;
    String::from_utf8(armour).map_err(|error| SealError::Encrypt(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Decrypts what is in armour.
pub(super) fn open(armour: &str, identity: &x25519::Identity) -> Result<Plain, OpenError> {
    let armour = armour.trim();
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(armour.as_bytes())).map_err(|error| cause(&error))?;
    let reader = decryptor.decrypt(iter::once::<&dyn age::Identity>(identity)).map_err(|error| cause(&error))?;
    Plain::read(reader, armour.len()).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => OpenError::TooLarge,
        _ => OpenError::Damaged,
    })
}

const fn cause(error: &DecryptError) -> OpenError {
    match error {
        DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed => OpenError::NotForUs,
        _ => OpenError::Damaged,
    }
}

impl Recipient {
    /// Takes over what an identity gives.
    pub(super) const fn new(recipient: x25519::Recipient) -> Self {
        Self(recipient)
    }
}

impl FromStr for Recipient {
    type Err = String;

    /// Reads `age1…`. What is wrong is not repeated: it may be a key that must stay secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let words = || "this is no recipient: write `age1…` as `piccolo secret recipient` prints it".to_owned();
        text.trim().parse().map(Self).map_err(|_| words())
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

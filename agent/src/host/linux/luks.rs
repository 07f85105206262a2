//! The key slots of LUKS2 disks, by the program `cryptsetup`.
//!
//! Keys go to it by files in memory, which are gone once it ends: an argument could be read by everybody, and its standard
//! input takes one key only.

mod reseal;
pub(super) mod whole;

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::timeout};
use zeroize::Zeroizing;

use self::whole::Strength;
use super::{
    program::{failed, not_started, program},
    vault::is_in_memory,
};
use crate::{
    host::{
        Above, HostError, Pcrs, Reason, Signer, Terms, Tpm,
        tpm::token::{self, NotToken, Token},
    },
    secrets::Plain,
};

const CRYPTSETUP: &str = "cryptsetup";
/// How long `cryptsetup` may take: it makes a key slow to guess on purpose.
const PATIENCE: Duration = Duration::from_secs(120);
/// How the names of files with keys begin.
const KEY_FILE: &str = ".key-";
/// The most of its answers that is read.
const LARGEST: usize = 1 << 20;

/// The key slots of one disk.
pub struct Slots {
    device: PathBuf,
    /// A directory in memory, for root alone.
    memory: PathBuf,
}

/// How a TPM shall open a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Enrolment<'a> {
    /// The registers that have to be as they are now.
    pub pcrs: Pcrs,
    /// What has to be typed as well.
    pub pin: Option<&'a str>,
    /// The key to seal under: the old one where systemd before 254, as in Debian 12, shall unlock the disk too.
    pub above: Above,
}

/// Has the TPM seal what shall open a new slot, and returns that with the token that says how, but for the slot's number.
pub(super) async fn sealed(
    chip: &impl Tpm,
    (wish, kept): (&Enrolment<'_>, bool),
    signer: Option<&Signer>,
) -> Result<(Zeroizing<String>, Token), HostError> {
    let (pin, terms) = (wish.pin, Terms { signer: signer.cloned(), ..Terms::now(wish.pcrs) });
    // Systemd before 253 knows of no salt.
    let salt = pin.filter(|_| wish.above == Above::Shared).map(|_| random()).transpose()?;
    let secret = Zeroizing::new(random()?.to_vec());
    let pin = pin.map(|it| token::pin(it, salt.as_ref().map(|salt| salt.as_slice())));
    let sealed = chip.seal_on(&secret, &terms, pin.as_ref(), wish.above).await?;
    // Only what the chip gives back is worth a slot.
    if chip.unseal(&sealed, pin.as_ref()).await? != secret {
        return Err(HostError::new(Reason::Failed, "The TPM gave something else back than it was given"));
    }
    Ok((token::passphrase(&secret), Token { slot: 0, sealed, salt: salt.map(|it| it.to_vec()), kept }))
}

impl Slots {
    /// Looks after the slots of this disk; keys are handed over in this directory, which has to lie in memory.
    pub const fn new(device: PathBuf, memory: PathBuf) -> Self {
        Self { device, memory }
    }

    /// Adds a slot that the TPM opens, and the token that says how. Whoever holds `key` may do so.
    ///
    /// # Errors
    /// When the key opens nothing, or the TPM or `cryptsetup` fail; then no slot and no token is left.
    pub async fn enrol(&self, chip: &impl Tpm, key: &Plain, wish: &Enrolment<'_>) -> Result<Token, HostError> {
        self.enrol_signed(chip, key, wish, None).await
    }

    /// Does the same with a slot that opens by signatures over further registers as well.
    ///
    /// # Errors
    /// As above, and when no signature covers this start.
    pub async fn enrol_signed(
        &self,
        chip: &impl Tpm,
        key: &Plain,
        wish: &Enrolment<'_>,
        signer: Option<&Signer>,
    ) -> Result<Token, HostError> {
        self.enrol_as(chip, key, (wish, false), signer).await
    }

    /// Does the same with a slot that is kept as a manifest asks, or that is not.
    async fn enrol_as(
        &self,
        chip: &impl Tpm,
        key: &Plain,
        (wish, kept): (&Enrolment<'_>, bool),
        signer: Option<&Signer>,
    ) -> Result<Token, HostError> {
        let (passphrase, token) = sealed(chip, (wish, kept), signer).await?;
        let slot = self.add(key, &Plain::new(passphrase.as_bytes().to_vec())).await?;
        let token = Token { slot, ..token };
        let written = self.import(&token.write()).await;
        if written.is_err() {
            // The first error is the one to tell.
            drop(self.kill(slot, key).await);
        }
        written.map(|()| token)
    }

    /// Has the TPM give back what opens a slot, by the first token that it can.
    ///
    /// # Errors
    /// When there is no token, or none that it opens.
    pub async fn unlock(&self, chip: &impl Tpm, pin: Option<&str>) -> Result<(u8, Plain), HostError> {
        let mut last = HostError::new(Reason::Gone, "The disk has no token of a TPM; use its recovery key");
        for (_, token) in self.tokens().await? {
            let token = match token {
                Ok(token) => token,
                Err(error) => {
                    last = HostError::new(Reason::Refused, sentence(error));
                    continue;
                }
            };
            let pin = pin.map(|it| token::pin(it, token.salt.as_deref()));
            match chip.unseal(&token.sealed, pin.as_ref()).await {
                Ok(secret) => {
                    return Ok((token.slot, Plain::new(token::passphrase(&secret).as_bytes().to_vec())));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns whether a key opens this slot, or any. Nothing is changed, and nothing is opened.
    ///
    /// # Errors
    /// When `cryptsetup` can't look.
    pub async fn opens(&self, slot: Option<u8>, key: &Plain) -> Result<bool, HostError> {
        let file = KeyFile::new(&self.memory, key)?;
        let mut words = words(&["open", "--test-passphrase", "--disable-external-tokens", "--key-file"]);
        words.push(file.text());
        if let Some(slot) = slot {
            words.extend(["--key-slot".to_owned(), slot.to_string()]);
        }
        words.push(self.text());
        match self.run(&words, None).await? {
            Ended::Well(_) => Ok(true),
            // No key available with this passphrase.
            Ended::Badly(2, _) => Ok(false),
            Ended::Badly(_, complaint) if is_unused(&complaint) => Ok(false),
            Ended::Badly(_, complaint) => Err(failed(CRYPTSETUP, &complaint)),
        }
    }

    /// Returns every token of a TPM by its number, or why it can't be used here.
    ///
    /// # Errors
    /// When `cryptsetup` can't look.
    pub async fn tokens(&self) -> Result<Vec<(u8, Result<Token, NotToken>)>, HostError> {
        let header = self.header().await?;
        let all = header["tokens"].as_object().into_iter().flatten();
        // One of no slot opens nothing.
        let of_chip = all.filter(|(_, it)| it["type"] == token::TYPE && !whole::slots_of(it).is_empty());
        Ok(of_chip
            .filter_map(|(number, token)| Some((number.parse().ok()?, Token::read(&token.to_string()))))
            .collect())
    }

    /// Adds a key, and returns its slot.
    async fn add(&self, key: &Plain, new: &Plain) -> Result<u8, HostError> {
        // What is added has 256 bits: it need not be slow to guess.
        self.add_as(key, new, &Strength::Random.words()).await
    }

    async fn add_as(&self, key: &Plain, new: &Plain, derivation: &[String]) -> Result<u8, HostError> {
        let before = self.slots().await?;
        let (old, new_file) = (KeyFile::new(&self.memory, key)?, KeyFile::new(&self.memory, new)?);
        let mut words = words(&["luksAddKey", "--batch-mode", "--key-file"]);
        words.push(old.text());
        words.extend_from_slice(derivation);
        words.extend([self.text(), new_file.text()]);
        let added = self.done(&words, None).await;
        let mut failed = HostError::new(Reason::Failed, "The key that was added to the disk opens no slot of it");
        for slot in self.slots().await?.difference(&before) {
            let opens = self.opens(Some(*slot), new).await;
            if added.is_ok() && matches!(opens, Ok(true)) {
                return Ok(*slot);
            }
            if !matches!(opens, Ok(false)) {
                // Nothing would know what it is. The first error is the one to tell.
                drop(self.kill(*slot, key).await);
            }
            failed = opens.err().unwrap_or(failed);
        }
        added.and(Err(failed))
    }

    /// Returns the slots that are in use.
    async fn slots(&self) -> Result<BTreeSet<u8>, HostError> {
        let header = self.header().await?;
        let all = header["keyslots"].as_object().into_iter().flatten();
        Ok(all.filter_map(|(slot, _)| slot.parse().ok()).collect())
    }

    async fn header(&self) -> Result<Value, HostError> {
        let words = [words(&["luksDump", "--dump-json-metadata"]), vec![self.text()]].concat();
        let text = self.done(&words, None).await?;
        let strange = |_| HostError::new(Reason::Failed, format!("`{CRYPTSETUP}` said nothing that can be understood"));
        serde_json::from_slice(&text).map_err(strange)
    }

    /// Writes a token.
    async fn import(&self, token: &str) -> Result<(), HostError> {
        let words = [words(&["token", "import", "--json-file", "-"]), vec![self.text()]].concat();
        self.done(&words, Some(token.as_bytes())).await.map(drop)
    }

    async fn done(&self, words: &[String], input: Option<&[u8]>) -> Result<Vec<u8>, HostError> {
        match self.run(words, input).await? {
            Ended::Well(text) => Ok(text),
            Ended::Badly(2, _) => Err(HostError::new(
                Reason::PermissionDenied,
                format!("The key does not open {}", self.device.display()),
            )),
            Ended::Badly(_, complaint) => Err(failed(CRYPTSETUP, &complaint)),
        }
    }

    async fn run(&self, words: &[String], input: Option<&[u8]>) -> Result<Ended, HostError> {
        let mut command = program(CRYPTSETUP);
        command.args(words).stdout(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let ends = async {
            let mut child = command.spawn()?;
            if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
                pipe.write_all(text).await?;
            }
            child.wait_with_output().await
        };
        let output = match timeout(PATIENCE, ends).await {
            Err(_) => {
                return Err(HostError::new(Reason::TimedOut, format!("`{CRYPTSETUP}` took longer than {PATIENCE:?}")));
            }
            Ok(output) => output.map_err(|error| not_started(CRYPTSETUP, &error))?,
        };
        match output.status.code() {
            Some(0) if output.stdout.len() <= LARGEST => Ok(Ended::Well(output.stdout)),
            code => Ok(Ended::Badly(code.unwrap_or_default(), output.stderr)),
        }
    }

    fn text(&self) -> String {
        self.device.display().to_string()
    }
}

/// How `cryptsetup` ended.
enum Ended {
    Well(Vec<u8>),
    Badly(i32, Vec<u8>),
}

/// Takes the files of keys away that are older than this: whoever wrote them is gone.
pub(super) fn sweep(memory: &Path, older: Duration) {
    let entries = fs::read_dir(memory).into_iter().flatten().flatten();
    let is_key = |it: &fs::DirEntry| it.file_name().to_str().is_some_and(|name| name.starts_with(KEY_FILE));
    let age = |it: &fs::DirEntry| it.metadata().ok()?.modified().ok()?.elapsed().ok();
    for left in entries.filter(|it| is_key(it) && age(it).is_some_and(|age| age >= older)) {
        drop(fs::remove_file(left.path()));
    }
}

/// A key in a file in memory; wiped when this is dropped.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(memory: &Path, key: &Plain) -> Result<Self, HostError> {
        let path = memory.join(format!("{KEY_FILE}{:032x}", fastrand::u128(..)));
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(memory)?;
            if !is_in_memory(memory)? {
                return Err(io::Error::other("it does not lie in memory"));
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(key.expose())
        };
        let file = Self(path.clone());
        write().map_err(|error| {
            HostError::new(Reason::Failed, format!("No key can be handed over in {} ({error})", memory.display()))
        })?;
        Ok(file)
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        // In memory nothing of it stays.
        drop(fs::remove_file(&self.0));
    }
}

fn is_unused(complaint: &[u8]) -> bool {
    String::from_utf8_lossy(complaint).contains("No usable keyslot")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(super) fn random() -> Result<Zeroizing<[u8; 32]>, HostError> {
    let mut bytes = Zeroizing::new([0; 32]);
    let filled = getrandom::fill(&mut *bytes);
    filled.map_err(|error| HostError::new(Reason::Failed, format!("The kernel gives no random bytes ({error})")))?;
    Ok(bytes)
}

fn sentence(error: NotToken) -> String {
    format!("The disk can't be unlocked by the TPM: {error}")
}

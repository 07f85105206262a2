//! A whole encrypted disk: how it is made, opened and closed, and what is known of its keys.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{CRYPTSETUP, Ended, KeyFile, Slots, token, words};
use crate::{
    clock,
    host::{HostError, KeySeen, OpenedBy, Pcrs, Reason, Signer},
    secrets::{Plain, RecoveryKey},
};

/// The type of tokens that tell of a recovery key, which is systemd's.
pub(in crate::host::linux) const RECOVERY: &str = "systemd-recovery";
/// The type of tokens by which Clevis opens a disk.
pub(in crate::host::linux) const CLEVIS: &str = "clevis";
/// Where it is kept which server a manifest asked for.
pub(in crate::host::linux) const TANG: &str = "piccolo_tang";
/// The type of tokens that tell of a passphrase in a secret.
pub(in crate::host::linux) const PASSPHRASE: &str = "piccolo-passphrase";
/// The type of tokens that tell that a passphrase is about to be added, and which slots there were before.
const INTENT: &str = "piccolo-adding";
/// Where it is kept when a recovery key was last typed.
const PROVED: &str = "piccolo_proved";
/// What a guess at a passphrase costs: a quarter of a gibibyte, four times over. Each machine is as slow at it as it is, so that
/// nobody has to measure first, and the disk opens on a small one too.
const COSTS: [&str; 8] =
    ["--pbkdf", "argon2id", "--pbkdf-memory", "262144", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2"];

/// How the kernel calls what is mapped by a key that no header knows.
const PASSING: &str = "CRYPT-PLAIN-";
/// Where what is behind a header of LUKS2 begins, in sectors of 512 bytes.
const BEHIND_HEADER: &str = "32768";

/// How hard a key is to guess without any help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host::linux) enum Strength {
    /// It has 256 bits of chance.
    Random,
    /// A person has chosen it.
    Chosen,
}

impl Strength {
    pub(super) fn words(self) -> Vec<String> {
        match self {
            Self::Random => words(&["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]),
            Self::Chosen => words(&COSTS),
        }
    }
}

impl Slots {
    /// Encrypts the disk anew, with this key in the first slot. What was on it is lost.
    pub(in crate::host::linux) async fn format(
        &self,
        key: &Plain,
        strength: Strength,
        label: &str,
    ) -> Result<(), HostError> {
        let first = ["luksFormat", "--type", "luks2", "--batch-mode", "--key-slot", "0", "--key-file", "-", "--label"];
        let mut all = words(&first);
        all.push(label.to_owned());
        all.extend(strength.words());
        all.push(self.text());
        self.done(&all, Some(key.expose())).await.map(drop)
    }

    /// Opens the disk under a name.
    pub(in crate::host::linux) async fn open(&self, key: &Plain, name: &str, discard: bool) -> Result<(), HostError> {
        // With the key in the kernel's keyring it could be made larger only by who has it.
        let first = ["open", "--type", "luks2", "--disable-external-tokens", "--disable-keyring", "--key-file", "-"];
        let mut all = words(&first);
        all.extend(discard.then(|| "--allow-discards".to_owned()));
        all.extend([self.text(), name.to_owned()]);
        self.done(&all, Some(key.expose())).await.map(drop)
    }

    /// Takes every key away, so that nothing opens the disk any more.
    pub(in crate::host::linux) async fn forget_all(&self) -> Result<(), HostError> {
        let mut all = words(&["luksErase", "--batch-mode"]);
        all.push(self.text());
        self.done(&all, None).await.map(drop)
    }

    /// Gives the disk a label.
    pub(in crate::host::linux) async fn label(&self, label: &str) -> Result<(), HostError> {
        let mut all = words(&["config", "--label", label]);
        all.push(self.text());
        self.done(&all, None).await.map(drop)
    }

    /// Adds a slot for a key, with a token that says what it is. Whoever holds `key` may do so.
    pub(in crate::host::linux) async fn add_with(
        &self,
        key: &Plain,
        new: &Plain,
        strength: Strength,
        token: Value,
    ) -> Result<u8, HostError> {
        if strength == Strength::Random {
            return self.add_told(key, new, strength, token).await;
        }
        if let Some(slot) = self.untold(new).await? {
            // It was added before, and the machine went down before its token was written.
            self.tell(slot, token).await?;
            return self.forget_intents().await.map(|()| slot);
        }
        self.forget_intents().await?;
        let before: Vec<String> = self.slots().await?.iter().map(u8::to_string).collect();
        self.import(&json!({ "type": INTENT, "keyslots": [], "before": before }).to_string()).await?;
        let added = self.add_told(key, new, strength, token).await;
        let forgotten = self.forget_intents().await;
        added.and_then(|slot| forgotten.map(|()| slot))
    }

    async fn add_told(&self, key: &Plain, new: &Plain, strength: Strength, token: Value) -> Result<u8, HostError> {
        let slot = self.add_as(key, new, &strength.words()).await?;
        let written = self.tell(slot, token).await;
        if written.is_err() {
            // The first error is the one to tell.
            drop(self.kill(slot, key).await);
        }
        written.map(|()| slot)
    }

    async fn forget_intents(&self) -> Result<(), HostError> {
        self.forget_tokens(&numbers_with(&self.header().await?, |it| it["type"] == INTENT)).await
    }

    /// Returns a slot that this key opens, of which no token tells, and that is there since we were about to add one: another
    /// one is a person's, who may have given it the same value.
    async fn untold(&self, key: &Plain) -> Result<Option<u8>, HostError> {
        let header = self.header().await?;
        let all = header["tokens"].as_object().into_iter().flatten();
        let Some((_, intent)) = all.into_iter().find(|(_, it)| it["type"] == INTENT) else { return Ok(None) };
        let Some(before) = intent["before"].as_array() else { return Ok(None) };
        let is_new = |it: &&KeySeen| !before.contains(&json!(it.slot.to_string()));
        for it in keys(&header).iter().filter(|it| it.by == OpenedBy::Unknown).filter(is_new) {
            if self.opens(Some(it.slot), key).await? {
                return Ok(Some(it.slot));
            }
        }
        Ok(None)
    }

    /// Writes a token that says what a slot is.
    pub(in crate::host::linux) async fn tell(&self, slot: u8, mut token: Value) -> Result<(), HostError> {
        token["keyslots"] = json!([slot.to_string()]);
        self.import(&token.to_string()).await
    }

    /// Makes a recovery key, adds its slot, and says so in a token. Nobody has proved to have it yet.
    ///
    /// # Errors
    /// When `key` opens nothing, or `cryptsetup` fails.
    pub async fn recovery_key(&self, key: &Plain) -> Result<(u8, RecoveryKey), HostError> {
        let made = RecoveryKey::of(&super::random()?);
        Ok((self.recovery_slot(key, &made.text()).await?, made))
    }

    /// Does so with one that was made already.
    pub(in crate::host::linux) async fn recovery_slot(&self, key: &Plain, made: &Plain) -> Result<u8, HostError> {
        self.add_with(key, made, Strength::Random, json!({ "type": RECOVERY })).await
    }

    /// Takes all other recovery keys away, for they were made before, unless they are `kept` as their owner's; then takes down
    /// that somebody has typed this one. If that breaks off, nobody takes it for done. Returns its slot.
    ///
    /// # Errors
    /// When it opens no slot that is one of a recovery key.
    pub(in crate::host::linux) async fn prove(
        &self,
        key: &Plain,
        now: jiff::Timestamp,
        kept: bool,
    ) -> Result<u8, HostError> {
        let header = self.header().await?;
        let slots: Vec<u8> = keys(&header).iter().filter(|it| it.by == OpenedBy::Recovery).map(|it| it.slot).collect();
        for slot in &slots {
            if self.opens(Some(*slot), key).await? {
                for other in slots.iter().filter(|it| *it != slot && !kept) {
                    self.kill(*other, key).await?;
                }
                let numbers = numbers_of(&header, *slot);
                self.tell(*slot, json!({ "type": RECOVERY, PROVED: clock::text(now) })).await?;
                self.forget_tokens(&numbers).await?;
                return Ok(*slot);
            }
        }
        let message = format!("This is no recovery key of {}, or it was mistyped", self.text());
        Err(HostError::new(Reason::PermissionDenied, message))
    }

    /// Wipes a slot, and takes away what tokens tell of it. `key` has to open another one, so that the last way in is never
    /// taken.
    ///
    /// # Errors
    /// When it opens none, or `cryptsetup` fails.
    pub async fn kill(&self, slot: u8, key: &Plain) -> Result<(), HostError> {
        let numbers = numbers_of(&self.header().await?, slot);
        let file = KeyFile::new(&self.memory, key)?;
        let mut all = words(&["luksKillSlot", "--batch-mode", "--key-file"]);
        all.extend([file.text(), self.text(), slot.to_string()]);
        self.done(&all, None).await?;
        // `cryptsetup` takes the slot out of the list of a token by itself.
        let header = self.header().await?;
        let mut left = numbers_with(&header, |it| slots_of(it).is_empty());
        // Where it ended suddenly right here before, one of ours is left of then.
        let ours = numbers_with(&header, is_ours);
        left.retain(|it| numbers.contains(it) || ours.contains(it));
        self.forget_tokens(&left).await
    }

    /// Returns what is known of the keys.
    pub(in crate::host::linux) async fn keys(&self) -> Result<Vec<KeySeen>, HostError> {
        Ok(keys(&self.header().await?))
    }

    /// Returns the tokens of a TPM and those of servers that a manifest asked for, as they are.
    pub(in crate::host::linux) async fn opening_tokens(&self) -> Result<Vec<String>, HostError> {
        let header = self.header().await?;
        let all = header["tokens"].as_object().into_iter().flatten();
        // One that somebody else bound is asked for by no manifest, and is sent nowhere.
        let opens = |it: &Value| it["type"] == token::TYPE || it["type"] == CLEVIS && it[TANG].is_object();
        // One of no slot opens nothing.
        Ok(all.filter(|(_, it)| opens(it) && !slots_of(it).is_empty()).map(|(_, it)| it.to_string()).collect())
    }

    async fn forget_tokens(&self, numbers: &[String]) -> Result<(), HostError> {
        for number in numbers {
            let mut all = words(&["token", "remove", "--token-id"]);
            all.extend([number.clone(), self.text()]);
            self.done(&all, None).await?;
        }
        Ok(())
    }
}

/// Maps what is behind the header of a device by a key of chance that nobody keeps. What was there before can't be read.
pub(in crate::host::linux) async fn open_anew(device: &str, name: &str, discard: bool) -> Result<(), HostError> {
    let path = format!("/dev/{device}");
    let mut all = vec!["open", "--type", "plain", "--batch-mode", "--cipher", "aes-xts-plain64", "--key-size", "512"];
    all.extend(["--key-file", "/dev/urandom", "--offset", BEHIND_HEADER]);
    all.extend(discard.then_some("--allow-discards"));
    all.extend([path.as_str(), name]);
    no_device(&all).await
}

/// Returns true if what is open under a name is mapped by a key that nobody keeps.
pub(in crate::host::linux) fn is_passing(name: &str) -> bool {
    let mapped = PASSING.to_owned() + name;
    nodes().any(|node| told(&node, "dm/uuid") == mapped)
}

/// Closes what was opened under a name.
pub(in crate::host::linux) async fn close(name: &str) -> Result<(), HostError> {
    no_device(&["close", name]).await
}

/// Lets what was opened under a name fill the disk below it.
pub(in crate::host::linux) async fn resize(name: &str) -> Result<(), HostError> {
    no_device(&["resize", name]).await
}

async fn no_device(all: &[&str]) -> Result<(), HostError> {
    // No key is handed over, so nowhere is as good as anywhere.
    match Slots::new(PathBuf::new(), PathBuf::new()).run(&words(all), None).await? {
        Ended::Well(_) => Ok(()),
        Ended::Badly(_, complaint) => Err(super::failed(CRYPTSETUP, &complaint)),
    }
}

/// Returns the name under which the disk of this UUID is open on this device, as the kernel tells.
pub(in crate::host::linux) fn opened(uuid: &str, device: &str) -> Option<String> {
    let wanted = format!("CRYPT-LUKS2-{}-", uuid.replace('-', ""));
    nodes().find_map(|node| {
        let (mapped, name) = (told(&node, "dm/uuid"), told(&node, "dm/name"));
        // A state that lies on two disks is given another UUID, while it is open, when one of them is replaced.
        let is_renamed = device.starts_with("md") && mapped.starts_with("CRYPT-LUKS2-");
        let is_meant = is_renamed || mapped.starts_with(&wanted) || mapped.starts_with(&format!("{PASSING}pic-"));
        // One that was pulled out leaves what is inside behind.
        Some(name).filter(|name| is_meant && node.join("slaves").join(device).exists() && !name.is_empty())
    })
}

/// Returns what the kernel maps.
fn nodes() -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let is_one = |it: &std::fs::DirEntry| it.file_name().to_str().is_some_and(|name| name.starts_with("dm-"));
    entries.filter(is_one).map(|it| it.path())
}

fn told(node: &Path, what: &str) -> String {
    std::fs::read_to_string(node.join(what)).unwrap_or_default().trim().to_owned()
}

/// Reads what a header tells of its keys.
fn keys(header: &Value) -> Vec<KeySeen> {
    let all = header["keyslots"].as_object().into_iter().flatten();
    let mut seen: Vec<KeySeen> =
        all.filter_map(|(slot, _)| Some(KeySeen { slot: slot.parse().ok()?, ..KeySeen::default() })).collect();
    seen.sort_by_key(|it| it.slot);
    for (_, told) in header["tokens"].as_object().into_iter().flatten() {
        for key in seen.iter_mut().filter(|it| slots_of(told).contains(&it.slot)) {
            match told["type"].as_str() {
                Some(token::TYPE) => {
                    let numbers = told["tpm2-pcrs"].as_array().into_iter().flatten().map(Value::as_u64);
                    // What `systemd-cryptenroll` or a person enrolled, perhaps with a PIN, is none of ours.
                    let kept = told[token::KEPT] == true;
                    let pcrs = numbers.collect::<Option<Vec<_>>>().and_then(Pcrs::of).filter(|_| kept);
                    (key.by, key.pcrs) = (OpenedBy::Tpm2, pcrs);
                    key.signed = kept.then(|| signed(told)).flatten();
                }
                Some(CLEVIS) if told[TANG].is_object() => {
                    key.by = OpenedBy::Tang;
                    key.tang = serde_json::from_value(told[TANG].clone()).ok();
                }
                Some(RECOVERY) => {
                    let proved = told[PROVED].as_str().and_then(|it| it.parse().ok());
                    (key.by, key.proved) = (OpenedBy::Recovery, key.proved.max(proved));
                }
                Some(PASSPHRASE) => {
                    let secret = told["secret"].as_str().filter(|it| it.len() < 256).map(str::to_owned);
                    (key.by, key.secret) = (OpenedBy::Passphrase, secret);
                }
                _ => {}
            }
        }
    }
    seen
}

/// Returns whose signature over the kernel's image a token of the TPM asks for besides.
fn signed(token: &Value) -> Option<String> {
    let unknown = || Some("an unknown key".to_owned());
    match token::signer(token) {
        Ok(None) => None,
        Ok(Some(it)) if Pcrs::of([Signer::IMAGE]) == Some(it.pcrs) => it.name().ok().or_else(unknown),
        Ok(Some(_)) | Err(_) => unknown(),
    }
}

/// Returns true if a token is one that nobody but us writes.
fn is_ours(token: &Value) -> bool {
    match token["type"].as_str() {
        Some(token::TYPE) => token[token::KEPT] == true,
        Some(CLEVIS) => token[TANG].is_object(),
        Some(RECOVERY) => token[PROVED].is_string(),
        Some(PASSPHRASE) => true,
        _ => false,
    }
}

/// Returns the slots of which a token tells: none, where its slot went and the machine went down right then.
pub(super) fn slots_of(token: &Value) -> Vec<u8> {
    let all = token["keyslots"].as_array().into_iter().flatten();
    all.filter_map(|it| it.as_str()?.parse().ok()).collect()
}

/// Returns the numbers of the tokens that tell of this slot alone.
fn numbers_of(header: &Value, slot: u8) -> Vec<String> {
    numbers_with(header, |it| slots_of(it) == [slot])
}

fn numbers_with(header: &Value, is_it: impl Fn(&Value) -> bool) -> Vec<String> {
    let all = header["tokens"].as_object().into_iter().flatten();
    all.filter(|(_, it)| is_it(it)).map(|(number, _)| number.clone()).collect()
}

#[cfg(test)]
mod tests;

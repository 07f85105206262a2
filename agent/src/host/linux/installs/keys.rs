//! The keys of a state that is being made: one in memory for as long as that lasts, and the recovery key.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    super::program::{not_started, program},
    LONG, SHORT, run,
};
use crate::host::{HostError, Reason};

/// Makes a key for as long as the state is made.
pub(in crate::host::linux) fn write_key(path: &Path) -> Result<(), HostError> {
    let trouble = |error: io::Error| HostError::new(Reason::Failed, format!("No key can be made ({error})"));
    let mut key = Zeroizing::new([0; 64]);
    let filled = fs::File::open("/dev/urandom").and_then(|mut it| io::Read::read_exact(&mut it, &mut *key));
    filled.map_err(trouble)?;
    write_secret(path, &*key)
}

/// Writes a secret into memory, for root alone.
fn write_secret(path: &Path, secret: &[u8]) -> Result<(), HostError> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = open.and_then(|mut file| file.write_all(secret));
    written.map_err(|error| HostError::new(Reason::Failed, format!("No key can be handed over ({error})")))
}

/// Makes the recovery key of a state by the key that it was made with, which then opens it no more. Both are proved.
pub(in crate::host::linux) async fn recovery(dir: &Path, state: &str) -> Result<Zeroizing<String>, HostError> {
    let first = dir.join("key").display().to_string();
    let unlock = format!("--unlock-key-file={first}");
    let told = Zeroizing::new(run("systemd-cryptenroll", [&unlock, "--recovery-key", state], SHORT).await?);
    let key = the_key(&told);
    let strange = || HostError::new(Reason::Failed, "`systemd-cryptenroll` told no recovery key, or several");
    let key = key.ok_or_else(strange)?;
    run("systemd-cryptenroll", ["--wipe-slot=password", state], SHORT).await?;
    let file = dir.join("recovery");
    let opened = match write_secret(&file, key.as_bytes()) {
        Ok(()) => opens(state, &file.display().to_string()).await,
        Err(error) => Err(error),
    };
    drop(fs::remove_file(&file));
    if !opened? {
        return Err(HostError::new(Reason::Failed, "The recovery key does not open the disk"));
    }
    if opens(state, &first).await? {
        return Err(HostError::new(Reason::Failed, "The key that the state was made with still opens the disk"));
    }
    Ok(key)
}

async fn opens(state: &str, key: &str) -> Result<bool, HostError> {
    let mut test = program("cryptsetup");
    test.args(["open", "--test-passphrase", "--disable-external-tokens", "--key-file", key, state]);
    let ended = tokio::time::timeout(SHORT, test.status()).await;
    let late = |_| HostError::new(Reason::TimedOut, "`cryptsetup` does not come to its end");
    Ok(ended.map_err(late)?.map_err(|error| not_started("cryptsetup", &error))?.success())
}

/// Finds the one key in what systemd-cryptenroll says. It is kept as it stands there, for that is what opens the slot.
fn the_key(told: &str) -> Option<Zeroizing<String>> {
    let mut keys = told.split_whitespace().filter(|word| is_recovery_key(word));
    keys.next().filter(|_| keys.next().is_none()).map(|word| Zeroizing::new(word.to_owned()))
}

/// Returns true for a word like those that systemd-cryptenroll makes: eight groups of eight letters.
fn is_recovery_key(word: &str) -> bool {
    let is_group = |group: &str| group.len() == 8 && group.bytes().all(|it| it.is_ascii_lowercase());
    word.split('-').count() == 8 && word.split('-').all(is_group)
}

/// Shows something on the screens of the machine.
pub(in crate::host::linux) fn show(about: &str, text: &str) {
    let consoles = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    for console in consoles.split_whitespace() {
        let console = if console == "tty0" { "tty1" } else { console };
        let device = OpenOptions::new().write(true).open(Path::new("/dev").join(console));
        // A screen that can't be written to is none.
        let _ = device.and_then(|mut it| write!(it, "  {about:<12} {text}\r\n"));
    }
}

/// Encrypts a device by a key that is chance alone, which nobody guesses, and that goes when the others are there.
pub(in crate::host::linux) async fn format(device: &str, key: &str) -> Result<(), HostError> {
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let words = ["luksFormat", "--batch-mode", "--type", "luks2", "--key-file", key];
    run("cryptsetup", words.into_iter().chain(quick).chain([device]), LONG).await.map(drop)
}

/// Has the TPM open it from now on as well.
pub(in crate::host::linux) async fn bind(device: &str, key: &str) -> Result<(), HostError> {
    let unlock = format!("--unlock-key-file={key}");
    run("systemd-cryptenroll", [&unlock, "--tpm2-device=auto", "--tpm2-pcrs=7", device], LONG).await.map(drop)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const KEY: &str = "cccbcdce-cfcgchci-cjckclcn-crctcucv-dbdcdddd-dedfdgdh-didjdkdl-dndrdtdu";
    /// As it is said where what is told goes to one pipe.
    const TOLD: &str = "A secret recovery key has been generated for this volume:\n\n    \
        cccbcdce-cfcgchci-cjckclcn-crctcucv-dbdcdddd-dedfdgdh-didjdkdl-dndrdtdu\n\nPlease save this secret recovery key at \
        a secure location.\nNew recovery key enrolled as key slot 1.\n";

    #[test]
    fn the_one_key_that_is_told_is_found() {
        assert_eq!(the_key(TOLD).as_deref().map(String::as_str), Some(KEY));
        let (short, two) = (TOLD.replace("cccbcdce-", ""), TOLD.repeat(2));
        for text in ["", "New recovery key enrolled as key slot 1.", &short, &two, &TOLD.replace("dtdu", "DTDU")] {
            assert!(the_key(text).is_none(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(text in malformed(TOLD)) {
            let words = |key: &str| text.split_whitespace().filter(|word| *word == key).count();
            prop_assert!(the_key(&text).is_none_or(|it| is_recovery_key(&it) && words(&it) == 1), "{:?}", text);
        }
    }
}

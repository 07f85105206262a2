//! Who signed a revision. The signatures are git's, checked by the programs that it asks: `ssh-keygen` and `gpg`.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use super::{Git, GitError, PATH, PATIENCE, exchange};

/// How an OpenPGP key begins.
const OPENPGP: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// Every key in the ring counts, and no process is left behind.
const GPG_SETTINGS: &str = "trust-model always\nno-autostart\nbatch\nno-auto-key-retrieve\nno-auto-key-locate\n";

/// Who may sign.
pub(crate) struct Signers {
    room: PathBuf,
}

impl Signers {
    /// Prepares a check against these public keys in a directory of its own, which is emptied first.
    pub(crate) async fn new(room: PathBuf, keys: &[String]) -> Result<Self, GitError> {
        let (openpgp, ssh): (Vec<String>, Vec<String>) = keys.iter().cloned().partition(|key| key.starts_with(OPENPGP));
        let (place, has_openpgp) = (room.clone(), !openpgp.is_empty());
        let prepared = spawn_blocking(move || prepare(&place, &ssh, &openpgp)).await;
        let not_run = |source| GitError::NotRun { command: "verify-commit".to_owned(), source };
        prepared.map_err(|error| not_run(io::Error::other(error)))?.map_err(not_run)?;
        if has_openpgp && is_installed("gpg") {
            #[expect(clippy::disallowed_methods, reason = "this is the place where the programs of git are started")]
            let mut command = super::closed(tokio::process::Command::new("gpg"));
            command.env("GNUPGHOME", &room).args(["--quiet", "--import"]).arg(room.join("keys.asc"));
            exchange("import", command, b"", PATIENCE).await?;
        }
        Ok(Self { room })
    }

    /// Returns the fingerprint of the key that signed a revision, or in a sentence why none did that may.
    pub(crate) async fn check(&self, git: &Git, revision: &str) -> Result<Result<String, String>, GitError> {
        let allowed = format!("gpg.ssh.allowedSignersFile={}", self.room.join("allowed").display());
        let format = "--format=tformat:%G?%n%GF";
        let mut command = git.command(&["-c", &allowed, "log", "-1", "--no-show-signature", format, revision, "--"]);
        command.env("GNUPGHOME", &self.room);
        let answer = exchange("log", command, b"", PATIENCE).await?;
        Ok(told(&String::from_utf8_lossy(&answer)).map_err(|why| match missing() {
            Some(program) => format!("{why}, as far as can be told without the program `{program}`"),
            None => why,
        }))
    }
}

/// Reads git's letter for a signature, and the fingerprint of the key on the line below.
fn told(answer: &str) -> Result<String, String> {
    let (letter, fingerprint) = answer.trim().split_once('\n').unwrap_or((answer.trim(), ""));
    // It is shown to people.
    let is_plain = fingerprint.chars().all(|c| c.is_ascii_graphic());
    judge(letter, if is_plain { fingerprint } else { "" })
}

/// Says what git's letter for a signature means. A good one of a key whose owner nobody vouches for is `U`: with OpenPGP that
/// is any key of the ring, which holds those alone that may sign; with SSH it is a key that may not.
fn judge(letter: &str, fingerprint: &str) -> Result<String, String> {
    let by = if fingerprint.is_empty() { String::new() } else { format!(" ({fingerprint})") };
    let is_openpgp = fingerprint.len() >= 40 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    match letter {
        "G" if !fingerprint.is_empty() => Ok(fingerprint.to_owned()),
        "U" if is_openpgp => Ok(fingerprint.to_owned()),
        "N" | "" => Err("it is not signed".to_owned()),
        "U" | "E" => Err(format!("it is signed by nobody who may{by}")),
        "X" | "Y" => Err(format!("its signature has expired{by}")),
        "R" => Err(format!("its key was revoked{by}")),
        _ => Err(format!("its signature is wrong{by}")),
    }
}

fn prepare(room: &Path, ssh: &[String], openpgp: &[String]) -> io::Result<()> {
    if room.exists() {
        fs::remove_dir_all(room)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(room)?;
    let line = |key: &String| format!("signer namespaces=\"git\" {key}\n");
    let put = |name: &str, text: &str| File::create_new(room.join(name))?.write_all(text.as_bytes());
    put("allowed", &ssh.iter().map(line).collect::<String>())?;
    put("gpg.conf", GPG_SETTINGS)?;
    put("keys.asc", &openpgp.join("\n"))
}

/// Names a program that is asked about signatures and is not there.
fn missing() -> Option<&'static str> {
    ["ssh-keygen", "gpg"].into_iter().find(|program| !is_installed(program))
}

fn is_installed(program: &str) -> bool {
    PATH.split(':').any(|directory| Path::new(directory).join(program).exists())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const ANSWER: &str = "U\n5752E01A3FA6510BB05DD3981F09F46350D60D1A\n";

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_answer_breaks_it(answer in malformed(ANSWER)) {
            match told(&answer) {
                Ok(key) => prop_assert!(answer.trim_start().starts_with(['U', 'G']) && answer.contains(&key), "{:?}", answer),
                Err(why) => prop_assert!(!why.contains(|it: char| it.is_control()), "{:?}", why),
            }
        }
    }

    #[test]
    fn only_a_good_signature_of_a_known_key_counts() {
        assert_eq!(judge("G", "SHA256:x"), Ok("SHA256:x".to_owned()));
        for letter in ["G", "N", "U", "E", "X", "Y", "R", "B", "", "?"] {
            assert!(judge(letter, "").is_err(), "{letter}");
        }
        assert_eq!(judge("U", "SHA256:y").unwrap_err(), "it is signed by nobody who may (SHA256:y)");
        let openpgp = "5752E01A3FA6510BB05DD3981F09F46350D60D1A";
        assert_eq!(judge("U", openpgp), Ok(openpgp.to_owned()));
        for letter in ["E", "X", "Y", "R", "B", "N"] {
            assert!(judge(letter, openpgp).is_err(), "{letter}");
        }
    }
}

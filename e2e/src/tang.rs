//! Keys of a Tang server, and the program that answers one connection with them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// Debian's programs of the package `tang`. The first speaks on its input and output.
pub const TANGD: &str = "/usr/libexec/tangd";
const KEYGEN: &str = "/usr/libexec/tangd-keygen";

/// The keys of a server, in a directory of its own.
#[derive(Debug)]
pub struct Keys(TempDir);

impl Keys {
    /// Makes them.
    ///
    /// # Errors
    /// When the programs are not installed.
    pub fn make() -> anyhow::Result<Self> {
        let keys = Self(TempDir::with_prefix("piccolo-tang-")?);
        fs::create_dir(keys.path())?;
        done(KEYGEN, &[&keys.path().display().to_string()])?;
        Ok(keys)
    }

    /// Returns where they are.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    /// Returns the thumbprint of the key that signs, by which the server is known.
    ///
    /// # Errors
    /// When there is none.
    pub fn thumbprint(&self) -> anyhow::Result<String> {
        for entry in fs::read_dir(self.path())? {
            let path = entry?.path();
            if fs::read_to_string(&path)?.contains("sign") {
                return done("jose", &["jwk", "thp", "-a", "S256", "-i", &path.display().to_string()]);
            }
        }
        bail!("no key signs")
    }

    /// Writes a program that answers one connection on its input and output.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn program(&self) -> anyhow::Result<PathBuf> {
        let program = self.0.path().join("answer");
        // What it tells of a question would be taken for a part of the answer by who passes both on.
        fs::write(&program, format!("#!/bin/sh\nexec {TANGD} {} 2>/dev/null\n", self.path().display()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
        Ok(program)
    }

    /// Takes the keys away: whoever asks gets nothing that helps; or puts them back.
    ///
    /// # Errors
    /// When they can't be moved.
    pub fn away(&self, is_away: bool) -> anyhow::Result<()> {
        let (here, elsewhere) = (self.path(), self.0.path().join("elsewhere"));
        let (from, to) = if is_away { (here, elsewhere) } else { (elsewhere, here) };
        fs::rename(from, to).context("can't move the keys")
    }
}

/// Returns true if a Tang server can be had here.
#[must_use]
pub fn is_installed() -> bool {
    Path::new(TANGD).exists()
}

fn done(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("can't start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}\n{said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

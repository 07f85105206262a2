//! What the keys of this machine rest on, in one word and in many.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{StateStanding, Vouched};
use crate::host::{Pcrs, TpmSeen};

/// How a key that is sealed is called, beside the name of its file.
const SEALED: &str = "sealed";

/// What the keys of this machine rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Every key opens on this machine's TPM alone.
    Hardware,
    /// Keys lie in files.
    Software,
    /// There are none that can be used.
    None,
}

/// A key of this machine, and the file that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What it is the key of, in a word.
    pub name: &'static str,
    /// Where it lies while it is not sealed.
    pub path: PathBuf,
}

/// How a key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    /// There is none yet.
    Missing,
    /// In a file that only root may read.
    File,
    /// Sealed to the TPM.
    Sealed,
    /// Both: sealing it, or the way back, was broken off. The file is the one that is used.
    Both,
}

/// How one key stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyStanding {
    /// What it is the key of.
    pub name: &'static str,
    /// How it is kept.
    pub form: Form,
    /// The file that it lies in.
    pub path: PathBuf,
    /// Why it can't be used, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How all of it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What the keys rest on.
    pub level: Level,
    /// One sentence: what that means, and what to do.
    pub message: String,
    /// Each key.
    pub keys: Vec<KeyStanding>,
    /// The registers that have to be as they were for sealed keys to open.
    pub pcrs: Pcrs,
    /// Who can open sealed keys when the chip can't: recipients of age.
    pub recovery: Vec<String>,
    /// What chip there is, if it answers.
    pub tpm: Option<TpmSeen>,
    /// Whether its maker vouches for it, where it has a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maker: Option<Vouched>,
    /// Why it does not, where there is one.
    pub trouble: Option<String>,
    /// What is different in how the machine started, where keys that are bound to that do not open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// How the encrypted state of the system stands, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateStanding>,
}

impl Level {
    /// Returns the reason of the condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Hardware => "Hardware",
            Self::Software => "Software",
            Self::None => "None",
        }
    }
}

impl Standing {
    /// Sums up how the keys stand. `there` says whether this machine has a TPM.
    pub fn new(keys: Vec<KeyStanding>, there: bool) -> Self {
        let (level, message) = sum_up(&keys, there);
        let (pcrs, recovery) = (Pcrs::NONE, Vec::new());
        Self { level, message, keys, pcrs, recovery, tpm: None, maker: None, trouble: None, changed: None, state: None }
    }

    /// Adds how the state of the system stands, on which the files of keys lie. Where the TPM opens that, nothing is advised:
    /// sealed keys that do not open any more are put back by root on the machine alone, and such a system lets nobody log in.
    #[must_use]
    pub fn on(mut self, state: Option<StateStanding>) -> Self {
        let in_files = !self.keys.is_empty() && self.keys.iter().all(|it| it.form == Form::File);
        if in_files && state.as_ref().is_some_and(|it| it.by_the_tpm) {
            self.message =
                "keys lie in files on the system's encrypted disk, which the TPM of this machine opens".to_owned();
        }
        self.state = state;
        self
    }

    /// Says what a person can do about a start that is another one than keys are bound to.
    pub fn start(&self) -> Option<String> {
        let changed = self.changed.as_ref()?;
        Some(format!(
            "the machine started another way than its keys are bound to: {changed}; see `piccolo trust why`, and if it shall \
             start so from now on, `piccolo trust reseal --recovery-file FILE`"
        ))
    }

    /// Returns true if nothing is wrong; keys in files are not wrong.
    pub const fn is_well(&self) -> bool {
        !matches!(self.level, Level::None)
    }
}

impl KeyFile {
    /// Returns where the key lies while it is sealed.
    pub fn sealed(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(SEALED);
        self.path.with_file_name(name)
    }

    /// Looks how the key is kept.
    pub fn form(&self) -> Form {
        match (is_there(&self.path), is_there(&self.sealed())) {
            (false, false) => Form::Missing,
            (true, false) => Form::File,
            (false, true) => Form::Sealed,
            (true, true) => Form::Both,
        }
    }
}

/// A file that can't be looked at counts as one: nothing may be made in its place.
fn is_there(path: &Path) -> bool {
    !matches!(path.try_exists(), Ok(false))
}

fn sum_up(keys: &[KeyStanding], there: bool) -> (Level, String) {
    let ill: Vec<String> =
        keys.iter().filter_map(|it| Some(format!("{}: {}", it.name, it.trouble.as_ref()?))).collect();
    if !ill.is_empty() {
        return (Level::None, format!("keys can't be used ({})", ill.join("; ")));
    }
    let of = |form: Form| keys.iter().filter(|it| it.form == form).map(|it| it.name).collect::<Vec<_>>();
    let missing = of(Form::Missing);
    if !missing.is_empty() {
        return (Level::None, format!("there is no key yet ({})", missing.join(", ")));
    }
    let both = of(Form::Both);
    if !both.is_empty() {
        let message =
            "sealing was broken off, keys still lie in files; `piccolo trust seal` or `piccolo trust unseal` ends it";
        return (Level::Software, format!("{message} ({})", both.join(", ")));
    }
    match (of(Form::File).is_empty(), there) {
        (true, _) => (Level::Hardware, "keys open on the TPM of this machine alone".to_owned()),
        (false, false) => (Level::Software, "keys lie in files that only root may read; there is no TPM".to_owned()),
        (false, true) => {
            let message = "keys lie in files that only root may read, though there is a TPM: see `piccolo trust seal`";
            (Level::Software, message.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &'static str, form: Form, trouble: Option<&str>) -> KeyStanding {
        KeyStanding { name, form, path: name.into(), trouble: trouble.map(str::to_owned) }
    }

    #[test]
    fn the_weakest_key_decides() {
        let level = |forms: [Form; 2], there| {
            let keys = vec![key("secrets", forms[0], None), key("authority", forms[1], None)];
            Standing::new(keys, there).level
        };
        assert_eq!(level([Form::Sealed, Form::Sealed], true), Level::Hardware);
        assert_eq!(level([Form::Sealed, Form::File], true), Level::Software);
        assert_eq!(level([Form::Sealed, Form::Both], true), Level::Software);
        assert_eq!(level([Form::File, Form::File], false), Level::Software);
        assert_eq!(level([Form::File, Form::Missing], true), Level::None);
        let ill = Standing::new(vec![key("secrets", Form::Sealed, Some("the TPM was cleared"))], true);
        assert!(ill.level == Level::None && ill.message.contains("the TPM was cleared") && !ill.is_well());
    }

    #[test]
    fn files_on_a_disk_that_the_tpm_opens_are_told_as_such() {
        let state = |by_the_tpm| StateStanding {
            device: "vda6".to_owned(),
            uuid: String::new(),
            keys: Vec::new(),
            by_the_tpm,
            recovery_proved: None,
            notes: Vec::new(),
        };
        let told = |form, by_the_tpm| {
            let on = Standing::new(vec![key("secrets", form, None)], true).on(Some(state(by_the_tpm)));
            (on.level, on.message.contains("encrypted disk"))
        };
        assert_eq!(told(Form::File, true), (Level::Software, true));
        assert_eq!(told(Form::File, false), (Level::Software, false));
        assert_eq!(told(Form::Sealed, true), (Level::Hardware, false));
    }

    #[test]
    fn a_person_is_told_of_a_chip_that_does_nothing() {
        let keys = || vec![key("secrets", Form::File, None)];
        assert!(Standing::new(keys(), true).message.contains("piccolo trust seal"));
        assert!(!Standing::new(keys(), false).message.contains("piccolo"));
    }
}

//! The machines that a person knows: how each is reached, by what it is known, and the token for it.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::file;

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contexts {
    /// The one that is meant if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(super) contexts: BTreeMap<String, Context>,
}

/// One machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    /// Where it is, as `host:port`.
    pub(super) host: String,
    /// The token for it.
    pub(super) token: Zeroizing<String>,
    /// The certificate of its authority, in PEM.
    pub(super) authority: String,
}

impl Contexts {
    /// Reads what is known; nothing if there is no file.
    pub(super) fn read() -> Result<Self, Failure> {
        let path = path()?;
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Failure::File { path, source }),
        }
    }

    /// Writes what is known, for its owner alone.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let path = path()?;
        let text = toml::to_string(self).map(Zeroizing::new).map_err(|error| Failure::Usage(error.to_string()))?;
        file::replace(&path, text.as_bytes()).map_err(|source| Failure::File { path, source })
    }

    /// Returns the machine of this name.
    pub(super) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Failure::NotFound(format!("there is no context `{name}`; known: {known}"))
        })
    }

    /// Returns what is known of a machine by where it is.
    pub(super) fn at(&self, host: &str) -> Option<&Context> {
        self.contexts.values().find(|it| it.host == host)
    }

    /// Takes down that the machine at one place is at another one from now on, and returns how many contexts are others by that.
    pub(super) fn moved(&mut self, before: &str, now: &str) -> usize {
        let all = self.contexts.values_mut().filter(|it| it.host == before);
        all.map(|it| now.clone_into(&mut it.host)).count()
    }

    /// Takes down a machine as the one that is meant from now on, under this name or one like it that is free.
    pub(super) fn add(&mut self, name: &str, context: Context) -> String {
        let is_free = |name: &String| self.contexts.get(name).is_none_or(|it| it.host == context.host);
        let mut more = (2..).map(|number| format!("{name}-{number}"));
        let name = std::iter::once(name.to_owned()).chain(&mut more).find(is_free).unwrap_or_else(|| name.to_owned());
        self.contexts.insert(name.clone(), context);
        self.current = Some(name.clone());
        name
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({})", self.host)
    }
}

/// Returns where it is kept: `contexts.toml` in `piccolo` in the directory for settings.
fn path() -> Result<PathBuf, Failure> {
    let directory = |name: &str| env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let settings = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    let settings =
        settings.ok_or_else(|| Failure::Usage("neither HOME nor XDG_CONFIG_HOME says where to look".to_owned()))?;
    Ok(settings.join(Path::new("piccolo/contexts.toml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(host: &str) -> Context {
        Context { host: host.to_owned(), token: Zeroizing::new("pic_secret".to_owned()), authority: "PEM".to_owned() }
    }

    #[test]
    fn a_machine_keeps_its_name_and_another_gets_another() {
        let mut contexts = Contexts::default();
        assert_eq!(contexts.add("attic", context("attic.local:8080")), "attic");
        assert_eq!(contexts.add("attic", context("attic.local:8080")), "attic");
        assert_eq!(contexts.add("attic", context("192.168.1.5:8080")), "attic-2");
        assert_eq!(contexts.current.as_deref(), Some("attic-2"));
        assert_eq!(contexts.at("attic.local:8080"), Some(&context("attic.local:8080")));
        assert_eq!(contexts.moved("192.168.1.9:8080", "192.168.2.9:8080"), 0, "nobody knows it by that");
        assert_eq!(contexts.moved("192.168.1.5:8080", "192.168.2.5:8080"), 1);
        assert_eq!(contexts.named("attic-2").ok(), Some(&context("192.168.2.5:8080")));
        assert!(contexts.named("cellar").unwrap_err().to_string().contains("attic, attic-2"));
        let text = toml::to_string(&contexts).unwrap();
        assert_eq!(toml::from_str::<Contexts>(&text).unwrap(), contexts);
        assert!(!format!("{contexts:?}").contains("secret"));
    }
}

//! Secrets as the machine holds them: in memory, decrypted, for containers to be given.

use std::{collections::BTreeMap, future::Future};

use piccolo_schema::{SecretSpec, container::SecretUse};
use serde::{Deserialize, Serialize};

use super::HostError;

/// The memory in which the values of secrets stand in plain.
///
/// No verb gives a value back. What is seen are names and digests, which nobody but this machine can make.
pub trait Secrets: Send + Sync + 'static {
    /// Lists all secrets that are held.
    fn secrets(&self) -> impl Future<Output = Result<SecretsView, HostError>> + Send;
    /// Waits until a secret may have changed.
    fn changed(&self) -> impl Future<Output = ()> + Send;
    /// Decrypts all values of a secret and holds them, and none beside them. One that can't be decrypted leaves all as
    /// they were.
    fn write_secret(&self, name: &str, spec: &SecretSpec) -> impl Future<Output = Result<(), HostError>> + Send;
    /// Holds a secret no longer. What containers were given of it stays with them.
    fn remove_secret(&self, name: &str) -> impl Future<Output = Result<(), HostError>> + Send;
}

/// What is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretsView {
    /// The directory that lies on a disk where it must lie in memory, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_disk: Option<String>,
    /// Every secret, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSeen>,
}

/// A secret that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretSeen {
    /// Its name.
    pub name: String,
    /// Its values by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, ValueSeen>,
}

/// One value of a secret that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueSeen {
    /// The keyed digest of the value.
    pub digest: String,
    /// The encrypted text that it was made from; none when somebody else changed it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

/// The digests of all values that containers can be given, by secret and key.
pub type Digests = BTreeMap<String, BTreeMap<String, String>>;

/// The files that containers were given, by container, place and name.
pub type Places = BTreeMap<String, BTreeMap<String, BTreeMap<String, FileSeen>>>;

/// A file that a container was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileSeen {
    /// The keyed digest of what is in it.
    pub digest: String,
    /// Its rights.
    pub mode: u32,
    /// The user who owns it.
    pub uid: u32,
    /// The group that owns it.
    pub gid: u32,
}

/// Returns the name of the place where the files of this use lie, none if it comes in as a variable.
///
/// Two uses have one place only if their files are the same, so that a container and the one that replaces it never
/// need different files at one place.
pub fn place(it: &SecretUse) -> Option<String> {
    it.path.as_ref()?;
    let (uid, gid) = it.owner();
    let key = it.key.as_ref().map(|key| format!(".{key}")).unwrap_or_default();
    Some(format!("{}{key}-{:04o}-{uid}-{gid}", it.secret, it.mode()))
}

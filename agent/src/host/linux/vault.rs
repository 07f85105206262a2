//! Values of secrets in the memory of the machine.
//!
//! All lies under one directory that only root may enter, in a file system that is kept in memory:
//!
//! - `values/<secret>/<key>`: a value
//! - `stamps/<secret>`: what each value was made from, and its digest
//! - `containers/<container>/<place>/<key>`: what a container is given, with the rights that it asks for
//!
//! Every file is written beside and moved into its place, so that nobody reads half of one. The exception is a single
//! file that is mounted by itself: a container holds on to the very file, so that it is written over in place.

pub(super) mod files;
mod login;
mod memory;
mod stamps;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use piccolo_schema::{ContainerSpec, SecretSpec, container::SecretUse};

pub(super) use self::memory::is_in_memory;
use self::stamps::{Made, Stamps};
use crate::{
    host::{Digests, FileSeen, HostError, Places, Reason, SecretSeen, Secrets, SecretsView, ValueSeen, place},
    secrets::{DigestKey, Identity, Plain},
};

/// The memory of secrets.
#[derive(Clone, Debug)]
pub struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Why there is none, if so.
    identity: Result<Identity, String>,
    key: DigestKey,
    /// One at a time: a look must not find a secret half written.
    turn: Mutex<()>,
}

/// The environment that secrets make for a container.
pub(super) struct Variables {
    /// `NAME=value` each.
    pub(super) lines: Vec<String>,
    /// The digests of the values, by variable.
    pub(super) digests: BTreeMap<String, String>,
}

impl Vault {
    /// Returns the memory under this directory, which need not be there yet. Without a key nothing can be decrypted, and
    /// what is held is given to nobody anew; why there is none becomes the message of every secret.
    pub fn new(root: PathBuf, identity: Result<Identity, String>) -> Self {
        let key = identity.as_ref().map_or_else(|_| Identity::generate().digest_key(), Identity::digest_key);
        Self(Arc::new(Inner { root, identity, key, turn: Mutex::default() }))
    }

    /// Returns what containers can be given, and what they have.
    pub(super) async fn given(&self) -> Result<(Digests, Places), HostError> {
        self.run(|inner| Ok((inner.digests()?, inner.places()?))).await
    }

    /// Returns where the files of a use lie on this machine.
    pub(super) fn source(&self, subject: &str, it: &SecretUse) -> Option<PathBuf> {
        let directory = self.0.of(subject).join(place(it)?);
        Some(it.key.as_ref().map_or_else(|| directory.clone(), |key| directory.join(key)))
    }

    /// Reads what a container is to have in its environment.
    pub(super) async fn variables(&self, spec: &ContainerSpec) -> Result<Variables, HostError> {
        let uses: Vec<SecretUse> = spec.secrets.iter().filter(|it| it.env.is_some()).cloned().collect();
        self.run(move |inner| inner.variables(&uses)).await
    }

    /// Writes the files of these secrets for a container.
    pub(super) async fn place(&self, subject: &str, uses: &[SecretUse]) -> Result<(), HostError> {
        let (subject, uses) = (subject.to_owned(), uses.to_vec());
        self.run(move |inner| uses.iter().try_for_each(|it| inner.place(&subject, it))).await
    }

    /// Copies one value into a file, for one who needs it there.
    pub(super) async fn copy_value(
        &self,
        secret: &str,
        key: &str,
        to: PathBuf,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<(), HostError> {
        let from = self.0.values(secret).join(key);
        self.run(move |inner| {
            let copied = files::read(&from).and_then(|value| files::put(&to, value.expose(), mode, Some(owner)));
            copied.map_err(|error| inner.unusable(&error))
        })
        .await
    }

    /// Removes the files at these places of a container.
    pub(super) async fn clear(&self, subject: &str, places: &[String]) -> Result<(), HostError> {
        let (subject, places) = (subject.to_owned(), places.to_vec());
        self.run(move |inner| inner.clear(&subject, &places).map_err(|error| inner.unusable(&error))).await
    }

    /// Files are read and written where that holds nobody up.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner)
        });
        done.await.unwrap_or_else(|_| Err(HostError::new(Reason::Failed, "The work on secrets was broken off")))
    }
}

impl Secrets for Vault {
    async fn secrets(&self) -> Result<SecretsView, HostError> {
        self.run(|inner| {
            let in_memory = is_in_memory(&inner.root).map_err(|error| inner.unusable(&error))?;
            let on_disk = (!in_memory).then(|| inner.root.display().to_string());
            Ok(SecretsView { on_disk, secrets: inner.seen()? })
        })
        .await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        // Nobody but root gets here, and what root does is found by the resync.
        pending()
    }

    async fn write_secret(&self, name: &str, spec: &SecretSpec) -> Result<(), HostError> {
        let (name, spec) = (name.to_owned(), spec.clone());
        self.run(move |inner| {
            let values = inner.open(&name, &spec)?;
            inner.hold(&name, &spec, &values).map_err(|error| inner.unusable(&error))
        })
        .await
    }

    async fn remove_secret(&self, name: &str) -> Result<(), HostError> {
        let name = name.to_owned();
        self.run(move |inner| {
            let removed = files::remove_all(&inner.values(&name)).and_then(|()| inner.stamps().remove(&name));
            removed.map_err(|error| inner.unusable(&error))
        })
        .await
    }
}

impl Inner {
    fn values(&self, secret: &str) -> PathBuf {
        self.root.join("values").join(secret)
    }

    fn of(&self, subject: &str) -> PathBuf {
        self.root.join("containers").join(subject)
    }

    fn stamps(&self) -> Stamps {
        Stamps::new(self.root.join("stamps"))
    }

    /// Decrypts all values, and names all that can't be decrypted.
    fn open(&self, name: &str, spec: &SecretSpec) -> Result<BTreeMap<String, Plain>, HostError> {
        let unreadable = |why: &String| HostError::new(Reason::Undecryptable, why.clone());
        let identity = self.identity.as_ref().map_err(unreadable)?;
        let (mut values, mut wrong) = (BTreeMap::new(), Vec::new());
        for (key, armour) in &spec.data {
            match identity.open(armour) {
                Ok(value) => drop(values.insert(key.clone(), value)),
                Err(error) => wrong.push(format!("`{key}`: {error}")),
            }
        }
        if wrong.is_empty() {
            return Ok(values);
        }
        let message = format!("{}; set it anew: piccolo secret set {name} KEY", wrong.join(", "));
        Err(HostError::new(Reason::Undecryptable, message))
    }

    /// Writes the values, and their stamp last: without it they are taken for changed, and written again.
    fn hold(&self, name: &str, spec: &SecretSpec, values: &BTreeMap<String, Plain>) -> io::Result<()> {
        files::make_root(&self.root)?;
        let directory = self.values(name);
        files::make(&directory, 0o700)?;
        for (key, value) in values {
            files::put(&directory.join(key), value.expose(), 0o400, None)?;
        }
        files::keep_only(&directory, |key| values.contains_key(key))?;
        let made = |(key, value): (&String, &Plain)| {
            let sealed = spec.data.get(key).cloned().unwrap_or_default();
            (key.clone(), Made { digest: self.key.digest(value), sealed })
        };
        self.stamps().put(name, &values.iter().map(made).collect())
    }

    fn seen(&self) -> Result<Vec<SecretSeen>, HostError> {
        let names = files::names(&self.root.join("values")).map_err(|error| self.unusable(&error))?;
        names.into_iter().map(|name| self.secret(name).map_err(|error| self.unusable(&error))).collect()
    }

    fn secret(&self, name: String) -> io::Result<SecretSeen> {
        let stamp = self.stamps().get(&name);
        let mut values = BTreeMap::new();
        for key in files::names(&self.values(&name))? {
            let digest = self.key.digest(&files::read(&self.values(&name).join(&key))?);
            let made = stamp.get(&key).filter(|made| made.digest == digest);
            values.insert(key, ValueSeen { sealed: made.map(|made| made.sealed.clone()), digest });
        }
        Ok(SecretSeen { name, values })
    }

    fn digests(&self) -> Result<Digests, HostError> {
        // A secret that somebody changed is given to nobody until it is whole again.
        let whole = self.seen()?.into_iter().filter(|seen| seen.values.values().all(|value| value.sealed.is_some()));
        let digests = |seen: SecretSeen| seen.values.into_iter().map(|(key, value)| (key, value.digest)).collect();
        Ok(whole.map(|seen| (seen.name.clone(), digests(seen))).collect())
    }

    fn places(&self) -> Result<Places, HostError> {
        let look = || -> io::Result<Places> {
            let mut all = Places::new();
            for subject in files::names(&self.root.join("containers"))? {
                let directory = self.of(&subject);
                let places: Vec<String> = files::names(&directory)?;
                let seen = places.into_iter().map(|place| Ok((place.clone(), self.files(&directory.join(place))?)));
                all.insert(subject, seen.collect::<io::Result<_>>()?);
            }
            Ok(all)
        };
        look().map_err(|error| self.unusable(&error))
    }

    fn files(&self, directory: &Path) -> io::Result<BTreeMap<String, FileSeen>> {
        let seen = |key: String| {
            let path = directory.join(&key);
            let (mode, uid, gid) = files::rights(&path)?;
            Ok((key, FileSeen { digest: self.key.digest(&files::read(&path)?), mode, uid, gid }))
        };
        files::names(directory)?.into_iter().map(seen).collect()
    }

    fn place(&self, subject: &str, it: &SecretUse) -> Result<(), HostError> {
        let Some(place) = place(it) else { return Ok(()) };
        let there = files::names(&self.values(&it.secret)).map_err(|error| self.unusable(&error))?;
        let keys: Vec<&String> = there.iter().filter(|key| it.key.as_ref().is_none_or(|only| only == *key)).collect();
        if it.key.is_some() && keys.is_empty() {
            return Err(gone(it));
        }
        let directory = self.of(subject).join(place);
        let write = || -> io::Result<()> {
            files::make_root(&self.root)?;
            files::make(&directory, 0o755)?;
            for key in &keys {
                let (path, value) = (directory.join(key), files::read(&self.values(&it.secret).join(key))?);
                let put = if it.key.is_some() { files::overwrite } else { files::put };
                put(&path, value.expose(), it.mode(), Some(it.owner()))?;
            }
            files::keep_only(&directory, |name| keys.iter().any(|key| *key == name))
        };
        write().map_err(|error| self.unusable(&error))
    }

    fn clear(&self, subject: &str, places: &[String]) -> io::Result<()> {
        let directory = self.of(subject);
        places.iter().try_for_each(|place| files::remove_all(&directory.join(place)))?;
        if files::names(&directory)?.is_empty() { files::remove_all(&directory) } else { Ok(()) }
    }

    fn variables(&self, uses: &[SecretUse]) -> Result<Variables, HostError> {
        let mut variables = Variables { lines: Vec::new(), digests: BTreeMap::new() };
        for it in uses {
            let (Some(name), Some(key)) = (&it.env, &it.key) else { continue };
            let value = files::read(&self.values(&it.secret).join(key)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => gone(it),
                _ => self.unusable(&error),
            })?;
            let text = std::str::from_utf8(value.expose()).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or_else(|| not_text(it, key))?;
            variables.lines.push(format!("{name}={text}"));
            variables.digests.insert(name.clone(), self.key.digest(&value));
        }
        Ok(variables)
    }

    fn unusable(&self, error: &io::Error) -> HostError {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
            io::ErrorKind::PermissionDenied => Reason::PermissionDenied,
            _ => Reason::Failed,
        };
        HostError::new(reason, format!("The memory of secrets in {} can't be used: {error}", self.root.display()))
    }
}

fn gone(it: &SecretUse) -> HostError {
    HostError::new(Reason::Gone, format!("The secret `{}` is not there any more", it.secret))
}

fn not_text(it: &SecretUse, key: &str) -> HostError {
    let message =
        format!("The value `{key}` of secret `{}` is no text, which a variable must be; use `path`", it.secret);
    HostError::new(Reason::Refused, message)
}

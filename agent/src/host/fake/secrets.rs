use std::{
    collections::BTreeMap,
    future::{Future, pending},
    hash::{DefaultHasher, Hash, Hasher},
};

use piccolo_schema::{ContainerSpec, SecretSpec, container::SecretUse};

use super::{
    FakeEngine, Verb,
    world::{World, gone},
};
use crate::host::{Digests, FileSeen, HostError, Reason, SecretSeen, Secrets, SecretsView, ValueSeen, place};

/// How a text begins that the machine in memory can decrypt; the rest is the value.
const SEALED: &str = "sealed:";

/// A value that is held.
#[derive(Clone, Default)]
pub(super) struct Value {
    sealed: Option<String>,
    digest: String,
}

impl Secrets for FakeEngine {
    async fn secrets(&self) -> Result<SecretsView, HostError> {
        let view = self.look().secrets_view();
        self.verb_of_looking(Verb::Secrets, view).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    async fn write_secret(&self, name: &str, spec: &SecretSpec) -> Result<(), HostError> {
        self.verb(Verb::WriteSecret, |world| world.write_secret(name, spec)).await
    }

    async fn remove_secret(&self, name: &str) -> Result<(), HostError> {
        self.verb(Verb::RemoveSecret, |world| {
            world.secrets.remove(name);
            world.count(None);
            Ok(())
        })
        .await
    }
}

impl FakeEngine {
    /// Takes all that is held in memory, as a start of the machine does.
    pub fn forget_secrets(&self) {
        self.by_hand(|world| {
            world.secrets.clear();
            world.places.clear();
        });
    }

    /// Changes every value that is held of a secret, and every file that containers were given of it.
    pub fn alter_secret(&self, name: &str) {
        self.by_hand(|world| {
            for value in world.secrets.get_mut(name).into_iter().flat_map(BTreeMap::values_mut) {
                *value = Value { sealed: None, digest: "altered".to_owned() };
            }
            let places = world.places.values_mut().flatten().filter(|(place, _)| place.starts_with(name));
            for file in places.flat_map(|(_, files)| files.values_mut()) {
                "altered".clone_into(&mut file.digest);
            }
        });
    }
}

impl World {
    /// Returns what the containers' look shows of secrets.
    pub(super) fn digests(&self) -> Digests {
        let digests = |values: &BTreeMap<String, Value>| {
            values.iter().map(|(key, value)| (key.clone(), value.digest.clone())).collect()
        };
        // A secret that somebody changed is given to nobody until it is whole again.
        let whole = self.secrets.iter().filter(|(_, values)| values.values().all(|value| value.sealed.is_some()));
        whole.map(|(name, values)| (name.clone(), digests(values))).collect()
    }

    /// Returns the digests of what stands in the environment of a container that is made now.
    pub(super) fn variables(&self, spec: &ContainerSpec) -> Result<BTreeMap<String, String>, HostError> {
        let digest = |it: &SecretUse, variable: &String| {
            let value = self.secrets.get(&it.secret).and_then(|values| values.get(it.key.as_deref()?));
            Ok((variable.clone(), value.ok_or_else(|| gone(&it.secret))?.digest.clone()))
        };
        spec.secrets.iter().filter_map(|it| Some(digest(it, it.env.as_ref()?))).collect()
    }

    pub(super) fn place_secrets(&mut self, subject: &str, uses: &[SecretUse]) -> Result<(), HostError> {
        for it in uses {
            let Some(place) = place(it) else { continue };
            let (mode, (uid, gid)) = (it.mode(), it.owner());
            let values = self.secrets.get(&it.secret).ok_or_else(|| gone(&it.secret))?;
            let wanted = values.iter().filter(|(key, _)| it.key.as_ref().is_none_or(|only| only == *key));
            let file = |value: &Value| FileSeen { digest: value.digest.clone(), mode, uid, gid };
            let files = wanted.map(|(key, value)| (key.clone(), file(value))).collect();
            self.places.entry(subject.to_owned()).or_default().insert(place, files);
        }
        self.count(None);
        Ok(())
    }

    pub(super) fn clear_secrets(&mut self, subject: &str, places: &[String]) {
        if let Some(there) = self.places.get_mut(subject) {
            there.retain(|place, _| !places.contains(place));
        }
        self.places.retain(|_, places| !places.is_empty());
        self.count(None);
    }

    /// Returns an error if a file that a container is to be given is not there.
    pub(super) fn secrets_are_there(&self, subject: &str, spec: &ContainerSpec) -> Result<(), HostError> {
        let there = self.places.get(subject);
        match spec.secrets.iter().filter_map(place).find(|place| !there.is_some_and(|it| it.contains_key(place))) {
            Some(missing) => Err(HostError::new(Reason::MountSourceMissing, format!("There is no `{missing}`"))),
            None => Ok(()),
        }
    }

    fn secrets_view(&self) -> SecretsView {
        let seen = |value: &Value| ValueSeen { digest: value.digest.clone(), sealed: value.sealed.clone() };
        let values = |all: &BTreeMap<String, Value>| all.iter().map(|(key, it)| (key.clone(), seen(it))).collect();
        let secrets = self.secrets.iter().map(|(name, all)| SecretSeen { name: name.clone(), values: values(all) });
        SecretsView { on_disk: None, secrets: secrets.collect() }
    }

    fn write_secret(&mut self, name: &str, spec: &SecretSpec) -> Result<(), HostError> {
        let open = |(key, sealed): (&String, &String)| match sealed.strip_prefix(SEALED) {
            Some(plain) => Ok((key.clone(), Value { sealed: Some(sealed.clone()), digest: digest(plain) })),
            None => Err(HostError::new(Reason::Undecryptable, format!("`{key}` is not encrypted for this machine"))),
        };
        let values = spec.data.iter().map(open).collect::<Result<_, _>>()?;
        self.secrets.insert(name.to_owned(), values);
        self.count(None);
        Ok(())
    }
}

fn digest(value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

//! What a container needs of secrets, and what it has of them.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{ContainerSpec, container::SecretUse};

use super::machine::Machine;
use crate::host::{Digests, FileSeen, Stamp, place};

/// Says which secret, or value of one, that a spec names is not there: a reason and a sentence.
pub(super) fn missing(spec: &ContainerSpec, machine: &Machine<'_>) -> Option<(&'static str, String)> {
    spec.secrets.iter().find_map(|it| {
        let name = &it.secret;
        let Some(values) = machine.secrets.get(name) else {
            let help =
                format!("add a Secret manifest of this name, or see what keeps it: piccolo describe secret {name}");
            return Some(("SecretMissing", format!("There is no secret `{name}` on this machine; {help}")));
        };
        let key = it.key.as_ref().filter(|key| !values.contains_key(*key))?;
        let help = format!("set it (piccolo secret set {name} {key}) or mend the key");
        Some(("SecretKeyMissing", format!("The secret `{name}` has no value `{key}`; {help}")))
    })
}

/// Returns the uses whose files are not there, or not as they should be.
pub(super) fn to_place(subject: &str, spec: &ContainerSpec, machine: &Machine<'_>) -> Vec<SecretUse> {
    let there = machine.places.get(subject);
    let differs = |it: &&SecretUse| {
        place(it).is_some_and(|place| there.and_then(|places| places.get(&place)) != Some(&files(it, machine.secrets)))
    };
    spec.secrets.iter().filter(differs).cloned().collect()
}

/// Returns the places of a subject that neither its manifest nor a container of it uses.
pub(super) fn idle(subject: &str, spec: &ContainerSpec, machine: &Machine<'_>) -> Vec<String> {
    let Some(there) = machine.places.get(subject) else { return Vec::new() };
    let stamps = machine.of(subject).iter().filter_map(|seen| seen.stamp.as_ref()).map(|stamp| stamp.spec.as_deref());
    let Some(made_from) = stamps.collect::<Option<Vec<_>>>() else { return Vec::new() };
    let used: BTreeSet<String> =
        made_from.into_iter().chain([spec]).flat_map(|it| &it.secrets).filter_map(place).collect();
    there.keys().filter(|place| !used.contains(*place)).cloned().collect()
}

/// Returns the names of the secrets in the environment of a container that have changed since it was made. One that is
/// not there at present has not.
pub(super) fn variables_changed<'a>(stamp: &Stamp, spec: &'a ContainerSpec, now: &Digests) -> BTreeSet<&'a str> {
    let changed = |it: &&SecretUse| {
        let (Some(variable), Some(key)) = (&it.env, &it.key) else { return false };
        let digest = now.get(&it.secret).and_then(|values| values.get(key));
        digest.is_some_and(|digest| stamp.variables.get(variable) != Some(digest))
    };
    spec.secrets.iter().filter(changed).map(|it| it.secret.as_str()).collect()
}

/// Returns the files that a use asks for.
fn files(it: &SecretUse, secrets: &Digests) -> BTreeMap<String, FileSeen> {
    let (mode, (uid, gid)) = (it.mode(), it.owner());
    let values = secrets.get(&it.secret).into_iter().flatten();
    let wanted = values.filter(|(key, _)| it.key.as_ref().is_none_or(|only| only == *key));
    wanted.map(|(key, digest)| (key.clone(), FileSeen { digest: digest.clone(), mode, uid, gid })).collect()
}

//! The plan for all secrets.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{Declared, Desired, Secret, SecretSpec};

use super::step::{Act, SecretStep};
use crate::{
    host::{SecretSeen, SecretsView},
    reconcile::{Plan, Waiting},
};

/// Plans the whole kind: first what goes, then each subject by name.
pub(super) fn plan(desired: &Desired<Secret>, observed: &SecretsView) -> Plan<SecretStep> {
    let wanted: BTreeMap<&str, &SecretSpec> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let seen: BTreeMap<&str, &SecretSeen> = observed.secrets.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut plan = Plan::default();
    let goes = |name: &str| !wanted.contains_key(name) && (desired.complete || desired.consented.contains(name));
    for name in seen.keys().filter(|name| goes(name)) {
        plan.steps.push(SecretStep { subject: (*name).to_owned(), removal: true, act: Act::Remove });
    }
    for (name, spec) in &wanted {
        match &observed.on_disk {
            Some(directory) => plan.waiting.push(on_disk(name, directory)),
            None => plan.steps.extend(write(name, spec, seen.get(name).copied())),
        }
    }
    plan
}

/// Returns the step that makes a secret what its manifest asks, if it is not.
fn write(name: &str, spec: &SecretSpec, seen: Option<&SecretSeen>) -> Option<SecretStep> {
    let none = BTreeMap::new();
    let held = seen.map_or(&none, |seen| &seen.values);
    let is_made_from =
        |key: &String, sealed: &String| held.get(key).is_some_and(|it| it.sealed.as_ref() == Some(sealed));
    let changed = spec.data.iter().filter(|(key, sealed)| !is_made_from(key, sealed)).map(|(key, _)| key);
    let gone = held.keys().filter(|key| !spec.data.contains_key(*key));
    let keys: BTreeSet<String> = changed.chain(gone).cloned().collect();
    if seen.is_some() && keys.is_empty() {
        return None;
    }
    let act = Act::Write { spec: spec.clone(), keys: keys.into_iter().collect() };
    Some(SecretStep { subject: name.to_owned(), removal: false, act })
}

fn on_disk(name: &str, directory: &str) -> Waiting {
    let message = format!(
        "`{directory}` lies on a disk, where no value may be written; mount a tmpfs there: mount -t tmpfs -o mode=0700 \
         tmpfs {directory}"
    );
    Waiting { subject: name.to_owned(), reason: "NotInMemory".to_owned(), message }
}

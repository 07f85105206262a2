//! How everything has to stand once it is quiet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt;
use piccolo_agent::{
    host::{
        ContainerSeen, Disks as _, EngineView, Limits, NetworkView, Networks as _, PacketFilter as _, RulesSeen,
        Secrets as _, State, fake::FakeEngine, parted::manifest_of, place,
    },
    reconcile::{Reconciler as _, Waiting, disk::Disks, volume::Volumes},
};
use piccolo_schema::{
    ContainerSpec, NetworkSpec,
    container::{Exposure, Restart},
};
use proptest::prelude::*;

use crate::{BAD, Scene};

impl Scene {
    pub(crate) fn foreign_is_untouched(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.engine.trespasses().is_empty(), "{:?}", self.engine.trespasses());
        self.wires.foreign_is_untouched()?;
        let view = self.engine.truth();
        for (id, before) in &self.foreign {
            prop_assert_eq!(view.containers.iter().find(|it| it.id == *id), Some(before));
        }
        Ok(())
    }

    /// Looks at the machine with other eyes than the planner's: what waits for nothing must be as its file says.
    pub(crate) fn is_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let view = self.engine.truth();
        let waiting: BTreeSet<String> = self.plan().waiting.into_iter().map(|it: Waiting| it.subject).collect();
        let only_for_names = self.plan().waiting.iter().all(|it| it.reason == "NameTaken");
        prop_assert!(waiting.is_empty() || !only_for_names || !self.foreign.is_empty(), "they wait for each other");
        for container in view.containers.iter().filter_map(ContainerSeen::subject) {
            prop_assert!(self.files.containers.contains_key(container), "orphan of {container}");
        }
        for (name, spec) in self.files.containers.iter().filter(|(name, _)| !waiting.contains(**name)) {
            let ours: Vec<_> = view.containers.iter().filter(|it| it.subject() == Some(name)).collect();
            prop_assert_eq!(ours.len(), 1, "{}", name);
            is_as_its_file_says(ours[0], name, spec, &view)?;
            has_its_secrets(ours[0], name, spec, &view)?;
        }
        for subject in view.places.keys() {
            prop_assert!(self.files.containers.contains_key(subject.as_str()), "files of {} are left", subject);
        }
        self.secrets_are_as_the_files_say()?;
        self.disks_are_as_the_files_say()?;
        self.wires.are_as_the_files_say()?;
        let seen = self.engine.networks().now_or_never().unwrap().unwrap();
        self.rules_are_as_the_files_say(&seen)?;
        let networks = seen.networks;
        let in_use = |network: &str| networks.iter().any(|it| it.name == network && !it.attached.is_empty());
        for network in networks.iter().filter(|it| it.stamp.is_some() && !in_use(&it.name)) {
            let file = self.files.networks.get(network.name.as_str()).map(NetworkSpec::fixed);
            prop_assert_eq!(network.stamp.as_ref(), file.as_ref());
        }
        Ok(())
    }

    /// Every policy is kept, whoever publishes to certain addresses is guarded while it runs, and nothing else is.
    fn rules_are_as_the_files_say(&self, seen: &NetworkView) -> Result<(), TestCaseError> {
        let asking = |spec: &NetworkSpec| spec.policy.is_some();
        let policies = self.files.networks.iter().filter(|(_, spec)| asking(spec)).map(|(name, _)| (*name).to_owned());
        let rules = seen.firewall.rules.clone().unwrap_or(RulesSeen { intact: true, ..RulesSeen::default() });
        let policies: BTreeSet<String> = policies.collect();
        // A network that is in use and has no file any more is closed.
        let in_use = |name: &str| seen.networks.iter().any(|it| it.name == name && !it.attached.is_empty());
        let closed = |name: &str| in_use(name) && !self.files.networks.contains_key(name);
        prop_assert!(rules.intact);
        let filter = self.engine.filter().now_or_never().unwrap().unwrap().filter.rules;
        prop_assert_eq!(filter.map(|rules| rules.intact), self.files.firewall.as_ref().map(|_| true));
        prop_assert!(policies.is_subset(&rules.networks), "{:?} {:?}", rules, policies);
        prop_assert!(rules.networks.difference(&policies).all(|name| closed(name)), "{:?} {:?}", rules, policies);
        for member in &seen.members {
            let to_range = member.ports.iter().any(|port| matches!(port.exposed_to(), Exposure::Range(_)));
            let guarded = rules.guards.contains(&member.id);
            prop_assert!(guarded == to_range, "{:?} {:?}", member, rules);
        }
        self.volumes_are_as_the_files_say()
    }

    fn volumes_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let reconciler = Volumes(Arc::clone(&self.engine), Arc::clone(&self.engine));
        let seen = reconciler.observe().now_or_never().unwrap().unwrap();
        let plan = Volumes::<FakeEngine>::plan(&self.files.volumes(), &seen);
        let waiting: BTreeSet<String> = plan.waiting.into_iter().map(|it| it.subject).collect();
        for (name, spec) in self.files.volumes.iter().filter(|(name, _)| !waiting.contains(**name)) {
            let volume = seen.volumes.iter().find(|it| it.name == *name);
            prop_assert!(volume.is_some(), "there is no volume {name}");
            let (path, directory) = volume.map(|it| (it.path.clone(), it.directory.clone())).unwrap_or_default();
            prop_assert_eq!(path, spec.path.clone());
            if let Some(owner) = &spec.owner {
                prop_assert_eq!(Some(owner), directory.as_ref().map(|it| &it.owner));
            }
            if let (Some(quota), Some(directory)) = (spec.quota, &directory) {
                prop_assert_eq!(Some(quota.get()), directory.quota.limit);
            }
        }
        Ok(())
    }

    fn disks_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let seen = self.engine.disks().now_or_never().unwrap().unwrap();
        let plan = Disks::<FakeEngine>::plan(&self.files.disks(), &seen);
        let waiting: BTreeSet<String> = plan.waiting.into_iter().map(|it| it.subject).collect();
        for (name, spec) in self.files.disks.iter().filter(|(name, _)| !waiting.contains(**name)) {
            for (key, at) in spec.places(name) {
                let mount = seen.mounts.iter().find(|it| it.subject == key && it.present);
                prop_assert_eq!(mount.and_then(|it| it.mount.at.clone()), Some(at), "{}", key);
            }
        }
        for mount in &seen.mounts {
            prop_assert!(self.files.disks.contains_key(manifest_of(&mount.subject)), "{:?} is nobody's", mount);
        }
        prop_assert!(
            seen.making
                .iter()
                .all(|it| waiting.contains(&it.subject) || !self.files.disks.contains_key(it.subject.as_str()))
        );
        Ok(())
    }

    fn secrets_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let held = self.engine.secrets().now_or_never().unwrap().unwrap().secrets;
        let sealed = held.into_iter().map(|it| {
            let values = it.values.into_iter().map(|(key, value)| (key, value.sealed.unwrap_or_default()));
            (it.name, values.collect::<BTreeMap<_, _>>())
        });
        let files = self.files.secrets.iter().map(|(name, spec)| ((*name).to_owned(), spec.data.clone()));
        prop_assert_eq!(sealed.collect::<BTreeMap<_, _>>(), files.collect::<BTreeMap<_, _>>());
        Ok(())
    }
}

/// Looks at what a running container was given of secrets.
fn has_its_secrets(
    seen: &ContainerSeen,
    name: &str,
    spec: &ContainerSpec,
    view: &EngineView,
) -> Result<(), TestCaseError> {
    for it in spec.secrets.iter().filter(|_| seen.state == State::Running) {
        let mut values = view.secrets[&it.secret].clone();
        values.retain(|key, _| it.key.as_ref().is_none_or(|only| only == key));
        match (place(it), &it.env) {
            (Some(place), _) => {
                let files = &view.places[name][&place];
                let digests = files.iter().map(|(key, file)| (key.clone(), file.digest.clone())).collect();
                prop_assert_eq!(&values, &digests, "{} has other files", name);
            }
            (None, variable) => {
                let digests = &seen.stamp.as_ref().unwrap().variables;
                prop_assert_eq!(digests.get(variable.as_ref().unwrap()), values.values().next(), "{}", name);
            }
        }
    }
    Ok(())
}

fn is_as_its_file_says(
    seen: &ContainerSeen,
    name: &str,
    spec: &ContainerSpec,
    view: &EngineView,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(&seen.name, name);
    prop_assert!(seen.attached);
    // Who stands on a disk is started by nobody but the daemon, and only while the disk is there.
    let mut grounds = view.grounds.iter().filter(|ground| spec.mounts.iter().any(|mount| ground.carries(mount)));
    let limits = match grounds.clone().next() {
        Some(_) => Limits { restart: Restart::No, ..Limits::of(spec) },
        None => Limits::of(spec),
    };
    prop_assert_eq!(&seen.limits, &limits);
    prop_assert!(grounds.all(|ground| ground.mounted || !spec.running), "{} stands on a bare mount point", name);
    let made_from = seen.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref()).unwrap();
    prop_assert_eq!(
        (&made_from.image, &made_from.env, &made_from.ports, &made_from.network, &made_from.mounts),
        (&spec.image, &spec.env, &spec.ports, &spec.network, &spec.mounts)
    );
    let may_have_ended = spec.restart != Restart::Always && seen.state == State::Exited;
    let tried = seen.stamp.as_ref().is_some_and(|stamp| stamp.rollout.is_some());
    let bad = seen.image_digest.as_deref() == Some(BAD);
    prop_assert!(!(tried && bad), "{name} was updated to an image that never does well");
    let runs = seen.state == State::Running || (bad && seen.state == State::Restarting);
    let as_asked = if spec.running { runs || may_have_ended } else { !seen.state.is_live() };
    prop_assert!(as_asked, "{name} is {:?}", seen.state);
    Ok(())
}

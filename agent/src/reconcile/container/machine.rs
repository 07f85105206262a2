//! What is observed, sorted for look-ups.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use piccolo_schema::{ContainerSpec, Progress, container::Restart};

use super::{
    compare::{Gap, gap, listed_as},
    offer,
};
use crate::host::{
    ContainerSeen, Digests, EngineView, Firewall, Ground, Limits, Places, State, UpdatesSeen, firewall::short,
};

/// An [`EngineView`] with its indices.
pub(super) struct Machine<'a> {
    names: BTreeMap<&'a str, &'a ContainerSeen>,
    subjects: BTreeMap<&'a str, Vec<&'a ContainerSeen>>,
    images: BTreeSet<&'a str>,
    declared_images: &'a BTreeMap<String, String>,
    made_images: &'a BTreeMap<String, String>,
    pulls: &'a BTreeMap<String, Progress>,
    networks: BTreeSet<&'a str>,
    volumes: BTreeSet<&'a str>,
    firewall: &'a Firewall,
    pub(super) secrets: &'a Digests,
    pub(super) places: &'a Places,
    /// Since when the engine runs.
    engine_since: Option<Timestamp>,
    /// What is known of updates.
    pub(super) updates: &'a UpdatesSeen,
    grounds: &'a [Ground],
}

/// The containers of one subject, by the part they play.
#[derive(Default)]
pub(super) struct Standing<'a> {
    /// The one that is as the manifest asks, or can be made so in place.
    pub(super) kept: Option<&'a ContainerSeen>,
    /// The one that does the work until its replacement does; none when one is kept.
    pub(super) old: Option<&'a ContainerSeen>,
    /// The rest, which has no business here.
    pub(super) spare: Vec<&'a ContainerSeen>,
}

impl<'a> Machine<'a> {
    /// Sorts a view.
    pub(super) fn new(view: &'a EngineView) -> Self {
        let mut subjects: BTreeMap<&str, Vec<&ContainerSeen>> = BTreeMap::new();
        for container in &view.containers {
            if let Some(subject) = container.subject() {
                subjects.entry(subject).or_default().push(container);
            }
        }
        for containers in subjects.values_mut() {
            containers.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Self {
            names: view.containers.iter().map(|container| (container.name.as_str(), container)).collect(),
            subjects,
            images: view.images.iter().map(String::as_str).collect(),
            declared_images: &view.declared_images,
            made_images: &view.made_images,
            pulls: &view.pulls,
            networks: view.networks.iter().map(String::as_str).collect(),
            volumes: view.volumes.iter().map(String::as_str).collect(),
            firewall: &view.firewall,
            secrets: &view.secrets,
            places: &view.places,
            engine_since: view.engine_since,
            updates: &view.updates,
            grounds: &view.grounds,
        }
    }

    /// Returns every subject that has containers here, with them.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (&'a str, &[&'a ContainerSeen])> {
        self.subjects.iter().map(|(subject, containers)| (*subject, containers.as_slice()))
    }

    /// Returns true if a container that has ended did so before the engine that runs now was started.
    pub(super) fn ended_with_the_engine(&self, seen: &ContainerSeen) -> bool {
        let Some((ended, engine)) = seen.since.zip(self.engine_since) else { return false };
        // An end that is still to come was written down by a clock that has been set since.
        seen.state == State::Exited && (ended < engine || self.updates.now.is_some_and(|now| ended > now))
    }

    /// Returns the containers of one subject, sorted by name.
    pub(super) fn of(&self, subject: &str) -> &[&'a ContainerSeen] {
        self.subjects.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Returns whoever has this name and is not of this subject.
    pub(super) fn stranger(&self, name: &str, subject: &str) -> Option<&'a ContainerSeen> {
        self.names.get(name).copied().filter(|container| container.subject() != Some(subject))
    }

    /// Returns true if the image can be run without pulling it.
    pub(super) fn has_image(&self, image: &str) -> bool {
        self.images.contains(image) || self.images.contains(listed_as(image).as_str())
    }

    /// Returns the manifest that brings this image, if there is one.
    pub(super) fn brings(&self, image: &str) -> Option<&'a str> {
        self.declared_images.get(&listed_as(image)).map(String::as_str)
    }

    /// Returns the identifier of this image if it was made here: built, or loaded from an archive.
    pub(super) fn made(&self, image: &str) -> Option<&'a str> {
        self.made_images.get(&listed_as(image)).map(String::as_str)
    }

    /// Returns how far the pull of this image has come, if one is under way.
    pub(super) fn progress(&self, image: &str) -> Option<&'a Progress> {
        self.pulls.get(&listed_as(image))
    }

    /// Returns true if the engine has the network of a manifest.
    pub(super) fn has_network(&self, network: &str) -> bool {
        self.networks.contains(network)
    }

    /// Returns true if the engine has the volume.
    pub(super) fn has_volume(&self, volume: &str) -> bool {
        self.volumes.contains(volume)
    }

    /// Returns true if there are rules for the ports of this container.
    pub(super) fn is_guarded(&self, id: &str) -> bool {
        self.firewall.rules.as_ref().is_some_and(|rules| rules.guards.contains(short(id)))
    }

    /// Says why there can't be rules on this machine, if so.
    pub(super) fn firewall_problem(&self) -> Option<&'a str> {
        self.firewall.problem.as_deref()
    }

    /// Returns a container of another subject that runs on this volume.
    pub(super) fn other_on(&self, volume: &str, subject: &str) -> Option<&'a ContainerSeen> {
        self.others_on(volume, subject).find(|seen| seen.state.is_live())
    }

    /// Returns a container of another subject whose update is open and has begun to write to this volume: what was there
    /// before may have to be put back.
    pub(super) fn trial_on(&self, volume: &str, subject: &str) -> Option<&'a ContainerSeen> {
        let replaces = |seen: &ContainerSeen| seen.stamp.as_ref()?.rollout.as_ref()?.replaces.clone();
        let is_open = |seen: &ContainerSeen| {
            seen.state != State::Created && replaces(seen).is_some_and(|old| self.names.values().any(|it| it.id == old))
        };
        self.others_on(volume, subject).find(|seen| is_open(seen))
    }

    fn others_on(&self, volume: &str, subject: &str) -> impl Iterator<Item = &'a ContainerSeen> {
        let uses = move |seen: &ContainerSeen| {
            let spec = seen.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref());
            spec.is_some_and(|spec| spec.mounts.iter().any(|mount| mount.volume.as_deref() == Some(volume)))
        };
        self.names.values().copied().filter(move |seen| seen.subject() != Some(subject) && uses(seen))
    }

    /// Returns the disks that a container stands on.
    pub(super) fn grounds_of(&self, spec: &ContainerSpec) -> impl Iterator<Item = &'a Ground> {
        self.grounds.iter().filter(|ground| spec.mounts.iter().any(|mount| ground.carries(mount)))
    }

    /// Returns a disk that was mounted after this container was started, which therefore runs without it.
    pub(super) fn came_after(&self, seen: &ContainerSeen, spec: &ContainerSpec) -> Option<&'a Ground> {
        let (began, now) = seen.since.zip(self.updates.now)?;
        // What was mounted in a time that is still to come was written down by a clock that has been set since.
        self.grounds_of(spec).find(|it| it.mounted && it.since.is_some_and(|since| since > began && since <= now))
    }

    /// Returns what a container is to be limited to. One that stands on a disk is never started by the engine itself,
    /// which knows nothing of disks and would start it beside one that is not mounted.
    pub(super) fn limits(&self, spec: &ContainerSpec) -> Limits {
        let limits = Limits::of(spec);
        if self.grounds_of(spec).next().is_some() { Limits { restart: Restart::No, ..limits } } else { limits }
    }

    /// Measures a container of a subject against its spec.
    pub(super) fn gap(&self, subject: &str, seen: &ContainerSeen, spec: &ContainerSpec) -> Gap {
        match gap(seen, spec, &self.limits(spec), self.secrets) {
            Gap::None | Gap::InPlace(_) if offer::is_made_anew(spec, seen, self) && !offer::asks(spec) => {
                Gap::Anew("its image was made anew".to_owned())
            }
            Gap::None | Gap::InPlace(_) if offer::is_another(subject, spec, seen, self) => {
                Gap::Anew("digest changed".to_owned())
            }
            gap => gap,
        }
    }

    /// Says which container of a subject is kept, which is replaced, and which are too many.
    pub(super) fn standing(&self, subject: &str, spec: &ContainerSpec) -> Standing<'a> {
        let containers = self.of(subject);
        let rank = |seen: &ContainerSeen| (seen.state.is_live(), seen.name == subject);
        let kept = best(containers, |seen| {
            (!matches!(self.gap(subject, seen, spec), Gap::Anew(_)))
                .then(|| (seen.name == subject, seen.state.is_live()))
        });
        let old = match kept {
            Some(_) => None,
            None => best(containers, |seen| Some(rank(seen))),
        };
        let chosen = kept.or(old).map(|seen| &seen.id);
        let spare = containers.iter().copied().filter(|seen| Some(&seen.id) != chosen).collect();
        Standing { kept, old, spare }
    }

    /// Returns the container of a subject that is just being removed.
    pub(super) fn leaving(&self, subject: &str) -> Option<&'a ContainerSeen> {
        self.of(subject).iter().copied().find(|seen| seen.state == State::Removing)
    }
}

/// Returns the container that ranks highest, the first by name among equals.
fn best<'a, R: Ord>(
    containers: &[&'a ContainerSeen],
    rank: impl Fn(&ContainerSeen) -> Option<R>,
) -> Option<&'a ContainerSeen> {
    let mut best: Option<(R, &ContainerSeen)> = None;
    for container in containers.iter().copied() {
        if let Some(rank) = rank(container)
            && best.as_ref().is_none_or(|(highest, _)| rank > *highest)
        {
            best = Some((rank, container));
        }
    }
    best.map(|(_, container)| container)
}

//! What a container waits for in others.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{
    ContainerSpec,
    container::{Dependency, DependencyCondition, Restart},
};

use super::{machine::Machine, plan::Wanted};
use crate::{
    host::{Health, State},
    reconcile::Waiting,
};

/// Who depends on whom, and how those stand.
pub(super) struct Dependencies<'a> {
    wanted: &'a Wanted<'a>,
    machine: &'a Machine<'a>,
    /// Subjects on a cycle, or leaning on one.
    tangled: BTreeSet<&'a str>,
}

impl<'a> Dependencies<'a> {
    pub(super) fn new(wanted: &'a Wanted<'a>, machine: &'a Machine<'a>) -> Self {
        Self { wanted, machine, tangled: tangled(wanted) }
    }

    /// Says which dependency keeps a subject from starting, if one does.
    pub(super) fn missing(&self, subject: &str, spec: &ContainerSpec) -> Option<Waiting> {
        let wait =
            |reason: &str, message| Some(Waiting { subject: subject.to_owned(), reason: reason.to_owned(), message });
        if let Some(absent) = spec.depends_on.iter().find(|it| !self.wanted.contains_key(it.container.as_str())) {
            let message = format!("There is no Container manifest `{}`, on which this one depends", absent.container);
            return wait("DependencyMissing", message);
        }
        if let Some(cycle) = self.cycle(subject) {
            let message = format!("It depends on itself: {}; take one of these dependencies out", cycle.join(" → "));
            return wait("DependencyCycle", message);
        }
        let message = spec.depends_on.iter().find_map(|dependency| self.unmet(dependency))?;
        wait("DependencyNotReady", message)
    }

    /// Says in a sentence what is missing in a dependency.
    fn unmet(&self, dependency: &Dependency) -> Option<String> {
        let name = dependency.container.as_str();
        let spec = self.wanted.get(name)?;
        let containers = self.machine.of(name);
        let runs = |health: Option<Health>| {
            containers.iter().any(|it| it.state == State::Running && (health.is_none() || it.health == health))
        };
        match dependency.condition {
            DependencyCondition::Started | DependencyCondition::Completed if self.has_ended_well(name, spec) => None,
            // It may still run, but it is about to be stopped.
            _ if !spec.running => Some(format!("`{name}` is declared with `running = false`")),
            DependencyCondition::Started if runs(None) => None,
            DependencyCondition::Started => Some(format!("`{name}` is not running yet")),
            DependencyCondition::Completed if spec.restart == Restart::Always => {
                Some(format!("`{name}` is started again whenever it ends; give it `restart = \"no\"`"))
            }
            DependencyCondition::Completed => Some(format!("`{name}` has not ended well yet")),
            DependencyCondition::Healthy if runs(Some(Health::Healthy)) => None,
            DependencyCondition::Healthy if spec.health_check.is_none() => {
                Some(format!("`{name}` has no `healthCheck`, so it never becomes healthy; wait for `started` instead"))
            }
            DependencyCondition::Healthy => Some(format!("`{name}` is not healthy yet")),
        }
    }

    /// Returns true if it is a job that ran to its end without error.
    fn has_ended_well(&self, name: &str, spec: &ContainerSpec) -> bool {
        spec.restart != Restart::Always
            && self
                .machine
                .standing(name, spec)
                .kept
                .is_some_and(|it| it.state == State::Exited && it.exit_code == Some(0))
    }

    /// Returns the shortest way from a subject back to itself, named from end to end.
    fn cycle(&self, subject: &str) -> Option<Vec<&'a str>> {
        let (&start, _) = self.wanted.get_key_value(subject)?;
        if !self.tangled.contains(start) {
            return None;
        }
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut reached = vec![start];
        let mut looked_at = 0;
        while let Some(&here) = reached.get(looked_at) {
            looked_at += 1;
            for to in needs(self.wanted, here) {
                if to == start {
                    return Some(way_back(&came_from, here, start));
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, here);
                    reached.push(to);
                }
            }
        }
        None
    }
}

/// Returns `start → … → last → start`.
fn way_back<'a>(came_from: &BTreeMap<&'a str, &'a str>, last: &'a str, start: &'a str) -> Vec<&'a str> {
    let mut way = vec![start, last];
    let mut here = last;
    while let Some(&before) = came_from.get(here) {
        way.push(before);
        here = before;
    }
    if last == start {
        way.pop();
    }
    way.reverse();
    way
}

fn needs<'a>(wanted: &Wanted<'a>, subject: &str) -> impl Iterator<Item = &'a str> {
    let spec = wanted.get(subject).copied();
    spec.into_iter().flat_map(|spec| spec.depends_on.iter().map(|it| it.container.as_str()))
}

/// Returns what is left when everything is taken away, again and again, that needs nothing which is left.
fn tangled<'a>(wanted: &Wanted<'a>) -> BTreeSet<&'a str> {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&'a str>> = BTreeMap::new();
    for &subject in wanted.keys() {
        for need in needs(wanted, subject).filter(|need| wanted.contains_key(need)) {
            *open.entry(subject).or_default() += 1;
            needed_by.entry(need).or_default().push(subject);
        }
    }
    let mut left: BTreeSet<&str> = wanted.keys().copied().filter(|subject| open.contains_key(subject)).collect();
    let mut free: Vec<&str> = wanted.keys().copied().filter(|subject| !open.contains_key(subject)).collect();
    while let Some(subject) = free.pop() {
        for dependant in needed_by.remove(subject).unwrap_or_default() {
            if let Some(count) = open.get_mut(dependant) {
                *count -= 1;
                if *count == 0 {
                    left.remove(dependant);
                    free.push(dependant);
                }
            }
        }
    }
    left
}

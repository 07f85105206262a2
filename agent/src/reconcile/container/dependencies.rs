//! What a container waits for in others.

use piccolo_schema::{
    ContainerSpec,
    container::{Dependency, DependencyCondition, Restart},
    order::{Cycles, Wanted},
};

use super::machine::Machine;
use crate::{
    host::{Health, State},
    reconcile::Waiting,
};

/// Who depends on whom, and how those stand.
pub(super) struct Dependencies<'a> {
    wanted: &'a Wanted<'a>,
    machine: &'a Machine<'a>,
    cycles: Cycles<'a>,
}

impl<'a> Dependencies<'a> {
    pub(super) fn new(wanted: &'a Wanted<'a>, machine: &'a Machine<'a>) -> Self {
        Self { wanted, machine, cycles: Cycles::new(wanted) }
    }

    /// Says which dependency keeps a subject from starting, if one does.
    pub(super) fn missing(&self, subject: &str, spec: &ContainerSpec) -> Option<Waiting> {
        let wait =
            |reason: &str, message| Some(Waiting { subject: subject.to_owned(), reason: reason.to_owned(), message });
        if let Some(absent) = spec.depends_on.iter().find(|it| !self.wanted.contains_key(it.container.as_str())) {
            let message = format!("There is no Container manifest `{}`, on which this one depends", absent.container);
            return wait("DependencyMissing", message);
        }
        if let Some(cycle) = self.cycles.through(subject) {
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
}

//! The plan for all containers.

use piccolo_schema::{Container, Declared, Desired, order::Wanted};

use super::{
    dependencies::Dependencies,
    machine::Machine,
    ports,
    step::{Act, ContainerStep},
    subject::Subject,
};
use crate::{
    host::{ContainerSeen, EngineView, State},
    reconcile::Plan,
};

/// Plans the whole kind: first what goes, since it frees names and ports, then each subject by name.
pub(super) fn plan(desired: &Desired<Container>, observed: &EngineView) -> Plan<ContainerStep> {
    let wanted: Wanted<'_> = desired.manifests.iter().map(|manifest| (manifest.name(), &manifest.spec)).collect();
    let machine = Machine::new(observed);
    let mut plan = Plan::default();
    let goes = |step: &ContainerStep| desired.complete || desired.consented.contains(&step.subject);
    plan.steps.extend(orphans(&wanted, &machine).into_iter().filter(goes));
    let dependencies = Dependencies::new(&wanted, &machine);
    let clashes = ports::clashes(&wanted, &machine);
    for (name, spec) in &wanted {
        let gate = || dependencies.missing(name, spec).or_else(|| clashes.get(name).cloned());
        Subject::new(name, spec, &machine, &gate).plan(&mut plan);
    }
    plan
}

/// Returns the steps that remove what carries our stamp and no manifest asks for.
fn orphans(wanted: &Wanted<'_>, machine: &Machine<'_>) -> Vec<ContainerStep> {
    let mut steps = Vec::new();
    for (subject, containers) in machine.subjects().filter(|(subject, _)| !wanted.contains_key(subject)) {
        for act in containers.iter().flat_map(|container| take_down(container)) {
            steps.push(ContainerStep { subject: subject.to_owned(), removal: true, follows: false, act });
        }
    }
    for (subject, places) in machine.places.iter().filter(|(subject, _)| !wanted.contains_key(subject.as_str())) {
        let places = places.keys().cloned().collect();
        let act = Act::ClearSecrets { name: subject.clone(), places };
        steps.push(ContainerStep { subject: subject.clone(), removal: true, follows: false, act });
    }
    steps
}

/// Returns what it takes to be rid of a container. An engine refuses to stop or remove one that is frozen.
pub(super) fn take_down(container: &ContainerSeen) -> Vec<Act> {
    let mut acts = Vec::new();
    if container.state == State::Paused {
        acts.push(Act::unpause(container));
    }
    if container.state.is_live() {
        acts.push(Act::stop(container));
    }
    if container.state != State::Removing {
        acts.push(Act::remove(container));
    }
    acts
}

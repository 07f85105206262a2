//! In which order containers are stopped when the machine goes down: the reverse of that in which they start.

use piccolo_schema::{
    Container, Declared, Desired,
    order::{Wanted, stopping},
};

use super::{
    machine::Machine,
    step::{Act, ContainerStep},
};
use crate::host::{ContainerSeen, EngineView, State};

/// Returns the steps in waves. What no manifest asks for is left to the engine, which ends after us.
pub(super) fn farewell(desired: &Desired<Container>, observed: &EngineView) -> Vec<Vec<ContainerStep>> {
    let wanted: Wanted<'_> = desired.manifests.iter().map(|manifest| (manifest.name(), &manifest.spec)).collect();
    let machine = Machine::new(observed);
    let stop = |name: &str| {
        let acts = machine.of(name).iter().flat_map(|seen| stop(seen));
        let step = |act| ContainerStep { subject: name.to_owned(), removal: false, follows: true, act };
        acts.map(step).collect::<Vec<_>>()
    };
    let waves = stopping(&wanted).into_iter().map(|wave| wave.into_iter().flat_map(stop).collect());
    waves.filter(|wave: &Vec<_>| !wave.is_empty()).collect()
}

fn stop(seen: &ContainerSeen) -> Vec<Act> {
    match seen.state {
        State::Paused => vec![Act::unpause(seen), Act::stop(seen)],
        state if state.is_live() => vec![Act::stop(seen)],
        _ => Vec::new(),
    }
}

//! Containers that wait for each other in a circle.

use super::{Conflict, Set, Spot};
use crate::{
    Container, Declared,
    order::{Cycles, Wanted},
    parse::{Code, Path},
};

pub(super) fn cycles(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let wanted: Wanted<'_> = set.containers().map(|(_, it)| (it.name(), &it.spec)).collect();
    for cycle in Cycles::new(&wanted).all() {
        let mut spots = cycle.iter().zip(cycle.iter().skip(1)).filter_map(|(from, to)| spot(set, from, to));
        let Some(at) = spots.next() else { continue };
        let others = spots.collect();
        let reason = format!("Container `{}` waits for itself: {}", cycle[0], cycle.join(" → "));
        let help = "take one of these dependencies out".to_owned();
        out.push(Conflict { code: Code::DependencyCycle, is_error: true, at, others, reason, help });
    }
}

/// Returns where one container says that it depends on the other.
fn spot(set: &Set<'_>, from: &str, to: &str) -> Option<Spot> {
    let (at, container) = set.get::<Container>(from)?;
    let index = container.spec.depends_on.iter().position(|it| it.container == to)?;
    Some(Spot::new(at, Path::spec("dependsOn").index(index).key("container")))
}

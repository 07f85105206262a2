//! Disks that are in each other's way.

use super::{Conflict, Set, Spot};
use crate::{
    Declared, Disk,
    parse::{Code, Path},
    volume::lies_in,
};

pub(super) fn check(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let mut before: Vec<(usize, &Disk)> = Vec::new();
    for (at, disk) in set.all::<Disk>() {
        let others = || before.iter().filter(|(_, other)| other.name() != disk.name());
        let here = disk.spec.places(disk.name());
        let nested = |other: &Disk| {
            let there = other.spec.places(other.name());
            let pairs = here.iter().flat_map(|(_, one)| there.iter().map(move |(_, two)| (one.clone(), two.clone())));
            pairs.into_iter().find(|(one, two)| lies_in(one, two) || lies_in(two, one))
        };
        if let Some((other, rival, (one, two))) = others().find_map(|(at, it)| Some((*at, *it, nested(it)?))) {
            let reason = if one == two {
                format!("Disks `{}` and `{}` are both to be mounted at `{one}`", disk.name(), rival.name())
            } else {
                format!(
                    "Disks `{}` ({one}) and `{}` ({two}) are to be mounted in each other",
                    disk.name(),
                    rival.name()
                )
            };
            let help = "give one of the two another `mount`, beside that of the other";
            out.push(clash((at, other), "mount", reason, help));
        }
        let shares = |other: &Disk| other.spec.selectors().any(|it| disk.spec.selectors().any(|mine| mine == it));
        if let Some(&(other, rival)) = others().find(|(_, other)| shares(other)) {
            let reason = format!("Disks `{}` and `{}` choose the same disk", disk.name(), rival.name());
            out.push(clash((at, other), "select", reason, "keep one of the two, or correct `select`"));
        }
        before.push((at, disk));
    }
}

fn clash((at, other): (usize, usize), key: &str, reason: String, help: &str) -> Conflict {
    Conflict {
        code: Code::DiskClash,
        is_error: true,
        at: Spot::new(at, Path::spec(key)),
        others: vec![Spot::new(other, Path::spec(key))],
        reason,
        help: help.to_owned(),
    }
}

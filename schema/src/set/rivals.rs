//! What only one of two can have: a name, a port of the machine, a range of addresses, an image.

use std::collections::BTreeMap;

use super::{Conflict, Set, Spot};
use crate::{
    Declared, Image, Network,
    container::Port,
    image::Reference,
    parse::{Code, Path},
};

pub(super) fn names(set: &Set<'_>, out: &mut Vec<Conflict>) {
    for (at, manifest) in set.manifests.iter().enumerate() {
        let (kind, name) = (manifest.kind(), manifest.name());
        if let Some(&first) = set.first.get(&(kind, name)).filter(|first| **first != at) {
            out.push(Conflict {
                code: Code::Duplicate,
                is_error: true,
                at: Spot::name(at),
                others: vec![Spot::name(first)],
                reason: format!("{kind} `{name}` is declared twice"),
                help: "keep one of the two, or give it another name".to_owned(),
            });
        }
    }
}

pub(super) fn ports(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let mut claims: BTreeMap<_, Vec<(usize, usize, &str, &Port)>> = BTreeMap::new();
    for (at, container) in set.containers().filter(|(_, it)| it.spec.running) {
        for (index, port) in container.spec.ports.iter().enumerate() {
            let claims = claims.entry((port.host_port, port.protocol)).or_default();
            let rival = claims.iter().find(|(_, _, name, other)| *name != container.name() && port.clashes(other));
            if let Some(&(other, other_index, name, _)) = rival {
                let number = port.host_port;
                out.push(Conflict {
                    code: Code::PortClash,
                    is_error: true,
                    at: Spot::new(at, host_port(index)),
                    others: vec![Spot::new(other, host_port(other_index))],
                    reason: format!(
                        "Containers `{}` and `{name}` both ask for port {number} of the machine",
                        container.name()
                    ),
                    help: "give one of the two another `hostPort`, or bind them to different addresses".to_owned(),
                });
            } else {
                claims.push((at, index, container.name(), port));
            }
        }
    }
}

fn host_port(index: usize) -> Path {
    Path::spec("ports").index(index).key("hostPort")
}

pub(super) fn subnets(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let mut granted = Vec::new();
    for (at, network) in set.all::<Network>() {
        for (key, range) in network.spec.ranges() {
            let rival = granted.iter().find(|(_, _, name, other)| *name != network.name() && range.overlaps(other));
            if let Some(&(other, other_key, name, other_range)) = rival {
                out.push(Conflict {
                    code: Code::SubnetOverlap,
                    is_error: true,
                    at: Spot::new(at, Path::spec(key)),
                    others: vec![Spot::new(other, Path::spec(other_key))],
                    reason: format!(
                        "Networks `{}` ({range}) and `{name}` ({other_range}) have addresses in common",
                        network.name()
                    ),
                    help: format!("give one of the two another range, or leave `{key}` out"),
                });
            } else {
                granted.push((at, key, network.name(), range));
            }
        }
    }
}

pub(super) fn references(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let mut claims: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for (at, image) in set.all::<Image>() {
        let Ok(reference) = Reference::parse(&image.spec.reference) else { continue };
        let (other, name) = *claims.entry(reference.to_string()).or_insert((at, image.name()));
        if name != image.name() {
            out.push(Conflict {
                code: Code::Duplicate,
                is_error: true,
                at: Spot::new(at, Path::spec("reference")),
                others: vec![Spot::new(other, Path::spec("reference"))],
                reason: format!("Images `{}` and `{name}` both bring `{reference}`", image.name()),
                help: "keep one of the two; any number of containers can use it".to_owned(),
            });
        }
    }
}

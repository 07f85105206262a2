//! What a firewall and containers both ask for, and what a firewall names that is not there.

use super::{Conflict, Set, Spot};
use crate::{
    Container, Declared, Firewall,
    container::Protocol,
    firewall::Forward,
    parse::{Code, Path},
};

/// A port of the machine that a container publishes.
struct Published<'a> {
    spot: Spot,
    container: &'a str,
    port: u16,
    protocol: Protocol,
}

pub(super) fn ports(set: &Set<'_>, out: &mut Vec<Conflict>) {
    let published = published(set);
    for (at, firewall) in set.all::<Firewall>() {
        for (index, forward) in firewall.spec.forwards.iter().enumerate() {
            let rival = published.iter().find(|it| (it.port, it.protocol) == (forward.port, forward.protocol));
            if let Some(rival) = rival {
                let path = Path::spec("forwards").index(index).key("port");
                out.push(Conflict {
                    is_error: true,
                    reason: format!(
                        "Forward `{}` and Container `{}` both ask for port {} of the machine",
                        forward.name, rival.container, forward.port
                    ),
                    help: "choose another `port`; for the same number let the container publish it alone".to_owned(),
                    ..clash(Spot::new(at, path), rival)
                });
            }
        }
        for (index, service) in firewall.spec.services.iter().enumerate() {
            for (key, place, (first, last)) in service.spans() {
                let meets = |it: &&Published<'_>| it.protocol == service.protocol && (first..=last).contains(&it.port);
                if let Some(rival) = published.iter().find(meets) {
                    let path = Path::spec("services").index(index).key(key).index(place);
                    let reason = format!(
                        "Container `{}` publishes port {}, so service `{}` decides nothing about it",
                        rival.container, rival.port, service.name
                    );
                    let help = "take the service out; the port's `exposure` says who reaches it".to_owned();
                    out.push(Conflict { reason, help, ..clash(Spot::new(at, path), rival) });
                }
            }
        }
    }
}

fn clash(at: Spot, rival: &Published<'_>) -> Conflict {
    Conflict {
        code: Code::PortClash,
        is_error: false,
        at,
        others: vec![rival.spot.clone()],
        reason: String::new(),
        help: String::new(),
    }
}

fn published<'a>(set: &Set<'a>) -> Vec<Published<'a>> {
    let mut all = Vec::new();
    for (at, container) in set.containers().filter(|(_, it)| it.spec.running) {
        for (index, port) in container.spec.ports.iter().enumerate() {
            // What is bound to loopback alone is no port for others.
            if port.bound_to().is_none_or(|ip| !ip.is_loopback()) {
                all.push(Published {
                    spot: Spot::new(at, Path::spec("ports").index(index).key("hostPort")),
                    container: container.name(),
                    port: port.host_port,
                    protocol: port.protocol,
                });
            }
        }
    }
    all
}

/// Finds forwards that lead to nothing.
pub(super) fn targets(set: &Set<'_>, out: &mut Vec<Conflict>) {
    for (at, firewall) in set.all::<Firewall>() {
        for (index, forward) in firewall.spec.forwards.iter().enumerate() {
            let path = |key: &str| Spot::new(at, Path::spec("forwards").index(index).key(key));
            match set.get::<Container>(&forward.container) {
                None => super::missing::want::<Container>(set, &forward.container, path("container"), out),
                Some((place, container)) => unpublished(forward, path("containerPort"), place, container, out),
            }
        }
    }
}

fn unpublished(forward: &Forward, at: Spot, place: usize, container: &Container, out: &mut Vec<Conflict>) {
    if container.spec.ports.iter().any(|port| forward.leads_to(port)) {
        return;
    }
    let number = forward.container_port;
    out.push(Conflict {
        code: Code::NotDeclared,
        is_error: true,
        at,
        others: vec![Spot::name(place)],
        reason: format!("Container `{}` does not publish its port {number}", forward.container),
        help: format!("publish it there, with `exposure = \"loopback\"` if only `{}` is to lead to it", forward.name),
    });
}

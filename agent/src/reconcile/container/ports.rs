//! Ports of the machine that two manifests ask for.

use std::{collections::BTreeMap, net::IpAddr};

use piccolo_schema::container::{Port, Protocol};

use super::{machine::Machine, plan::Wanted};
use crate::reconcile::Waiting;

/// A manifest that asks for a port.
struct Claim<'a> {
    subject: &'a str,
    host_ip: Option<IpAddr>,
    /// It runs and has the port.
    holds: bool,
}

/// Says for each subject that has to stand back why. Who holds a port keeps it; else the first by name gets it, so that
/// two never take turns.
pub(super) fn clashes<'a>(wanted: &Wanted<'a>, machine: &Machine<'_>) -> BTreeMap<&'a str, Waiting> {
    let mut claims: BTreeMap<(u16, Protocol), Vec<Claim<'a>>> = BTreeMap::new();
    for (&subject, spec) in wanted.iter().filter(|(_, spec)| spec.running) {
        for port in &spec.ports {
            let claim = Claim { subject, host_ip: port.host_ip, holds: holds(machine, subject, port) };
            claims.entry((port.host_port, port.protocol)).or_default().push(claim);
        }
    }
    let mut clashes = BTreeMap::new();
    for ((port, _), mut claims) in claims {
        claims.sort_by_key(|claim| !claim.holds);
        let mut granted: Vec<Claim<'a>> = Vec::new();
        for claim in claims {
            let rival =
                granted.iter().find(|other| other.subject != claim.subject && overlap(other.host_ip, claim.host_ip));
            match rival {
                Some(rival) => {
                    clashes.entry(claim.subject).or_insert_with(|| waiting(claim.subject, port, rival.subject));
                }
                None => granted.push(claim),
            }
        }
    }
    clashes
}

fn waiting(subject: &str, port: u16, rival: &str) -> Waiting {
    Waiting {
        subject: subject.to_owned(),
        reason: "PortClash".to_owned(),
        message: format!("`{rival}` has port {port} of the machine; give one of the two another `hostPort`."),
    }
}

fn holds(machine: &Machine<'_>, subject: &str, port: &Port) -> bool {
    machine.of(subject).iter().filter(|it| it.state.is_live()).any(|it| {
        let spec = it.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref());
        spec.is_some_and(|spec| {
            spec.ports.iter().any(|held| held.host_port == port.host_port && held.protocol == port.protocol)
        })
    })
}

fn overlap(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

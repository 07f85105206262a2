//! Ports of the machine that more than one container asks for.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{
    container::{Port, Protocol},
    order::Wanted,
};

use super::machine::Machine;
use crate::reconcile::Waiting;

/// Who has a port, or is to have it.
struct Claim<'a> {
    subject: &'a str,
    port: &'a Port,
}

/// Claims by port and protocol.
type Claims<'a> = BTreeMap<(u16, Protocol), Vec<Claim<'a>>>;

/// Whom a subject stands back for.
struct Rival<'a> {
    subject: &'a str,
    port: u16,
    /// It has the port only until its own change is made.
    leaving: bool,
}

/// Says for each subject that has to stand back why. Who has a port keeps it, so that two never take turns; of those who
/// don't, the first by name gets it.
pub(super) fn clashes<'a>(wanted: &Wanted<'a>, machine: &Machine<'a>) -> BTreeMap<&'a str, Waiting> {
    let mut granted = held(machine);
    let mut rivals: BTreeMap<&str, Rival<'a>> = BTreeMap::new();
    for (&subject, spec) in wanted.iter().filter(|(_, spec)| spec.running) {
        for port in &spec.ports {
            let claims = granted.entry((port.host_port, port.protocol)).or_default();
            let rival = claims.iter().find(|it| it.subject != subject && it.port.clashes(port));
            if let Some(rival) = rival {
                let leaving = !wants(wanted, rival.subject, port);
                let rival = Rival { subject: rival.subject, port: port.host_port, leaving };
                rivals.entry(subject).or_insert(rival);
            } else {
                claims.push(Claim { subject, port });
            }
        }
    }
    let turning: BTreeSet<&str> = rivals.keys().copied().filter(|subject| takes_turns(&rivals, subject)).collect();
    rivals.retain(|subject, _| !turning.contains(subject));
    rivals.into_iter().map(|(subject, rival)| (subject, waiting(subject, &rival))).collect()
}

/// Returns the ports that containers of ours have at present.
fn held<'a>(machine: &Machine<'a>) -> Claims<'a> {
    let mut claims = Claims::new();
    for (subject, containers) in machine.subjects() {
        let live = containers.iter().filter(|it| it.state.is_live());
        for port in live.filter_map(|it| it.stamp.as_ref()?.spec.as_ref()).flat_map(|spec| &spec.ports) {
            claims.entry((port.host_port, port.protocol)).or_default().push(Claim { subject, port });
        }
    }
    claims
}

/// Returns true if a subject waits, through others perhaps, for a port that it has itself: two exchange their ports, and
/// somebody has to go first.
fn takes_turns(rivals: &BTreeMap<&str, Rival<'_>>, subject: &str) -> bool {
    let mut here = subject;
    for _ in 0..rivals.len() {
        match rivals.get(here) {
            Some(rival) if rival.leaving && rival.subject == subject => return true,
            Some(rival) if rival.leaving => here = rival.subject,
            _ => return false,
        }
    }
    false
}

fn wants(wanted: &Wanted<'_>, subject: &str, port: &Port) -> bool {
    wanted.get(subject).is_some_and(|spec| {
        let same = |it: &Port| (it.host_port, it.protocol) == (port.host_port, port.protocol);
        spec.running && spec.ports.iter().any(same)
    })
}

fn waiting(subject: &str, rival: &Rival<'_>) -> Waiting {
    let Rival { subject: other, port, leaving } = rival;
    let message = if *leaving {
        format!("`{other}` still has port {port} of the machine; this goes on once it is free")
    } else {
        format!("`{other}` has port {port} of the machine; give one of the two another `hostPort`")
    };
    Waiting { subject: subject.to_owned(), reason: "PortClash".to_owned(), message }
}

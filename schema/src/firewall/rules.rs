//! Rules of a firewall that only show when fields are looked at together.

use std::collections::BTreeMap;

use super::{BuiltIn, Firewall, FirewallSpec, range};
use crate::{
    Declared,
    container::Protocol,
    parse::{Code, Path, Violation, nearest},
    subnet::{BadSubnet, Subnet},
};

impl Firewall {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        if self.name() != Self::NAME {
            let path = Path::default().key("metadata").key("name");
            let reason = format!("a machine has one firewall, and it is called `{}`", Self::NAME);
            note(&mut out, Code::BadName, path, reason, &format!("write `name = \"{}\"`", Self::NAME));
        }
        zones(&self.spec, &mut out);
        for (index, service) in self.spec.services.iter().enumerate() {
            from(&self.spec, &service.from, &Path::spec("services").index(index), &mut out);
        }
        for (index, forward) in self.spec.forwards.iter().enumerate() {
            from(&self.spec, &forward.from, &Path::spec("forwards").index(index), &mut out);
        }
        names(&self.spec, &mut out);
        spans(&self.spec, &mut out);
        ports(&self.spec, &mut out);
        out
    }
}

fn zones(spec: &FirewallSpec, out: &mut Vec<Violation>) {
    for (index, zone) in spec.zones.iter().enumerate() {
        let path = || Path::spec("zones").index(index);
        if zone.name.parse::<BuiltIn>().is_ok_and(|zone| !zone.can_change()) {
            let reason = format!("the zone `{}` always means the same", zone.name);
            note(out, Code::Reserved, path().key("name"), reason, "choose another name, such as `office`");
        }
        if let Some(first) = spec.zones[..index].iter().position(|it| it.name == zone.name) {
            let reason = format!("`spec.zones[{first}]` is called `{}` already", zone.name);
            note(out, Code::Duplicate, path().key("name"), reason, "keep one of the two, or rename it");
        }
        if zone.links.is_empty() && zone.addresses.is_empty() {
            let reason = format!("the zone `{}` would be everything", zone.name);
            note(
                out,
                Code::MissingKey,
                path(),
                reason,
                "name `links` or `addresses`, or write `anywhere` in its place",
            );
        }
        for (at, text) in zone.addresses.iter().enumerate() {
            if let Err(BadSubnet { reason, help }) = text.parse::<Subnet>() {
                note(out, Code::BadSubnet, path().key("addresses").index(at), reason, &help);
            }
        }
    }
}

/// A service or a forward is for zones that there are.
fn from(spec: &FirewallSpec, zones: &[String], at: &Path, out: &mut Vec<Violation>) {
    let own = || spec.zones.iter().map(|zone| zone.name.as_str());
    for (index, zone) in zones.iter().enumerate() {
        let known = || BuiltIn::ALL.iter().map(|it| it.as_str()).chain(own());
        if known().any(|it| it == zone) {
            continue;
        }
        let help = match nearest(zone, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add it under `spec.zones`; there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        let path = at.clone().key("from").index(index);
        note(out, Code::UnknownWord, path, format!("there is no zone `{zone}`"), &help);
    }
}

/// What is named is told apart in status and journal.
fn names(spec: &FirewallSpec, out: &mut Vec<Violation>) {
    let services = spec.services.iter().enumerate().map(|(index, it)| ("services", index, it.name.as_str()));
    let forwards = spec.forwards.iter().enumerate().map(|(index, it)| ("forwards", index, it.name.as_str()));
    let mut first = BTreeMap::new();
    for (key, index, name) in services.chain(forwards) {
        let (other, other_index) = *first.entry(name).or_insert((key, index));
        if (other, other_index) != (key, index) {
            let reason = format!("`spec.{other}[{other_index}]` is called `{name}` already");
            let path = Path::spec(key).index(index).key("name");
            note(out, Code::Duplicate, path, reason, "keep one of the two, or rename it");
        }
    }
}

/// A port is opened once, or leads on once.
fn ports(spec: &FirewallSpec, out: &mut Vec<Violation>) {
    let mut taken: Vec<((u16, u16), Protocol, String)> = Vec::new();
    let mut claim = |span: (u16, u16), protocol, path: Path, help: &str| {
        if span.0 == 0 {
            return;
        }
        let meets = |it: &&((u16, u16), Protocol, String)| it.1 == protocol && it.0.0 <= span.1 && span.0 <= it.0.1;
        match taken.iter().find(meets) {
            Some((other, _, place)) => {
                let reason = format!("port {} stands at `{place}` already", other.0.max(span.0));
                note(out, Code::Duplicate, path, reason, help);
            }
            None => taken.push((span, protocol, path.to_string())),
        }
    };
    for (index, service) in spec.services.iter().enumerate() {
        for (key, at, span) in service.spans() {
            let path = Path::spec("services").index(index).key(key).index(at);
            claim(span, service.protocol, path, "name each port once, with all zones that may reach it");
        }
    }
    for (index, forward) in spec.forwards.iter().enumerate() {
        let path = Path::spec("forwards").index(index).key("port");
        claim((forward.port, forward.port), forward.protocol, path, "choose another port of the machine");
    }
}

/// A service has ports, and its ranges go from one port up to another one.
fn spans(spec: &FirewallSpec, out: &mut Vec<Violation>) {
    for (index, service) in spec.services.iter().enumerate() {
        let path = || Path::spec("services").index(index);
        if service.ports.is_empty() && service.ranges.is_empty() {
            let reason = format!("the service `{}` has no port", service.name);
            note(out, Code::MissingKey, path(), reason, "add `ports = [22]`, or `ranges = [\"8000-8010\"]`");
        }
        for (at, text) in service.ranges.iter().enumerate().filter(|(_, text)| range(text).is_none()) {
            let reason = format!("`{text}` does not go from one port up to another one");
            let help = "write the smaller one first, and none above 65535: `8000-8010`";
            note(out, Code::OutOfRange, path().key("ranges").index(at), reason, help);
        }
    }
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}

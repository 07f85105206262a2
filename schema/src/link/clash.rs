//! What is wrong between links. Asked by whoever looks at manifests alone, and by the planner.

use std::collections::{BTreeMap, BTreeSet};

use super::{LinkSpec, host_part};
use crate::{
    parse::{Code, Path},
    subnet::Subnet,
};

/// Something that keeps a link from being set up beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The link that can't be set up.
    pub link: String,
    /// The link that is in its way, if that is declared.
    pub other: Option<String>,
    /// The field that should be changed.
    pub path: Path,
    /// The stable code.
    pub code: Code,
    /// What is wrong, a sentence.
    pub reason: String,
    /// What to do.
    pub help: String,
}

/// All links by name.
type Links<'a> = BTreeMap<&'a str, &'a LinkSpec>;

/// Returns what is wrong between these links, by name. Of two that want the same the first by name has it.
#[must_use]
pub fn clashes(links: &Links<'_>) -> Vec<Clash> {
    let mut out = Vec::new();
    selects(links, &mut out);
    references(links, &mut out);
    circles(links, &mut out);
    networks(links, &mut out);
    routes(links, &mut out);
    out.sort_by(|a, b| (&a.link, &a.path).cmp(&(&b.link, &b.path)));
    out
}

/// Two manifests that choose one port in the same words, or a port that is called as a link that is made.
fn selects(links: &Links<'_>, out: &mut Vec<Clash>) {
    let mut claims: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for (name, spec) in links.iter().filter(|(_, spec)| spec.makes().is_some()) {
        claims.insert(("name", spec.makes().map(|_| (*name).to_owned()).unwrap_or_default()), name);
    }
    for (name, spec) in links {
        let Some(select) = &spec.select else { continue };
        let keys = [
            ("mac", &select.mac),
            ("permanentMac", &select.permanent_mac),
            ("path", &select.path),
            ("name", &select.name),
        ];
        for (key, text) in keys {
            let Some(text) = text.as_ref().filter(|_| is_alone(spec)) else { continue };
            let other = *claims.entry((key, text.to_ascii_lowercase())).or_insert(name);
            if other != *name {
                out.push(Clash {
                    link: (*name).to_owned(),
                    other: Some(other.to_owned()),
                    path: Path::spec("match").key(key),
                    code: Code::Duplicate,
                    reason: format!("Links `{name}` and `{other}` both claim the link with {key} `{text}`"),
                    help: "keep one of the two, or choose another link".to_owned(),
                });
            }
        }
    }
}

/// Two that agree in one of several keys may still mean two ports.
fn is_alone(spec: &LinkSpec) -> bool {
    let Some(select) = &spec.select else { return false };
    [&select.mac, &select.permanent_mac, &select.driver, &select.path, &select.name].into_iter().flatten().count() == 1
}

/// Parents and members that are not declared, that can't be such, or that belong to two.
fn references(links: &Links<'_>, out: &mut Vec<Clash>) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, spec) in links {
        for (path, to) in edges(spec) {
            let Some(target) = links.get(to) else {
                let reason = format!("No Link `{to}` is declared, on which `{name}` stands");
                let help = "add a Link manifest of this name, or correct it".to_owned();
                out.push(Clash { link: (*name).to_owned(), other: None, path, code: Code::NotDeclared, reason, help });
                continue;
            };
            if target.wifi.is_some() && spec.bond.is_none() {
                let reason =
                    format!("`{to}` has no wire, and its access point takes plain packets of its own address alone");
                let (other, help) = (Some(to.to_owned()), "take a port with a wire, or route to it".to_owned());
                out.push(Clash { link: (*name).to_owned(), other, path, code: Code::Conflict, reason, help });
                continue;
            }
            if spec.parent() == Some(to) {
                continue;
            }
            let owner = *owners.entry(to).or_insert(name);
            let (code, reason, help) = if owner != *name {
                (Code::Duplicate, format!("Link `{to}` belongs to `{owner}` already"), "take it out of one of the two")
            } else if target.bridge.is_some() || (target.bond.is_some() && spec.bond.is_some()) {
                let kinds = (target.makes().unwrap_or_default(), spec.makes().unwrap_or_default());
                (Code::Conflict, format!("A {} can't belong to a {}", kinds.0, kinds.1), "name the ports themselves")
            } else if matches!(target.makes(), Some("wireguard" | "dummy")) && target.wireguard.is_some() {
                let help = "route to it in place of joining it";
                (Code::Conflict, format!("`{to}` carries no Ethernet, so it can't belong to `{name}`"), help)
            } else if spec.bond.is_some() && target.select.as_ref().is_some_and(|it| it.mac.is_some()) {
                let reason = format!("`{to}` has another hardware address once it belongs to the bond `{name}`");
                (Code::Conflict, reason, "choose it by `permanentMac`, `path` or `name`")
            } else if target.is_addressed() {
                let reason = format!("`{to}` belongs to `{name}` and can't have addresses of its own");
                (Code::Conflict, reason, "give the addresses to the link that it belongs to")
            } else {
                continue;
            };
            let other = Some(if owner == *name { to } else { owner }.to_owned());
            out.push(Clash { link: (*name).to_owned(), other, path, code, reason, help: help.to_owned() });
        }
    }
}

fn circles(links: &Links<'_>, out: &mut Vec<Clash>) {
    for (name, spec) in links {
        for (path, to) in edges(spec) {
            if leads_to(links, to, name) {
                out.push(Clash {
                    link: (*name).to_owned(),
                    other: (to != *name).then(|| to.to_owned()),
                    path,
                    code: Code::DependencyCycle,
                    reason: format!("Link `{name}` stands on itself by way of `{to}`"),
                    help: "take one of these links out".to_owned(),
                });
            }
        }
    }
}

fn leads_to(links: &Links<'_>, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(here) = next.pop() {
        if here == to {
            return true;
        }
        if seen.insert(here) {
            next.extend(links.get(here).into_iter().flat_map(|spec| edges(spec)).map(|(_, to)| to));
        }
    }
    false
}

/// Two links into networks that have addresses in common: which of them leads there would be chance.
fn networks(links: &Links<'_>, out: &mut Vec<Clash>) {
    let mut taken: Vec<(&str, Subnet)> = Vec::new();
    for (name, spec) in links {
        for (index, text) in spec.addresses.iter().enumerate() {
            let Some((ip, bits)) = host_part(text) else { continue };
            let network = Subnet::around(ip, bits);
            match taken.iter().find(|(other, it)| other != name && it.overlaps(&network)) {
                Some((other, range)) => out.push(Clash {
                    link: (*name).to_owned(),
                    other: Some((*other).to_owned()),
                    path: Path::spec("addresses").index(index),
                    code: Code::SubnetOverlap,
                    reason: format!("Links `{name}` ({network}) and `{other}` ({range}) lead into the same network"),
                    help: "give one of the two an address of another network, or make a bond or bridge of both"
                        .to_owned(),
                }),
                None => taken.push((name, network)),
            }
        }
    }
}

fn routes(links: &Links<'_>, out: &mut Vec<Clash>) {
    let mut taken: BTreeMap<(Subnet, Option<u32>), &str> = BTreeMap::new();
    for (name, spec) in links {
        for (index, route) in spec.routes.iter().enumerate() {
            let Ok(to) = route.to.parse::<Subnet>() else { continue };
            let other = *taken.entry((to, route.metric)).or_insert(name);
            if other != *name {
                out.push(Clash {
                    link: (*name).to_owned(),
                    other: Some(other.to_owned()),
                    path: Path::spec("routes").index(index).key("to"),
                    code: Code::Duplicate,
                    reason: format!("Links `{name}` and `{other}` both are the way to {to}, with the same metric"),
                    help: "give one of the two another `metric`".to_owned(),
                });
            }
        }
    }
}

/// Returns what a link names of others, and where.
fn edges(spec: &LinkSpec) -> impl Iterator<Item = (Path, &str)> {
    let key = if spec.bond.is_some() { "bond" } else { "bridge" };
    let parent = if spec.vlan.is_some() { "vlan" } else { "macvlan" };
    let members = spec.members().iter().enumerate();
    let members = members.map(move |(index, it)| (Path::spec(key).key("members").index(index), it.as_str()));
    spec.parent().map(|it| (Path::spec(parent).key("parent"), it)).into_iter().chain(members)
}

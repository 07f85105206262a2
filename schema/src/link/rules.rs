//! Rules of a link that only show when fields are looked at together.

use std::{collections::BTreeSet, net::IpAddr};

use super::{BondMode, Link, LinkSpec, host_part, wifi};
use crate::{
    Declared,
    parse::{Code, Path, Violation},
    subnet::{BadSubnet, Subnet},
};

/// The longest name that the kernel gives to a link.
const LONGEST_NAME: usize = 15;
/// The least that IPv6 needs of a link.
const LEAST_IPV6: u32 = 1280;
/// How the names of links begin that engines and Piccolo make for containers: nobody comes from outside over them.
pub const INNER: &[&str] = &["docker", "br-", "veth", "pic-"];

impl Link {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let (spec, mut out) = (&self.spec, Vec::new());
        form(spec, &mut out);
        if spec.makes().is_some() {
            name(self.name(), &mut out);
        }
        which(spec, &mut out);
        addresses(spec, &mut out);
        routes(spec, &mut out);
        members(spec, &mut out);
        peers(spec, &mut out);
        servers(spec, &mut out);
        wifi::check(spec, &mut out);
        out
    }
}

/// Exactly one form of link is asked for.
fn form(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let forms = [
        ("match", spec.select.is_some()),
        ("vlan", spec.vlan.is_some()),
        ("bond", spec.bond.is_some()),
        ("bridge", spec.bridge.is_some()),
        ("wireguard", spec.wireguard.is_some()),
        ("macvlan", spec.macvlan.is_some()),
        ("dummy", spec.dummy),
    ];
    let given: Vec<_> = forms.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
    match given.as_slice() {
        [_] => {}
        [] => {
            let reason = "it says neither which port is meant nor which link is to be made".to_owned();
            let help =
                "add `match = { mac = \"…\" }`, or one of `vlan`, `bond`, `bridge`, `wireguard`, `macvlan`, `dummy`";
            note(out, Code::MissingKey, Path::default().key("spec"), reason, help);
        }
        [first, second, ..] => {
            let reason = format!("a link is either `{first}` or `{second}`, not both");
            note(out, Code::Conflict, Path::spec(second), reason, "keep one, and make another manifest of the other");
        }
    }
}

fn name(name: &str, out: &mut Vec<Violation>) {
    let path = Path::default().key("metadata").key("name");
    if name.len() > LONGEST_NAME {
        let reason = format!("the link is called as its manifest, and the kernel takes {LONGEST_NAME} characters");
        note(out, Code::BadName, path, reason, "choose a shorter name, such as `vlan20`");
    } else if name == "lo" || name.starts_with("lo0") || INNER.iter().any(|start| name.starts_with(start)) {
        let reason = format!("links called like `{name}` belong to the kernel or to containers");
        note(out, Code::Reserved, path, reason, "choose another name, such as `lan`");
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let reason = "a number alone is no name of a link".to_owned();
        note(out, Code::BadName, path, reason, "begin it with a letter: `vlan20`");
    }
}

fn which(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let Some(select) = &spec.select else { return };
    if select.is_empty() {
        let reason = "an empty `match` would mean every link of the machine".to_owned();
        note(
            out,
            Code::MissingKey,
            Path::spec("match"),
            reason,
            "add `mac`, `permanentMac`, `path`, `driver` or `name`",
        );
    }
    for (key, text) in [("name", &select.name), ("driver", &select.driver), ("path", &select.path)] {
        let names = |text: &&String| !text.chars().any(|it| it.is_ascii_alphanumeric());
        if let Some(text) = text.as_ref().filter(names) {
            let reason = format!("`{text}` would mean every link of the machine");
            let help = "write at least a part of what is meant, as in `en*`";
            note(out, Code::WrongForm, Path::spec("match").key(key), reason, help);
        }
    }
}

fn addresses(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for (index, text) in spec.addresses.iter().enumerate() {
        let path = || Path::spec("addresses").index(index);
        let Some((ip, bits)) = host_part(text) else {
            let reason = format!("`{text}` is not an address with the bits of its network");
            note(out, Code::BadSubnet, path(), reason, "write it like `192.168.1.10/24`");
            continue;
        };
        let network = Subnet::around(ip, bits);
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            let reason = format!("`{ip}` is no address for a machine on a network");
            note(out, Code::BadSubnet, path(), reason, "write one that others can reach, like `192.168.1.10/24`");
        } else if network.has_room() && !network.has_host(ip) {
            let reason = format!("`{ip}` is the network itself, or means all its machines");
            note(out, Code::BadSubnet, path(), reason, &format!("write one such as `{}/{bits}`", network.first()));
        } else if !seen.insert(ip) {
            note(out, Code::Duplicate, path(), format!("`{ip}` is given twice"), "remove one of the two");
        }
    }
    let has_ipv6 = spec.dhcp6 || spec.addresses.iter().any(|it| it.contains(':'));
    if let Some(mtu) = spec.mtu.filter(|mtu| has_ipv6 && *mtu < LEAST_IPV6) {
        let reason = format!("IPv6 needs packets of {LEAST_IPV6} bytes, more than {mtu}");
        note(out, Code::OutOfRange, Path::spec("mtu"), reason, "write 1280 or more, or take the IPv6 addresses out");
    }
}

fn routes(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let networks: Vec<_> =
        spec.addresses.iter().filter_map(|it| host_part(it)).map(|(ip, bits)| Subnet::around(ip, bits)).collect();
    let mut seen = BTreeSet::new();
    for (index, route) in spec.routes.iter().enumerate() {
        let path = |key: &str| Path::spec("routes").index(index).key(key);
        let to = match Subnet::parse(&route.to, "10.0.0.0/8") {
            Ok(to) => to,
            Err(BadSubnet { reason, help }) => {
                note(out, Code::BadSubnet, path("to"), reason, &help);
                continue;
            }
        };
        if !seen.insert((to, route.metric)) {
            let reason = format!("there are two ways to {to} with the same metric");
            note(out, Code::Duplicate, path("to"), reason, "remove one, or give one of them another `metric`");
        }
        let Some(via) = route.via else { continue };
        if via.is_ipv6() != to.is_ipv6() {
            let reason = format!("`{via}` can't pass on packets to {to}: one is IPv4, the other IPv6");
            note(out, Code::Conflict, path("via"), reason, "write two addresses of one kind");
        } else if !reaches(spec, &networks, via) {
            let reason = format!("no address of this link is in one network with `{via}`, so it can't be reached");
            let help = "correct it, or add an address of its network to `addresses`";
            note(out, Code::BadSubnet, path("via"), reason, help);
        } else if spec.addresses.iter().filter_map(|it| host_part(it)).any(|(ip, _)| ip == via) {
            let reason = format!("`{via}` is this link's own address");
            note(out, Code::Conflict, path("via"), reason, "write the address of the router");
        }
    }
}

/// Returns true if a router can be on the link as far as the manifest tells; what DHCP or routers announce nobody knows.
fn reaches(spec: &LinkSpec, networks: &[Subnet], via: IpAddr) -> bool {
    let is_unknown = match via {
        IpAddr::V4(_) => spec.dhcp4,
        IpAddr::V6(it) => spec.dhcp6 || spec.accept_ra != Some(false) || it.is_unicast_link_local(),
    };
    is_unknown || networks.iter().any(|network| network.has_host(via))
}

fn members(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let key = if spec.bond.is_some() { "bond" } else { "bridge" };
    let mut seen = BTreeSet::new();
    for (index, member) in spec.members().iter().enumerate().filter(|(_, it)| !seen.insert(it.as_str())) {
        let path = Path::spec(key).key("members").index(index);
        note(out, Code::Duplicate, path, format!("`{member}` is named twice"), "remove one of the two");
    }
    let Some(bond) = &spec.bond else { return };
    if bond.members.is_empty() {
        let reason = "a bond without members carries nothing".to_owned();
        note(out, Code::WrongLength, Path::spec("bond").key("members"), reason, "name at least one Link");
    }
    let path = || Path::spec("bond").key("primary");
    match &bond.primary {
        Some(_) if bond.mode != BondMode::ActiveBackup => {
            let reason = format!("in `{}` all members carry packets", bond.mode.as_str());
            note(out, Code::Conflict, path(), reason, "remove `primary`, or write `mode = \"active-backup\"`");
        }
        Some(primary) if !bond.members.contains(primary) => {
            let reason = format!("`{primary}` is none of the members");
            note(out, Code::Conflict, path(), reason, "name one of `members`");
        }
        _ => {}
    }
}

fn peers(spec: &LinkSpec, out: &mut Vec<Violation>) {
    let Some(wireguard) = &spec.wireguard else { return };
    let (mut keys, mut ranges) = (BTreeSet::new(), BTreeSet::new());
    for (index, peer) in wireguard.peers.iter().enumerate() {
        let path = || Path::spec("wireguard").key("peers").index(index);
        if !keys.insert(&peer.public_key) {
            let reason = "this machine is named twice".to_owned();
            note(out, Code::Duplicate, path().key("publicKey"), reason, "put all its addresses into one peer");
        }
        let port = peer.endpoint.as_deref().and_then(|it| it.rsplit_once(':')).map(|(_, port)| port.parse::<u16>());
        if port.is_some_and(|port| !matches!(port, Ok(1..))) {
            let reason = "the port lies between 1 and 65535".to_owned();
            note(out, Code::OutOfRange, path().key("endpoint"), reason, "write it like `vpn.example.org:51820`");
        }
        for (number, text) in peer.allowed_ips.iter().enumerate() {
            let path = || path().key("allowedIPs").index(number);
            match Subnet::parse(text, "10.8.0.2/32") {
                Err(BadSubnet { reason, help }) => note(out, Code::BadSubnet, path(), reason, &help),
                Ok(range) if !ranges.insert(range) => {
                    let reason = format!("two peers have {range}");
                    note(out, Code::Duplicate, path(), reason, "each address is at one end alone");
                }
                Ok(_) => {}
            }
        }
    }
}

fn servers(spec: &LinkSpec, out: &mut Vec<Violation>) {
    for (index, text) in spec.dns.iter().enumerate() {
        if text.split('#').next().is_none_or(|ip| ip.parse::<IpAddr>().is_err()) {
            let reason = format!("`{text}` does not begin with an address");
            note(out, Code::WrongForm, Path::spec("dns").index(index), reason, "write it like `192.168.1.1`");
        }
    }
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}

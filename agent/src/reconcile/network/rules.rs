//! From policies and exposures to one text for `nft`. Pure.
//!
//! # Why the rules look like this
//!
//! The engine lets traffic through by rules of its own, which a firewall of the machine does not see: a published port
//! has another destination by the time it is forwarded. So ours stand before the engine's, in the same two hooks, and
//! know a published port by the port that was asked for (`ct original proto-dst`). A packet that ours let pass still
//! meets the engine's rules: ours only ever refuse.
//!
//! Every rule allows, and each chain of a policy ends in `drop`. A container whose address is not known yet stands in no
//! rule, so it can talk to nobody. Only what begins a conversation is judged, packet by packet; answers follow. So a
//! policy that is narrowed also ends what is open.
//!
//! A container is known by its address. One that may write packets as it likes (`NET_RAW`, which engines give by default)
//! can pass for another one on the same bridge; whoever minds takes that capability away.
//!
//! The API of the machine itself is for no container: who reaches it could try to guess or steal a token. What comes from a
//! bridge of the engine's is dropped at its port, but for containers whose manifest says otherwise.
//!
//! When the machine starts, its engine starts containers before anybody has looked at them. For that time there are rules
//! without any address: what is open to all stays open, and what depends on who asks is closed.
//!
//! What two containers of one bridge send each other is forwarded by the bridge, and passes the hook because the kernel
//! hands it over (`br_netfilter`). The same chain then also judges what takes the way over the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
};

use piccolo_schema::{
    container::{Exposure, Port, Protocol},
    network::{Allow, Egress, Policy, chooses},
    subnet::Subnet,
};

use crate::host::{Member, Rules, firewall::short};

/// The table is replaced as a whole: nft applies a text in one stroke, or not at all.
const BEGINNING: &str = "\
add table inet piccolo
delete table inet piccolo
table inet piccolo {
	comment \"{digest}\"
";
/// Neighbours have to find each other before they can talk at all, in IPv6 by packets that pass the hooks.
const NEIGHBOURS: &str = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }";

/// A network with a policy.
#[derive(Clone, Debug)]
pub(super) struct Guarded<'a> {
    pub(super) name: &'a str,
    pub(super) bridge: String,
    pub(super) policy: &'a Policy,
}

/// The machine's own API, and the bridges from which it is not to be reached.
struct Api<'a> {
    port: u16,
    bridges: BTreeSet<&'a String>,
}

/// Returns the rules for these networks and for the ports that these containers publish to a range; none if there is
/// nothing to refuse. `bridges` are the devices of all networks by name, `api` the port of the machine's own API.
pub(super) fn compile(
    networks: &[Guarded<'_>],
    members: &[Member],
    bridges: &BTreeMap<&str, String>,
    api: Option<u16>,
) -> Option<Rules> {
    let published: Vec<&Member> = members.iter().filter(|member| guards(member)).collect();
    let api = api.filter(|_| !bridges.is_empty()).map(|port| Api { port, bridges: bridges.values().collect() });
    if networks.is_empty() && published.is_empty() && api.is_none() {
        return None;
    }
    let api = api.as_ref();
    let text = table(networks, members, &published, &around(&published, bridges), api);
    let unknown: Vec<Member> = members.iter().map(|it| Member { addresses: Vec::new(), ..it.clone() }).collect();
    let boot = table(networks, &unknown, &published, &all_around(&published, bridges), api);
    let names = networks.iter().map(|network| network.name.to_owned()).collect();
    let guards = published.iter().map(|member| short(&member.id).to_owned()).collect();
    Some(Rules { keeps_api: api.is_some(), ..Rules::new(&text, &boot, names, guards) })
}

/// Returns true if a container publishes a port to a range of addresses.
pub(super) fn guards(member: &Member) -> bool {
    member.ports.iter().any(|port| matches!(port.exposed_to(), Exposure::Range(_)))
}

fn table(
    networks: &[Guarded<'_>],
    members: &[Member],
    published: &[&Member],
    around: &[String],
    api: Option<&Api<'_>>,
) -> String {
    let mut text = BEGINNING.to_owned();
    base(&mut text, "forward", &forward(networks, published, around));
    base(&mut text, "input", &input(networks, published, api));
    if api.is_some() {
        chain(&mut text, "api", &callers(members));
    }
    if !published.is_empty() {
        let jumps = published.iter().map(|member| format!("jump ports_{}", short(&member.id))).collect::<Vec<_>>();
        chain(&mut text, "published", &jumps);
    }
    for member in published {
        chain(&mut text, &format!("ports_{}", short(&member.id)), &ports(member));
    }
    for network in networks {
        let on: Vec<&Member> = members.iter().filter(|member| member.network == network.name).collect();
        chain(&mut text, &format!("within_{}", network.name), &within(network.policy, &on));
        chain(&mut text, &format!("from_{}", network.name), &from(network.policy, &on));
        let published = ["ct status dnat return".to_owned(), "drop".to_owned()];
        chain(&mut text, &format!("to_{}", network.name), &published);
    }
    text.push_str("}\n");
    text
}

fn base(text: &mut String, hook: &str, rules: &[String]) {
    let mut all = vec![
        // Before the engine's own rules, whose priority is 0.
        format!("type filter hook {hook} priority -10; policy accept;"),
        "ct direction reply accept".to_owned(),
        "ct state related accept".to_owned(),
    ];
    all.extend_from_slice(rules);
    chain(text, hook, &all);
}

fn chain(text: &mut String, name: &str, rules: &[String]) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "\tchain {name} {{");
    for rule in rules {
        let _ = writeln!(text, "\t\t{rule}");
    }
    text.push_str("\t}\n");
}

/// Refuses who knows the address of a container and would go round its published port.
fn around(published: &[&Member], bridges: &BTreeMap<&str, String>) -> Vec<String> {
    let mut rules = Vec::new();
    for member in published {
        let Some(bridge) = bridges.get(member.network.as_str()) else { continue };
        for (family, addresses) in families(&[member]) {
            rules.push(format!("iifname != \"{bridge}\" {family} daddr {addresses} ct status & dnat != dnat drop"));
        }
    }
    rules
}

/// The same while addresses are not known: nobody goes round a port of anybody on these bridges.
fn all_around(published: &[&Member], bridges: &BTreeMap<&str, String>) -> Vec<String> {
    let on: BTreeSet<&String> = published.iter().filter_map(|it| bridges.get(it.network.as_str())).collect();
    let rule = |bridge| format!("iifname != \"{bridge}\" oifname \"{bridge}\" ct status & dnat != dnat drop");
    on.into_iter().map(rule).collect()
}

fn forward(networks: &[Guarded<'_>], published: &[&Member], around: &[String]) -> Vec<String> {
    let mut rules = Vec::new();
    if !published.is_empty() {
        rules.push("ct status dnat jump published".to_owned());
    }
    rules.extend_from_slice(around);
    for Guarded { name, bridge, .. } in networks {
        rules.push(format!("iifname \"{bridge}\" oifname \"{bridge}\" goto within_{name}"));
    }
    for Guarded { name, bridge, .. } in networks {
        rules.push(format!("iifname \"{bridge}\" jump from_{name}"));
        rules.push(format!("oifname \"{bridge}\" jump to_{name}"));
    }
    rules
}

fn input(networks: &[Guarded<'_>], published: &[&Member], api: Option<&Api<'_>>) -> Vec<String> {
    let mut rules = Vec::new();
    if let Some(Api { port, bridges }) = api {
        let devices: Vec<String> = bridges.iter().map(|it| format!("\"{it}\"")).collect();
        rules.push(format!("iifname {{ {} }} tcp dport {port} jump api", devices.join(", ")));
    }
    if !published.is_empty() {
        // The engine may take connections by a program of its own. What the machine asks itself comes in by `lo`.
        rules.push("iifname != \"lo\" jump published".to_owned());
    }
    rules.extend(networks.iter().map(|it| format!("iifname \"{}\" jump from_{}", it.bridge, it.name)));
    rules
}

/// Returns who of the containers may call the machine's API; nobody else of those on bridges may.
fn callers(members: &[Member]) -> Vec<String> {
    let may: Vec<&Member> = members.iter().filter(|member| member.may_call).collect();
    let rules = families(&may).into_iter().map(|(family, from)| format!("{family} saddr {from} return"));
    rules.chain(["drop".to_owned()]).collect()
}

/// Returns the rules for the ports that a container publishes to a range.
fn ports(member: &Member) -> Vec<String> {
    let ranges = member.ports.iter().filter_map(|port| match port.exposed_to() {
        Exposure::Range(range) => Some((port, range)),
        _ => None,
    });
    ranges.flat_map(|(port, range)| exposed(port, &range)).collect()
}

fn exposed(port: &Port, range: &Subnet) -> [String; 2] {
    let place = match port.host_ip {
        Some(ip) if !ip.is_unspecified() => format!("ct original {} daddr {ip} ", family(ip.is_ipv6())),
        Some(IpAddr::V4(_)) => "meta nfproto ipv4 ".to_owned(),
        Some(IpAddr::V6(_)) => "meta nfproto ipv6 ".to_owned(),
        None => String::new(),
    };
    let protocol = word(port.protocol);
    let asked = format!("{place}meta l4proto {protocol} ct original proto-dst {}", port.host_port);
    [format!("{asked} {} saddr {range} return", family(range.is_ipv6())), format!("{asked} drop")]
}

fn within(policy: &Policy, on: &[&Member]) -> Vec<String> {
    let mut rules = vec![format!("{NEIGHBOURS} accept")];
    for Allow { from, to, ports, protocol } in &policy.allow {
        let (from, to) = (families(&chosen(on, from)), families(&chosen(on, to)));
        for (family, from) in &from {
            if let Some((_, to)) = to.iter().find(|(other, _)| other == family) {
                let at = at(ports, *protocol);
                rules.push(format!("{family} saddr {from} {family} daddr {to} {at} accept"));
            }
        }
    }
    rules.push("drop".to_owned());
    rules
}

fn from(policy: &Policy, on: &[&Member]) -> Vec<String> {
    let mut rules = vec![format!("{NEIGHBOURS} return")];
    for Egress { from, to, ports, protocol } in &policy.egress {
        let Ok(to) = to.parse::<Subnet>() else { continue };
        let wanted = family(to.is_ipv6());
        for (family, from) in families(&chosen(on, from)).iter().filter(|(family, _)| *family == wanted) {
            rules.push(format!("{family} saddr {from} {family} daddr {to} {} return", at(ports, *protocol)));
        }
    }
    rules.push("drop".to_owned());
    rules
}

/// Returns the containers that have all of these labels.
fn chosen<'a>(on: &[&'a Member], labels: &BTreeMap<String, String>) -> Vec<&'a Member> {
    let has_all = |member: &&&Member| chooses(labels, &member.labels);
    on.iter().filter(has_all).copied().collect()
}

/// Returns the addresses of containers as sets, by family. A family without an address is left out.
fn families(members: &[&Member]) -> Vec<(&'static str, String)> {
    let all: BTreeSet<IpAddr> = members.iter().flat_map(|member| member.addresses.iter().copied()).collect();
    let of = |ipv6: bool| {
        let addresses: Vec<String> = all.iter().filter(|ip| ip.is_ipv6() == ipv6).map(ToString::to_string).collect();
        (!addresses.is_empty()).then(|| (family(ipv6), format!("{{ {} }}", addresses.join(", "))))
    };
    [of(false), of(true)].into_iter().flatten().collect()
}

fn at(ports: &[u16], protocol: Protocol) -> String {
    let protocol = word(protocol);
    if ports.is_empty() {
        return format!("meta l4proto {protocol}");
    }
    let ports: BTreeSet<u16> = ports.iter().copied().collect();
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!("{protocol} dport {{ {} }}", ports.join(", "))
}

const fn family(ipv6: bool) -> &'static str {
    if ipv6 { "ip6" } else { "ip" }
}

const fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

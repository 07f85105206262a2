//! From a manifest to one text for `nft`. Pure.
//!
//! # Why the rules look like this
//!
//! The chain for what comes in ends in `drop`, and begins with what no machine can do without. A packet that it lets pass
//! still meets the rules of others, so nothing here opens what somebody else has shut.
//!
//! A port that a container publishes is let pass as a whole: mostly it has another destination by then and never comes
//! here, but an engine may take connections by a program of its own, and who may reach it is said by the rules of networks.
//!
//! A port that leads on is given its new destination before the engine's own rules look at it. They let through what goes
//! to a published port of a container, however it came by this destination.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use piccolo_schema::{
    FirewallSpec,
    container::{Exposure, Port, Protocol},
    firewall::{BuiltIn, Forward, Service, Zone},
    subnet::Subnet,
};

use crate::host::{FilterView, Member, Rules};

/// The table is replaced as a whole: nft applies a text in one stroke, or not at all.
const BEGINNING: &str = "\
add table inet piccolo_firewall
delete table inet piccolo_firewall
table inet piccolo_firewall {
	comment \"{digest}\"
";
/// What is let in on every machine: answers, itself, errors and neighbours, addresses by DHCP, and names by mDNS.
const ESSENTIALS: &[&str] = &[
    "iifname \"lo\" accept",
    "ct state established,related accept",
    "icmp type { destination-unreachable, echo-request, time-exceeded, parameter-problem } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request } accept",
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
    "icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept",
    "meta l4proto igmp accept",
    "udp sport 67 udp dport 68 accept",
    "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept",
    "ip daddr 224.0.0.251 udp dport 5353 accept",
    "ip6 daddr ff02::fb udp dport 5353 accept",
    "udp sport 5353 udp dport 5353 accept",
];
/// Addresses that are somebody's own.
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
/// Links to containers, known or not yet.
const BRIDGES: [&str; 2] = ["docker0", "pic-*"];
/// Links of tunnels.
const TUNNELS: &str = "wg*";
/// How many addresses are counted for one service; those beyond are let in.
const COUNTED: u32 = 65535;

/// Returns the rules for a manifest on this machine.
pub(super) fn compile(spec: &FirewallSpec, view: &FilterView) -> Rules {
    let text = |boot| Table { spec, view, boot }.text();
    Rules::new(&text(false), &text(true), BTreeSet::new(), BTreeSet::new())
}

/// Returns the addresses to which a port leads on, if it can: one for each family.
pub(super) fn address<'a>(forward: &Forward, view: &'a FilterView) -> Option<&'a [IpAddr]> {
    if view.api_port == Some(forward.port) || holder(forward, view).is_some() {
        return None;
    }
    let is_target = |it: &&Member| it.name == forward.container && it.ports.iter().any(|port| forward.leads_to(port));
    let mut targets = view.containers.iter().filter(is_target);
    targets.find(|it| !it.addresses.is_empty()).map(|it| it.addresses.as_slice())
}

/// Returns the container that publishes the port which a forward asks for, and keeps it.
pub(super) fn holder<'a>(forward: &Forward, view: &'a FilterView) -> Option<&'a Member> {
    let wanted = (forward.port, forward.protocol);
    let holds =
        |port: &Port| (port.host_port, port.protocol) == wanted && port.bound_to().is_none_or(|ip| !ip.is_loopback());
    view.containers.iter().find(|it| it.ports.iter().any(holds))
}

struct Table<'a> {
    spec: &'a FirewallSpec,
    view: &'a FilterView,
    /// Nobody has looked yet, so no container has an address.
    boot: bool,
}

impl Table<'_> {
    fn text(&self) -> String {
        let mut text = BEGINNING.to_owned();
        for service in self.spec.services.iter().filter(|it| it.rate.is_some()) {
            for (family, kind) in [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")] {
                let set = format!("set {family}_{}", service.name);
                let rules = [format!("type {kind}; size {COUNTED}; flags dynamic,timeout; timeout 1h;")];
                block(&mut text, &set, &rules);
            }
        }
        let forwards = if self.boot { Vec::new() } else { self.forwards() };
        if !forwards.is_empty() {
            // Before the engine's own, whose priority is -100.
            let mut rules = vec!["type nat hook prerouting priority -105; policy accept;".to_owned()];
            rules.extend(forwards);
            block(&mut text, "chain forwards", &rules);
        }
        block(&mut text, "chain input", &self.input());
        for service in &self.spec.services {
            if let Some(rate) = &service.rate {
                block(&mut text, &format!("chain service_{}", service.name), &limited(&service.name, rate));
            }
        }
        text.push_str("}\n");
        text
    }

    fn input(&self) -> Vec<String> {
        // After the rules of networks, before those of others.
        let mut rules = vec!["type filter hook input priority -5; policy drop;".to_owned()];
        rules.extend(ESSENTIALS.iter().map(|&rule| rule.to_owned()));
        if let Some(port) = self.view.api_port {
            // Whatever `lan` means here, who sits beside the machine is not locked out of it.
            let zones = self.built_in(BuiltIn::Lan).into_iter().chain(self.zone(BuiltIn::Lan.as_str()));
            let zones: Vec<String> = zones.collect();
            rules.extend(distinct(zones).iter().map(|from| format!("{from}tcp dport {port} accept")));
        }
        rules.extend(self.published());
        rules.extend(self.spec.services.iter().flat_map(|service| self.service(service)));
        rules
    }

    /// Lets pass what containers publish.
    fn published(&self) -> BTreeSet<String> {
        let open = |port: &&Port| matches!(port.exposed_to(), Exposure::Lan | Exposure::Range(_));
        let ports = self.view.containers.iter().flat_map(|it| &it.ports).filter(open);
        ports
            .map(|port| {
                let to = match port.host_ip.filter(|ip| !ip.is_unspecified()) {
                    Some(ip) => format!("{} daddr {ip} ", family(ip.is_ipv6())),
                    None => String::new(),
                };
                format!("{to}{} dport {} accept", word(port.protocol), port.host_port)
            })
            .collect()
    }

    fn service(&self, service: &Service) -> Vec<String> {
        let verdict = match service.rate {
            Some(_) => format!("jump service_{}", service.name),
            None => "accept".to_owned(),
        };
        let spans: BTreeSet<(u16, u16)> = service.spans().map(|(_, _, span)| span).collect();
        let word_of =
            |(first, last): (u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
        let ports: Vec<String> = spans.into_iter().map(word_of).collect();
        let at = format!("{} dport {{ {} }} {verdict}", word(service.protocol), ports.join(", "));
        self.from(&service.from).iter().map(|from| format!("{from}{at}")).collect()
    }

    fn forwards(&self) -> Vec<String> {
        let mut rules = Vec::new();
        for forward in &self.spec.forwards {
            let mut known = BTreeSet::new();
            for to in address(forward, self.view).unwrap_or_default().iter().filter(|to| known.insert(to.is_ipv6())) {
                let family = family(to.is_ipv6());
                let place = if to.is_ipv6() { format!("[{to}]") } else { to.to_string() };
                let (protocol, port, target) = (word(forward.protocol), forward.port, forward.container_port);
                let at = format!("fib daddr type local {protocol} dport {port} dnat {family} to {place}:{target}");
                let own = |from: &&String| !from.contains(if to.is_ipv6() { "ip saddr" } else { "ip6 saddr" });
                rules.extend(self.from(&forward.from).iter().filter(own).map(|from| format!("{from}{at}")));
            }
        }
        rules
    }

    /// Returns what a packet from one of these zones looks like, each with a space at its end.
    fn from(&self, zones: &[String]) -> Vec<String> {
        distinct(zones.iter().flat_map(|zone| self.zone(zone)).collect())
    }

    fn zone(&self, name: &str) -> Vec<String> {
        match (self.spec.zones.iter().find(|it| it.name == name), name.parse()) {
            (Some(zone), _) => declared(zone),
            (None, Ok(zone)) => self.built_in(zone),
            (None, Err(())) => Vec::new(),
        }
    }

    fn built_in(&self, zone: BuiltIn) -> Vec<String> {
        let bridges = self.view.bridges.iter().map(String::as_str).chain(BRIDGES);
        match zone {
            BuiltIn::Lan => {
                let inner = links(bridges.chain([TUNNELS]));
                let ranges = PRIVATE.iter().filter_map(|range| range.parse().ok());
                ranged(&format!("iifname != {inner} "), ranges)
            }
            BuiltIn::Wireguard => vec![format!("iifname {} ", links([TUNNELS].into_iter()))],
            BuiltIn::Containers => vec![format!("iifname {} ", links(bridges))],
            BuiltIn::Anywhere => vec![String::new()],
        }
    }
}

/// Returns what a packet of a zone looks like that a manifest declares.
fn declared(zone: &Zone) -> Vec<String> {
    let by = match zone.links.as_slice() {
        [] => String::new(),
        names => format!("iifname {} ", links(names.iter().map(String::as_str))),
    };
    if zone.addresses.is_empty() {
        return vec![by];
    }
    ranged(&by, zone.addresses.iter().filter_map(|range| range.parse().ok()))
}

/// Returns a set of links, without those that a beginning in it covers.
fn links<'a, I: Iterator<Item = &'a str>>(names: I) -> String {
    let names: BTreeSet<&str> = names.collect();
    let covered = |name: &str| {
        let mut beginnings = names.iter().filter_map(|it| Some((it, it.strip_suffix('*')?)));
        beginnings.any(|(it, beginning)| *it != name && name.starts_with(beginning))
    };
    let names: Vec<String> = names.iter().filter(|it| !covered(it)).map(|it| format!("\"{it}\"")).collect();
    format!("{{ {} }}", names.join(", "))
}

/// Adds ranges of addresses, by family, without those that lie in another one: a set with both is refused.
fn ranged(by: &str, ranges: impl Iterator<Item = Subnet>) -> Vec<String> {
    let all: BTreeSet<Subnet> = ranges.collect();
    let of = |ipv6: bool| {
        let own = all.iter().filter(|it| it.is_ipv6() == ipv6);
        let widest: Vec<String> =
            own.filter(|it| !all.iter().any(|o| o.contains(it))).map(ToString::to_string).collect();
        (!widest.is_empty()).then(|| format!("{by}{} saddr {{ {} }} ", family(ipv6), widest.join(", ")))
    };
    [of(false), of(true)].into_iter().flatten().collect()
}

/// Returns the rules that count who begins a connection.
fn limited(service: &str, rate: &str) -> [String; 3] {
    let over = format!("limit rate over {rate} burst 5 packets");
    [
        format!("meta nfproto ipv4 update @ip_{service} {{ ip saddr {over} }} drop"),
        format!("meta nfproto ipv6 update @ip6_{service} {{ ip6 saddr and ffff:ffff:ffff:ffff:: {over} }} drop"),
        "accept".to_owned(),
    ]
}

fn distinct(all: Vec<String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    all.into_iter().filter(|it| known.insert(it.clone())).collect()
}

fn block(text: &mut String, name: &str, lines: &[String]) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "\t{name} {{");
    for line in lines {
        let _ = writeln!(text, "\t\t{line}");
    }
    text.push_str("\t}\n");
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

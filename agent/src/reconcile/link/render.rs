//! A Link as the files of networkd. Pure.

use std::{collections::BTreeMap, fmt::Display};

use piccolo_schema::{
    LinkSpec,
    link::{DnsOverTls, Match},
};

use crate::host::{KEYS, PREFIX, STAMP, Unit};

/// The metric of ways over a port without a wire, where none is asked for: higher than that of one with a wire, which networkd
/// gives 1024.
const WIFI_METRIC: u32 = 2048;

/// Links that have the hardware address of the one that they stand on, so that an address alone does not mean them.
pub(super) const COPIES: &[&str] = &["vlan", "bridge", "bond", "macvlan", "ipvlan"];

/// Returns the files of a link: how it is made, if it is, and what it is given. `all` are the links that it may belong to
/// or carry.
#[must_use]
pub fn units(name: &str, spec: &LinkSpec, all: &BTreeMap<&str, &LinkSpec>) -> Vec<Unit> {
    let file = |kind: &str, text| Unit { name: format!("{PREFIX}{name}.{kind}"), text };
    let made = spec.makes().map(|kind| file("netdev", netdev(name, kind, spec)));
    made.into_iter().chain([file("network", network(name, spec, all))]).collect()
}

/// A file that is being written.
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn of(name: &str) -> Self {
        Self(format!(
            "# Kept by Piccolo for the Link manifest {name}; what a hand changes here is undone\n{STAMP}{name}\n"
        ))
    }

    fn section(&mut self, name: &str) {
        self.0.push_str(&format!("\n[{name}]\n"));
    }

    /// The schema lets none of these characters in; should one ever come, it still can't begin a line or stand for
    /// something else.
    pub(super) fn line(&mut self, key: &str, value: impl Display) {
        let value: String = value.to_string().chars().filter(|it| !it.is_control() && *it != '%').collect();
        self.0.push_str(&format!("{key}={value}\n"));
    }

    fn lines(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }
}

fn netdev(name: &str, kind: &str, spec: &LinkSpec) -> String {
    let mut text = Text::of(name);
    text.section("NetDev");
    text.line("Name", name);
    text.line("Kind", kind);
    if let Some(vlan) = &spec.vlan {
        text.section("VLAN");
        text.line("Id", vlan.id);
    } else if let Some(bond) = &spec.bond {
        text.section("Bond");
        text.line("Mode", bond.mode.as_str());
        text.line("MIIMonitorSec", "100ms");
    } else if let Some(bridge) = &spec.bridge {
        text.section("Bridge");
        text.line("STP", bridge.stp);
    } else if let Some(macvlan) = &spec.macvlan {
        text.section("MACVLAN");
        text.line("Mode", macvlan.mode.as_str());
    } else if let Some(wireguard) = &spec.wireguard {
        text.section("WireGuard");
        text.line("PrivateKeyFile", format!("{KEYS}/{name}.key"));
        text.lines("ListenPort", wireguard.listen_port);
        for peer in &wireguard.peers {
            text.section("WireGuardPeer");
            text.line("PublicKey", &peer.public_key);
            text.lines("Endpoint", peer.endpoint.as_ref());
            text.line("AllowedIPs", peer.allowed_ips.join(","));
            text.lines("PersistentKeepalive", peer.keepalive);
        }
    }
    text.0
}

fn network(name: &str, spec: &LinkSpec, all: &BTreeMap<&str, &LinkSpec>) -> String {
    let mut text = Text::of(name);
    text.section("Match");
    match &spec.select {
        Some(select) => choice(&mut text, select),
        None => text.line("Name", name),
    }
    if let Some(mtu) = spec.mtu {
        text.section("Link");
        text.line("MTUBytes", mtu);
    }
    text.section("Network");
    let owner = all.iter().find(|(_, it)| it.members().iter().any(|member| member == name));
    if let Some((owner, it)) = owner {
        text.line(if it.bond.is_some() { "Bond" } else { "Bridge" }, owner);
        if it.bond.as_ref().is_some_and(|bond| bond.primary.as_deref() == Some(name)) {
            text.line("PrimarySlave", true);
        }
        text.line("LinkLocalAddressing", "no");
    }
    for (child, it) in all.iter().filter(|(_, it)| it.parent() == Some(name)) {
        text.line(if it.vlan.is_some() { "VLAN" } else { "MACVLAN" }, child);
    }
    // Whether the machine tells its name there is decided for all links at once, by resolved.
    text.line("MulticastDNS", true);
    addressing(&mut text, spec);
    // Nobody at the other end is no reason to leave a link without addresses that the machine itself uses.
    if spec.bridge.is_some() || spec.dummy {
        text.line("ConfigureWithoutCarrier", true);
    }
    let metric = spec.wifi.as_ref().map(|_| WIFI_METRIC);
    if metric.is_some() {
        // From one access point to the next there is none for a moment.
        text.line("IgnoreCarrierLoss", "3s");
    }
    for route in &spec.routes {
        text.section("Route");
        text.line("Destination", &route.to);
        text.lines("Gateway", route.via);
        text.lines("Metric", route.metric.or(metric));
    }
    if let Some(metric) = metric {
        for section in ["DHCPv4", "IPv6AcceptRA"] {
            text.section(section);
            text.line("RouteMetric", metric);
        }
    }
    text.0
}

fn choice(text: &mut Text, select: &Match) {
    text.lines("MACAddress", select.mac.as_ref().map(|it| it.to_ascii_lowercase()));
    text.lines("PermanentMACAddress", select.permanent_mac.as_ref().map(|it| it.to_ascii_lowercase()));
    text.lines("Driver", select.driver.as_ref());
    text.lines("Path", select.path.as_ref());
    text.lines("Name", select.name.as_ref());
    if select.name.is_none() {
        text.line("Kind", format!("!{}", COPIES.join(" ")));
    }
}

fn addressing(text: &mut Text, spec: &LinkSpec) {
    let dhcp = match (spec.dhcp4, spec.dhcp6) {
        (true, true) => "yes",
        (true, false) => "ipv4",
        (false, true) => "ipv6",
        (false, false) => "no",
    };
    text.line("DHCP", dhcp);
    text.lines("IPv6AcceptRA", spec.accept_ra);
    for address in &spec.addresses {
        text.line("Address", address);
    }
    for server in &spec.dns {
        text.line("DNS", server);
    }
    if !spec.domains.is_empty() {
        text.line("Domains", spec.domains.join(" "));
    }
    text.lines("DNSOverTLS", spec.dns_over_tls.map(DnsOverTls::as_str));
}

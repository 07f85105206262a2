//! Links that the machine has and that are not Piccolo's, as manifests. What the kernel does not tell, or a manifest can't
//! say, is in the report.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{Kind, link::INNER};
use serde_json::{Value as Json, json};

use super::{
    Capture,
    json::{list, text, words},
};
use crate::foreign::{self, Draft, valid_name};

/// What the kernel calls links that manifests can make.
const MADE: [&str; 5] = ["vlan", "bond", "bridge", "macvlan", "dummy"];
/// Ways for bonds and macvlans to work that a manifest can ask for.
const MODES: [&str; 5] = ["active-backup", "802.3ad", "bridge", "private", "vepa"];
/// The largest packet where nobody says another, and the metric that the kernel gives to ways of IPv6.
const USUAL_MTU: u64 = 1500;
const USUAL_METRIC: u64 = 1024;

/// Writes down the links of a machine, as it was seen.
pub fn links(view: &Json) -> Capture {
    let units: BTreeSet<String> =
        list(&view["units"]).iter().filter(|it| it["subject"].is_string()).map(path).collect();
    let is_ours = |device: &Json| units.contains(text(&device["unit"]));
    let is_inner = |device: &&Json| !INNER.iter().any(|start| text(&device["name"]).starts_with(start));
    let all: Vec<&Json> =
        list(&view["devices"]).iter().filter(is_inner).filter(|it| text(&it["name"]) != "lo").collect();
    let others: Vec<&Json> = all.iter().copied().filter(|it| !is_ours(it) && !is_idle(it)).collect();
    let names: BTreeMap<&str, String> =
        others.iter().map(|it| (text(&it["name"]), valid_name(text(&it["name"])))).collect();
    let mut capture = Capture::default();
    for device in &others {
        let mut draft = Draft::new(format!("link {}", text(&device["name"])), valid_name(text(&device["name"])));
        draft.at("link");
        if shape(&mut draft, device, &others, &names) {
            addressing(&mut draft, device);
            match foreign::manifest(Kind::Link, &draft.name, &draft.spec) {
                Ok(written) => capture.manifests.push(written),
                Err(reasons) => {
                    draft.at("link");
                    reasons.iter().for_each(|why| draft.lost("", format!("its manifest would be refused: {why}")));
                }
            }
        }
        capture.report.rows.extend(draft.rows);
    }
    capture
}

fn path(unit: &Json) -> String {
    format!("{}/{}", text(&unit["directory"]), text(&unit["name"]))
}

/// Returns true for what the kernel has from the start and nobody uses.
fn is_idle(device: &Json) -> bool {
    let is_port = kind(device).is_none_or(|it| it == "veth");
    !is_port && device["up"] != true && list(&device["addresses"]).is_empty()
}

fn kind(device: &Json) -> Option<&str> {
    device["kind"].as_str()
}

/// Says which port is meant, or what is made. Returns false if there is no manifest for it.
fn shape(draft: &mut Draft, device: &Json, all: &[&Json], names: &BTreeMap<&str, String>) -> bool {
    match kind(device) {
        None | Some("veth") => return port(draft, device),
        Some(kind) if MADE.contains(&kind) => {}
        Some("wireguard") => {
            draft.lost(
                "",
                "its keys and its other ends are told to nobody: `wg showconf` has them; put the key into a Secret, and write a \
                 Link with `wireguard` by hand",
            );
            return false;
        }
        Some(kind) => {
            draft.lost("", format!("there are no manifests of links of the kind `{kind}`"));
            return false;
        }
    }
    if draft.name != text(&device["name"]) {
        draft.lost(
            "",
            format!("a link that is made is called as its manifest, and `{}` is no such name", text(&device["name"])),
        );
        return false;
    }
    if !made(draft, device, all, names) {
        return false;
    }
    draft.kept(
        "",
        format!(
            "its manifest waits (`NameTaken`) until what makes it now lets it go: take it out of there, then \
             `ip link delete {}`, and Piccolo makes it anew",
            draft.name
        ),
    );
    true
}

/// Chooses a port by what stays.
fn port(draft: &mut Draft, device: &Json) -> bool {
    let mac = |key: &str| device[key].as_str().filter(|it| it.bytes().any(|byte| !matches!(byte, b'0' | b':')));
    let choice = match (mac("permanentMac"), mac("mac"), device["path"].as_str()) {
        (Some(mac), ..) => json!({ "permanentMac": mac }),
        (None, Some(mac), _) => json!({ "mac": mac }),
        (None, None, Some(path)) => json!({ "path": path }),
        (None, None, None) => {
            draft.lost("", "it has nothing by which it could be told from others");
            return false;
        }
    };
    draft.put("match", choice);
    if device["wireless"] == true {
        draft.at("wifi");
        draft.lost(
            "",
            "which network it joins, and by which password, is told to nobody: what joins it now goes on with that. For Piccolo to do \
             it, remove that, `piccolo secret set wifi password`, and add `wifi = { ssid = \"…\", psk = { secret = \"wifi\", \
             key = \"password\" } }`",
        );
        draft.at("link");
    }
    draft.kept("", by(device));
    true
}

/// Says who sets a port up now.
fn by(device: &Json) -> String {
    match text(&device["unit"]) {
        "" => String::new(),
        unit if unit.starts_with("/usr/") || unit.starts_with("/lib/") => String::new(),
        unit => format!("its manifest waits as long as `{unit}` is there, which is for it too"),
    }
}

fn made(draft: &mut Draft, device: &Json, all: &[&Json], names: &BTreeMap<&str, String>) -> bool {
    let (how, name, kind) = (&device["made"], text(&device["name"]), kind(device).unwrap_or_default());
    let called = |other: &str| names.get(other).cloned();
    let members: Vec<String> =
        all.iter().filter(|it| text(&it["master"]) == name).filter_map(|it| called(text(&it["name"]))).collect();
    let parent = how["parent"].as_str().and_then(called);
    let mode = how["mode"].as_str();
    if let Some(mode) = mode.filter(|it| !MODES.contains(it)) {
        draft.lost(".mode", format!("`{mode}` is no way of working that a manifest can ask for"));
        return false;
    }
    let value = match (kind, parent) {
        ("vlan" | "macvlan", None) => {
            draft.lost("", "the link that it stands on is none that a manifest of a capture names");
            return false;
        }
        ("vlan", Some(parent)) => json!({ "parent": parent, "id": how["vlan"] }),
        ("macvlan", Some(parent)) => json!({ "parent": parent, "mode": mode.unwrap_or("bridge") }),
        ("bond", _) => json!({ "members": members, "mode": mode.unwrap_or("active-backup") }),
        ("bridge", _) if how["stp"] == true => json!({ "members": members, "stp": true }),
        ("bridge", _) => json!({ "members": members }),
        _ => json!(true),
    };
    draft.put(kind, value);
    true
}

fn addressing(draft: &mut Draft, device: &Json) {
    let (addresses, leased) = (words(&device["addresses"]), words(&device["leased"]));
    let is_local = |it: &str| it.starts_with("fe80:") || it.starts_with("169.254.");
    let given = |mark: char| leased.iter().any(|it| it.contains(mark) && !is_local(it));
    if given('.') {
        draft.put("dhcp4", true);
        draft.at("dhcp4");
        draft.kept("", "its IPv4 address was given for a time, which DHCP does");
    }
    for address in addresses.iter().filter(|it| !leased.contains(it) && !is_local(it)) {
        draft.push("addresses", *address);
    }
    if given(':') {
        draft.at("dhcp6");
        draft.kept(
            "",
            "its IPv6 address was given for a time: what routers announce is taken, as networkd does by itself",
        );
    }
    for route in list(&device["routes"]).iter().filter(|it| it["leased"] != true) {
        let (to, metric) = (text(&route["to"]), route["metric"].as_u64().unwrap_or_default());
        // Older clients of DHCP write their way out as a person would.
        if to == "0.0.0.0/0" && given('.') {
            continue;
        }
        let mut way = json!({ "to": to });
        if let Some(via) = route["via"].as_str() {
            way["via"] = via.into();
        }
        if metric > 0 && !(to.contains(':') && metric == USUAL_METRIC) {
            way["metric"] = metric.into();
        }
        draft.push("routes", way);
    }
    if let Some(mtu) = device["mtu"].as_u64().filter(|it| *it != USUAL_MTU && *it > 0) {
        draft.put("mtu", mtu);
    }
    servers(draft, device, given('.') || given(':'));
}

/// Name servers that somebody gave for a time come again; others are written down where networkd tells of them.
fn servers(draft: &mut Draft, device: &Json, is_given: bool) {
    let servers = words(&device["dns"]);
    if servers.is_empty() || is_given {
        return;
    }
    for server in servers {
        draft.push("dns", server);
    }
}

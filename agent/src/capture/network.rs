//! Which networks it is on, and under which names it is found there.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::{Map, Value as Json};

use super::{
    container::Source,
    json::{entries, is_nothing, text, words},
};
use crate::foreign::Draft;

/// How much of its identifier the engine gives a container as a name.
const SHORT: usize = 12;

pub(super) fn take(draft: &mut Draft, _: &Source<'_>, key: &str, value: &Json) -> bool {
    match key {
        // Read with the networks themselves, at the end.
        "HostConfig.NetworkMode" => {}
        "HostConfig.Dns" => {
            for server in words(value) {
                match server.parse::<IpAddr>() {
                    Ok(address) => draft.push("dns", address.to_string()),
                    Err(_) => draft.lost(&format!(".{server}"), "a name server is named by its address"),
                }
            }
        }
        "HostConfig.ExtraHosts" => hosts(draft, value),
        "HostConfig.Sysctls" => {
            if !is_nothing(value) {
                draft.put("sysctls", value.clone());
            }
        }
        _ => return false,
    }
    true
}

/// Reads the networks that it is on.
pub(super) fn finish(draft: &mut Draft, source: &Source<'_>) {
    draft.at("HostConfig.NetworkMode");
    let mode = text(&source.inspection["HostConfig"]["NetworkMode"]);
    let all = &source.inspection["NetworkSettings"]["Networks"];
    match mode {
        "host" | "none" => {
            draft.put("network", mode);
            return draft.kept("", "");
        }
        shared if shared.starts_with("container:") => {
            draft.put("network", "none");
            return draft.lost("", "it can't share another container's network; a new one would have none at all");
        }
        _ => {}
    }
    let mut networks: Vec<&str> = entries(all).map(|(name, _)| name.as_str()).filter(|it| *it != "bridge").collect();
    networks.sort_unstable();
    // The one that it was made on stands first.
    networks.sort_by_key(|name| *name != mode);
    let on_bridge = all.get("bridge").is_some() || all.is_null();
    let Some((first, more)) = networks.split_first() else {
        if !on_bridge {
            draft.put("network", "none");
            draft.lost("", format!("it has been taken from its network `{mode}` and is on none"));
        }
        return;
    };
    if on_bridge {
        draft.lost(".bridge", "beside a network of its own it can't be on the engine's `bridge`");
    }
    draft.put("network", *first);
    draft.kept("", "");
    if !more.is_empty() {
        draft.put("moreNetworks", more.to_vec());
    }
    aliases(draft, source, &networks);
}

/// Gives it the names by which others reach it now.
fn aliases(draft: &mut Draft, source: &Source<'_>, networks: &[&str]) {
    let all = &source.inspection["NetworkSettings"]["Networks"];
    let id = text(&source.inspection["Id"]);
    let called = text(&source.inspection["Name"]).trim_start_matches('/');
    let own = draft.name.clone();
    let names_on = |network: &str| -> BTreeSet<String> {
        let aliases = words(&all[network]["Aliases"]).into_iter().chain([called]);
        let made_up = |name: &str| id.get(..SHORT) == Some(name) || name == own;
        aliases.filter(|name| !name.is_empty() && !made_up(name)).map(str::to_owned).collect()
    };
    let sets: Vec<BTreeSet<String>> = networks.iter().map(|network| names_on(network)).collect();
    if sets.windows(2).any(|pair| pair[0] != pair[1]) {
        draft.changed(".Aliases", "it has all of its names on each of its networks");
    }
    let names: BTreeSet<String> = sets.into_iter().flatten().collect();
    if !names.is_empty() {
        draft.put("aliases", names.into_iter().collect::<Vec<_>>());
    }
    for network in networks {
        for (key, value) in entries(&all[*network]["IPAMConfig"]).filter(|(_, value)| !is_nothing(value)) {
            draft.lost(&format!(".{network}.{key}"), format!("the engine gives the addresses, not {}", shown(value)));
        }
        if !is_nothing(&all[*network]["DriverOpts"]) {
            draft.lost(&format!(".{network}.DriverOpts"), "the options of a network are the engine's own");
        }
    }
}

/// Returns true if others on one of its networks reach it by this name only as long as it is called so.
pub(super) fn lives_by_its_name(source: &Source<'_>, called: &str) -> bool {
    let networks = entries(&source.inspection["NetworkSettings"]["Networks"]);
    let mut own = networks.filter(|(name, _)| !matches!(name.as_str(), "bridge" | "host" | "none"));
    own.any(|(_, network)| !words(&network["Aliases"]).contains(&called))
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn hosts(draft: &mut Draft, value: &Json) {
    let mut hosts = Map::new();
    for (name, address) in words(value).into_iter().filter_map(|word| word.split_once([':', '='])) {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        if hosts.contains_key(name) {
            draft.lost(&format!(".{name}"), "a name has one address");
        } else {
            hosts.insert(name.to_owned(), address.into());
        }
    }
    if !hosts.is_empty() {
        draft.put("extraHosts", hosts);
    }
}

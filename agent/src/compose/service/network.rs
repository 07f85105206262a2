//! Which networks it is on, and under which names it is found there.

use serde_json::{Map, Value as Json};

use crate::compose::{
    draft::Draft,
    mistake::Place,
    project::NetworkName,
    yaml::{Node, Value},
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "network_mode" => mode(draft, node),
        "networks" => networks(draft, node),
        "dns" => {
            for (index, text) in draft.words(node).iter().enumerate() {
                match text.parse::<std::net::IpAddr>() {
                    Ok(address) => draft.push("dns", address.to_string()),
                    Err(_) => draft.lost(&format!("[{index}]"), "a name server is named by its address"),
                }
            }
        }
        "extra_hosts" => hosts(draft, node),
        _ => return false,
    }
    true
}

/// Puts a service that names no network on the project's own, and gives it the names that it had there.
pub(super) fn finish(draft: &mut Draft<'_>, service: &Node) {
    if service.get("network_mode").is_none() && service.get("networks").is_none() {
        let name = draft.project.networks.get("default").cloned();
        if let Some(network) = name {
            draft.at("networks");
            join(draft, &network.name.clone(), &network, "");
        }
    }
    if !draft.spec.contains_key("network") && service.get("network_mode").is_none() {
        draft.at("networks");
        draft.changed("", "no network of its own is left: it is on the engine's `bridge`");
    }
    let alone = matches!(draft.spec.get("network").and_then(Json::as_str), Some("host" | "none"));
    if alone && draft.spec.remove("ports").is_some() {
        draft.at("ports");
        draft.changed("", "left out: on this network there are none to publish");
    }
    let on = draft.spec.get("network").and_then(Json::as_str);
    if on.is_none_or(|network| matches!(network, "bridge" | "host" | "none")) {
        return;
    }
    let told = service.get("container_name").and_then(Node::text);
    for alias in [Some(draft.own), told].into_iter().flatten() {
        add_alias(draft, alias);
    }
    if draft.name != draft.own {
        draft.at("service");
        let note = format!("the container is `{}`, and is still reached as `{}`", draft.name, draft.own);
        draft.kept("", note);
    }
}

fn add_alias(draft: &mut Draft<'_>, alias: &str) {
    let known = matches!(draft.spec.get("aliases"), Some(Json::Array(all)) if all.iter().any(|it| it == alias));
    if !known && alias != draft.name {
        draft.push("aliases", alias);
    }
}

fn mode(draft: &mut Draft<'_>, node: &Node) {
    let Some(text) = draft.text(node).map(str::to_owned) else { return };
    match text.as_str() {
        // Where a container is that names none.
        "bridge" | "default" => {}
        "host" | "none" => draft.put("network", text),
        shared if shared.starts_with("service:") || shared.starts_with("container:") => {
            draft.put("network", "none");
            let note = "it can't share another container's network. It has none instead, so that nothing goes past \
                        the one it was to go through";
            draft.lost("", note);
        }
        other => match draft.project.networks.get(other).cloned() {
            Some(network) => join(draft, other, &network, ""),
            None => draft.wrong(node.place, "this network is not known", "write `bridge`, `host` or `none`"),
        },
    }
}

fn networks(draft: &mut Draft<'_>, node: &Node) {
    let empty = Node { value: Value::Null, place: node.place };
    let all: Vec<(String, Place, &Node)> = match &node.value {
        Value::Map(entries) => entries.iter().map(|it| (it.key.clone(), it.place, &it.value)).collect(),
        _ => {
            let items = draft.list(node);
            items.iter().filter_map(|it| Some((draft.text(it)?.to_owned(), it.place, &empty))).collect()
        }
    };
    for (name, place, details) in all {
        let Some(network) = draft.project.networks.get(&name).cloned() else {
            let reason = format!("there is no network `{name}` in the file");
            draft.wrong(place, &reason, "declare it under `networks:`");
            continue;
        };
        join(draft, &name, &network, &format!(".{name}"));
        details_of(draft, details, &name);
    }
}

fn join(draft: &mut Draft<'_>, own: &str, network: &NetworkName, part: &str) {
    if !network.usable {
        let advice = "declare a bridge Network of lower-case letters, digits and `-`, and put all on it";
        return draft.lost(part, format!("no manifest can name the network `{}`: {advice}", network.name));
    }
    if draft.spec.contains_key("network") {
        draft.push("moreNetworks", network.name.clone());
    } else {
        draft.put("network", network.name.clone());
    }
    if network.external {
        draft.kept(part, format!("the network `{}` has to be there: this file does not make it", network.name));
    } else if network.name != own {
        draft.kept(part, format!("it is on the network `{}`", network.name));
    }
}

fn details_of(draft: &mut Draft<'_>, details: &Node, network: &str) {
    for entry in draft.entries(details) {
        let part = format!(".{network}.{}", entry.key);
        match entry.key.as_str() {
            "aliases" => draft.words(&entry.value).iter().for_each(|alias| add_alias(draft, alias)),
            "priority" | "gw_priority" => draft.changed(&part, "the first network is the one for the outside"),
            "ipv4_address" | "ipv6_address" | "link_local_ips" => {
                draft.lost(&part, "the engine picks the address: reach it by its name");
            }
            "mac_address" | "driver_opts" | "interface_name" => draft.lost(&part, "the engine picks this"),
            _ => draft.unknown(entry, &["aliases", "priority", "ipv4_address", "ipv6_address", "mac_address"]),
        }
    }
}

fn hosts(draft: &mut Draft<'_>, node: &Node) {
    let mut all = Map::new();
    for pair in draft.pairs(node, &['=', ':']) {
        let Some(address) = pair.value else {
            draft.wrong(pair.place, "an address is missing", "write `name:192.168.1.2`");
            continue;
        };
        let plain = address.trim_start_matches('[').trim_end_matches(']').to_owned();
        if all.contains_key(&pair.name) {
            draft.lost(&format!(".{}", pair.name), "a name has one address");
        } else {
            all.insert(pair.name, plain.into());
        }
    }
    if !all.is_empty() {
        draft.put("extraHosts", all);
    }
}

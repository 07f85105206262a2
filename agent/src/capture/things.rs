//! The networks and volumes that containers use.

use std::collections::BTreeSet;

use piccolo_schema::{Declared, Kind, Manifest, container::Container, parse::parse};
use serde_json::Value as Json;

use super::{
    Found,
    container::Captured,
    json::{entries, is_nothing, list, text},
    mounts::is_made_up,
};
use crate::foreign::{self, Draft, Row, Written, valid_name};

/// Labels that other tools write for themselves.
const NOTES: &str = "com.docker.";

/// Reads those that are there, each with its manifest if it can have one.
pub(super) fn used(containers: &[Captured], found: &Found) -> Vec<(Option<Written>, Vec<Row>)> {
    let manifests = containers.iter().filter_map(|it| parse(&it.manifest.as_ref()?.text).ok());
    let (mut networks, mut volumes) = (BTreeSet::new(), BTreeSet::new());
    for manifest in manifests {
        let Some(spec) = spec(&manifest) else { continue };
        networks.extend(spec.joins().map(str::to_owned));
        volumes.extend(spec.mounts.iter().filter_map(|mount| mount.volume.clone()));
    }
    let on = |things: &[Json], names: &BTreeSet<String>| -> Vec<Json> {
        let mut all: Vec<Json> = things.iter().filter(|it| names.contains(text(&it["Name"]))).cloned().collect();
        all.sort_by(|one, other| text(&one["Name"]).cmp(text(&other["Name"])));
        all
    };
    let networks = on(&found.networks, &networks);
    let volumes = on(&found.volumes, &volumes);
    networks.iter().map(network).chain(volumes.iter().map(volume)).collect()
}

fn spec(manifest: &Manifest) -> Option<&piccolo_schema::ContainerSpec> {
    Container::of(manifest).map(|it| &it.spec)
}

fn network(network: &Json) -> (Option<Written>, Vec<Row>) {
    let name = text(&network["Name"]);
    let mut draft = Draft::new(format!("network {name}"), name.to_owned());
    draft.at("network");
    let driver = text(&network["Driver"]);
    if driver != "bridge" {
        draft.kept(
            "",
            format!("whoever made it keeps it: there are manifests of bridge networks only, not of `{driver}`"),
        );
        return (None, draft.rows);
    }
    if valid_name(name) != name {
        draft.kept("", "whoever made it keeps it: its name can't be that of a manifest");
        return (None, draft.rows);
    }
    let ranges = list(&network["IPAM"]["Config"]);
    for range in ranges {
        let six = text(&range["Subnet"]).contains(':');
        let field = if six && ranges.len() > 1 { "ipv6" } else { "subnet" };
        if draft.spec.contains_key(field) {
            draft.lost(".IPAM", "a network has one range of each kind");
            continue;
        }
        draft.put(field, text(&range["Subnet"]));
        if field == "subnet" && !is_nothing(&range["Gateway"]) {
            draft.put("gateway", text(&range["Gateway"]).split('/').next().unwrap_or_default());
        }
        if !is_nothing(&range["IPRange"]) || !is_nothing(&range["AuxiliaryAddresses"]) {
            draft.lost(".IPAM", "the engine gives the addresses of the whole range");
        }
    }
    if network["Internal"] == true {
        draft.put("internal", true);
    }
    for (key, _) in entries(&network["Options"]) {
        draft.lost(&format!(".Options.{key}"), "the options of the bridge are the engine's own");
    }
    if entries(&network["Labels"]).any(|(key, _)| !key.starts_with(NOTES)) {
        draft.changed(".Labels", "left out: a network carries no labels");
    }
    draft.kept("", "its manifest waits as long as the one that is not Piccolo's has its name; containers use that one");
    close(Kind::Network, draft)
}

fn volume(volume: &Json) -> (Option<Written>, Vec<Row>) {
    let name = text(&volume["Name"]);
    let mut draft = Draft::new(format!("volume {name}"), name.to_owned());
    draft.at("volume");
    let options = &volume["Options"];
    let bind = text(&options["type"]) == "none" && text(&options["o"]).split(',').any(|it| it == "bind");
    let plain = text(&volume["Driver"]) == "local" && (bind || is_nothing(options));
    if is_made_up(name) || valid_name(name) != name || !plain {
        draft.kept("", "it stays as it is, and is used under its name; it has no manifest");
        return (None, draft.rows);
    }
    if bind {
        draft.put("path", text(&options["device"]));
    }
    draft.kept("", "it is used as it is, with the data that is in it");
    close(Kind::Volume, draft)
}

fn close(kind: Kind, mut draft: Draft) -> (Option<Written>, Vec<Row>) {
    match foreign::manifest(kind, &draft.name, &draft.spec) {
        Ok(written) => (Some(written), draft.rows),
        Err(reasons) => {
            reasons.iter().for_each(|reason| draft.lost("", format!("its manifest would be refused: {reason}")));
            (None, draft.rows)
        }
    }
}

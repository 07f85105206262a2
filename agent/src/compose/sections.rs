//! The parts of a compose file beside its services.

use std::collections::BTreeSet;

use piccolo_schema::Kind;

use super::{
    Import,
    draft::Draft,
    keys,
    mistake::{Mistake, Place},
    project::Storage,
    yaml::{Entry, Node},
};
use crate::foreign::{self, Outcome, Row};

const TOP: &[&str] = &["name", "version", "services", "networks", "volumes", "secrets", "configs", "include", "models"];

/// Speaks of what stands at the top of the file.
pub(super) fn top(import: &mut Import<'_>, root: &Node) {
    let Some(entries) = root.entries() else {
        import.mistakes.push(Mistake::new(root.place, "this is no compose file", "it begins with `services:`"));
        return;
    };
    if !entries.iter().any(|entry| entry.key == "services" && entry.value.entries().is_some()) {
        import.mistakes.push(Mistake::new(root.place, "there are no `services:`", "a compose file has at least one"));
    }
    let project = import.project;
    let mut draft = Draft::new(project, "project", &project.own, project.own.clone());
    for entry in entries {
        match entry.key.as_str() {
            "services" | "networks" | "volumes" | "secrets" | "configs" => {}
            _ => draft.take(entry, other),
        }
    }
    for (section, known) in [("secrets", &project.secrets), ("configs", &project.configs)] {
        draft.at(section);
        for (name, file) in known {
            match file {
                Some(_) => draft.kept(&format!(".{name}"), ""),
                None => draft.lost(&format!(".{name}"), "it comes from no file"),
            }
        }
    }
    import.report.rows.append(&mut draft.rows);
    import.mistakes.append(&mut draft.mistakes);
}

fn other(draft: &mut Draft<'_>, entry: &Entry) {
    match entry.key.as_str() {
        "name" => {}
        "version" => draft.changed("", "left out: it means nothing any more"),
        "include" => draft.lost("", "other files are not read: import each of them"),
        "models" => draft.lost("", "models are not run by Piccolo"),
        key => {
            let help = keys::advice(key, TOP);
            draft.unknown_key(entry, &help);
        }
    }
}

/// Says once what holds for every container.
pub(super) fn everywhere(import: &mut Import<'_>, used: &BTreeSet<String>) {
    if !used.is_empty() {
        let names: Vec<_> = used.iter().map(|name| format!("`{name}`")).collect();
        let note = format!("the manifests hold what they stand for now: {}", names.join(", "));
        say(import, "variables", note);
    }
    let note = "programs gain no rights after the start, and the capabilities AUDIT_WRITE, MKNOD, NET_RAW and SETFCAP \
                are taken away, unless `allowNewPrivileges` or `capabilities` give them back";
    say(import, "rights", note.to_owned());
    if import.has_checks {
        let note = "one that is unhealthy is restarted, three times in ten minutes at most; compose would only say so";
        say(import, "health", note.to_owned());
    }
    if import.mounts_directories {
        let note = "a directory of the machine that is mounted has to be there: nothing is made in its place";
        say(import, "directories", note.to_owned());
    }
}

fn say(import: &mut Import<'_>, key: &str, note: String) {
    let (subject, key) = ("every container".to_owned(), key.to_owned());
    import.report.rows.push(Row { subject, key, outcome: Outcome::Changed, note });
}

/// Writes a Network for each network of the file that is used.
pub(super) fn networks(import: &mut Import<'_>, root: &Node) {
    let used = import.joined.clone();
    let declared = root.get("networks").and_then(Node::entries).unwrap_or_default();
    for entry in declared {
        let Some(network) = import.project.networks.get(&entry.key) else { continue };
        let mut draft = Draft::new(import.project, "network", &entry.key, network.name.clone());
        for inner in draft.entries(&entry.value) {
            draft.take(inner, |draft, inner| match inner.key.as_str() {
                "driver" | "name" | "external" => network_key(draft, inner),
                _ if network.usable => network_key(draft, inner),
                _ => draft.lost("", "this network is not made"),
            });
        }
        if network.external || !network.usable || !used.contains(&network.name) {
            if !network.external && network.usable {
                draft.at("network");
                draft.changed("", "left out: no container is on it");
            }
            import.report.rows.append(&mut draft.rows);
            import.mistakes.append(&mut draft.mistakes);
        } else {
            import.close(Kind::Network, draft, entry.place);
        }
    }
    let implied = import.project.networks.get("default").filter(|network| used.contains(&network.name));
    if let Some(network) = implied
        && !declared.iter().any(|entry| entry.key == "default")
    {
        let draft = Draft::new(import.project, "network", "default", network.name.clone());
        import.close(Kind::Network, draft, Place::default());
        let note = "every project has one, on which its services reach each other".to_owned();
        let subject = format!("network default -> {}", network.name);
        import.report.rows.push(Row { subject, key: "network".to_owned(), outcome: Outcome::Kept, note });
    }
}

fn network_key(draft: &mut Draft<'_>, entry: &Entry) {
    match entry.key.as_str() {
        "driver" => {
            if let Some(driver) = draft.text(&entry.value).filter(|it| *it != "bridge").map(str::to_owned) {
                draft.lost("", format!("there are bridge networks only, none of the kind `{driver}`"));
            }
        }
        "internal" => {
            if draft.flag(&entry.value) == Some(true) {
                draft.put("internal", true);
            }
        }
        "ipam" => ipam(draft, &entry.value),
        "external" => draft.kept("", "whoever made it keeps it"),
        "name" | "attachable" => {}
        "labels" => draft.changed("", "left out: a network carries no labels"),
        "enable_ipv6" | "enable_ipv4" => draft.lost("", "give it a `subnet` of the kind that is wanted"),
        "driver_opts" => draft.lost("", "the options of the bridge are the engine's own"),
        _ => draft.unknown(entry, &["driver", "internal", "ipam", "external", "name", "driver_opts", "enable_ipv6"]),
    }
}

fn ipam(draft: &mut Draft<'_>, node: &Node) {
    for entry in draft.entries(node) {
        match entry.key.as_str() {
            "config" => {
                for (index, range) in draft.list(&entry.value).iter().enumerate() {
                    addresses(draft, range, index);
                }
            }
            "driver" if entry.value.text() == Some("default") => {}
            _ => draft.lost(&format!(".{}", entry.key), "addresses are given by the engine's own means"),
        }
    }
}

fn addresses(draft: &mut Draft<'_>, range: &Node, index: usize) {
    for entry in draft.entries(range) {
        let part = format!(".config[{index}].{}", entry.key);
        match entry.key.as_str() {
            "subnet" | "gateway" if index == 0 => {
                if let Some(text) = draft.text(&entry.value).map(str::to_owned) {
                    draft.put(&entry.key, text);
                }
            }
            "subnet" | "gateway" => draft.lost(&part, "a network has one range of addresses"),
            "ip_range" | "aux_addresses" => draft.lost(&part, "the engine gives the addresses of the whole range"),
            _ => draft.unknown(entry, &["subnet", "gateway", "ip_range", "aux_addresses"]),
        }
    }
}

/// Speaks of the named volumes.
pub(super) fn volumes(import: &mut Import<'_>, root: &Node) {
    for entry in root.get("volumes").and_then(Node::entries).unwrap_or_default() {
        let Some(storage) = import.project.volumes.get(&entry.key) else { continue };
        let name = match storage {
            Storage::Volume(name) | Storage::Directory(name) => name.clone(),
            Storage::Foreign => entry.key.clone(),
        };
        let foreign = *storage == Storage::Foreign;
        let mut draft = Draft::new(import.project, "volume", &entry.key, name.clone());
        for inner in draft.entries(&entry.value) {
            draft.take(inner, |draft, inner| volume_key(draft, inner, foreign));
        }
        if draft.rows.is_empty() && draft.mistakes.is_empty() {
            draft.at("volume");
            draft.kept("", "the engine makes it when it is missing; it is never erased");
        }
        import.report.rows.append(&mut draft.rows);
        import.mistakes.append(&mut draft.mistakes);
        if matches!(storage, Storage::Volume(_)) {
            import.manifests.extend(foreign::volume_manifest(&name));
        }
    }
}

fn volume_key(draft: &mut Draft<'_>, entry: &Entry, foreign: bool) {
    match entry.key.as_str() {
        "driver" | "driver_opts" if foreign => draft.lost("", "mount it on the machine, then name its `hostPath`"),
        "driver" | "name" | "external" => {}
        "driver_opts" => draft.changed("", "the directory is mounted itself"),
        "labels" => draft.changed("", "left out: a volume carries no labels"),
        _ => draft.unknown(entry, &["driver", "driver_opts", "external", "labels", "name"]),
    }
}

//! `deploy`, as far as it means something on one machine.

use crate::compose::{
    draft::Draft,
    service::{limits, order},
    yaml::Node,
};

const KNOWN: &[&str] =
    &["resources", "replicas", "restart_policy", "labels", "mode", "placement", "update_config", "rollback_config"];

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    if key != "deploy" {
        return false;
    }
    for entry in draft.entries(node) {
        let part = format!(".{}", entry.key);
        match entry.key.as_str() {
            "resources" => resources(draft, &entry.value),
            "replicas" => order::replicas(draft, &entry.value, &part),
            "restart_policy" => restart(draft, &entry.value),
            "labels" | "mode" | "placement" | "update_config" | "rollback_config" | "endpoint_mode" => {
                draft.changed(&part, "left out: it is for a swarm of machines");
            }
            _ => draft.unknown(entry, KNOWN),
        }
    }
    true
}

fn resources(draft: &mut Draft<'_>, node: &Node) {
    for group in draft.entries(node) {
        for entry in draft.entries(&group.value) {
            let part = format!(".resources.{}.{}", group.key, entry.key);
            match (group.key.as_str(), entry.key.as_str()) {
                ("limits", "memory") => limits::size(draft, "memory", &entry.value),
                ("limits", "cpus") => limits::cpus(draft, &entry.value, &part),
                ("limits", "pids") => limits::pids(draft, &entry.value, &part),
                ("reservations", "devices") => devices(draft, &entry.value, &part),
                ("reservations", "memory" | "cpus" | "generic_resources") => {
                    draft.lost(&part, "nothing is reserved for a container");
                }
                _ => draft.unknown(entry, &["memory", "cpus", "pids", "devices"]),
            }
        }
    }
}

fn devices(draft: &mut Draft<'_>, node: &Node, part: &str) {
    for (index, item) in draft.list(node).iter().enumerate() {
        let part = format!("{part}[{index}]");
        let wanted = item.get("capabilities").map(|it| draft.words(it)).unwrap_or_default();
        if wanted.iter().any(|it| it == "gpu") {
            limits::graphics(draft, item, &part);
        } else {
            draft.lost(&part, "only graphics processors can be asked for by what they can do");
        }
    }
}

fn restart(draft: &mut Draft<'_>, node: &Node) {
    for entry in draft.entries(node) {
        match (entry.key.as_str(), entry.value.text()) {
            ("condition", Some("any")) => draft.put("restart", "always"),
            ("condition", Some("none")) => draft.put("restart", "no"),
            ("condition", Some("on-failure")) => draft.put("restart", "onFailure"),
            ("delay" | "max_attempts" | "window", _) => {
                draft.changed(&format!(".restart_policy.{}", entry.key), "the engine's own waiting times hold");
            }
            _ => draft.unknown(entry, &["condition", "delay", "max_attempts", "window"]),
        }
    }
}

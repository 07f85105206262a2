//! How much of the machine it may use.

use piccolo_schema::quantity::Bytes;
use serde_json::{Map, Value as Json, json};

use crate::{
    compose::{
        draft::Draft,
        yaml::{Node, Value},
    },
    foreign,
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "mem_limit" => size(draft, "memory", node),
        "shm_size" => size(draft, "shmSize", node),
        // Together with the memory: once both are read.
        "memswap_limit" => {}
        "cpus" => cpus(draft, node, ""),
        "cpuset" => {
            if let Some(text) = draft.text(node).map(|text| text.replace(' ', "")) {
                draft.put("cpuset", text);
            }
        }
        "pids_limit" => pids(draft, node, ""),
        "blkio_config" => weight(draft, node),
        "storage_opt" => storage(draft, node),
        "ulimits" => ulimits(draft, node),
        "logging" => logging(draft, node),
        "gpus" => gpus(draft, node),
        "devices" => {
            for (index, item) in draft.list(node).iter().enumerate() {
                device(draft, item, &format!("[{index}]"));
            }
        }
        _ => return false,
    }
    true
}

/// Compose counts memory and swap together, a manifest counts swap alone.
pub(super) fn finish(draft: &mut Draft<'_>, service: &Node) {
    let Some(node) = service.get("memswap_limit") else { return };
    draft.at("memswap_limit");
    let limit = service.get("mem_limit").and_then(Node::text).and_then(foreign::engine_bytes);
    match (node.text().map(foreign::engine_bytes), limit) {
        (Some(Some(both)), Some(memory)) if both >= memory => {
            draft.changed("", format!("counted without the memory: {}", Bytes::new(both - memory)));
            if both > memory {
                draft.put("swap", Bytes::new(both - memory).to_string());
            }
        }
        (Some(Some(_)), _) => draft.lost("", "swap needs a `mem_limit` below it"),
        (_, _) if node.text() == Some("-1") => draft.lost("", "swap has a limit; write `swap`"),
        _ => draft.wrong(node.place, "an amount of memory is wanted here", "write `1g`"),
    }
}

pub(super) fn size(draft: &mut Draft<'_>, field: &str, node: &Node) {
    match draft.size(node) {
        Some(0) => draft.changed("", "0 is no limit, so it is left out"),
        Some(size) => draft.put(field, Bytes::new(size).to_string()),
        None => {}
    }
}

pub(super) fn cpus(draft: &mut Draft<'_>, node: &Node, part: &str) {
    match draft.number::<f64>(node) {
        Some(cores) if cores > 0.0 => draft.put("cpus", cores),
        Some(_) => draft.changed(part, "0 is no limit, so it is left out"),
        None => {}
    }
}

pub(super) fn pids(draft: &mut Draft<'_>, node: &Node, part: &str) {
    match draft.number::<i64>(node) {
        Some(pids) if pids > 0 => draft.put("pids", pids),
        Some(_) => draft.changed(part, "it is no limit, so it is left out"),
        None => {}
    }
}

fn weight(draft: &mut Draft<'_>, node: &Node) {
    for entry in draft.entries(node) {
        if entry.key == "weight" {
            if let Some(weight) = draft.number::<u16>(&entry.value) {
                draft.put("ioWeight", weight);
            }
        } else {
            draft.lost(&format!(".{}", entry.key), "only the `weight` of a container can be said");
        }
    }
}

fn storage(draft: &mut Draft<'_>, node: &Node) {
    for entry in draft.entries(node) {
        if entry.key == "size" {
            size(draft, "storage", &entry.value);
        } else {
            draft.lost(&format!(".{}", entry.key), "only the `size` can be said");
        }
    }
}

fn ulimits(draft: &mut Draft<'_>, node: &Node) {
    for entry in draft.entries(node) {
        let soft = entry.value.get("soft").unwrap_or(&entry.value);
        let hard = entry.value.get("hard");
        let soft = draft.number::<i64>(soft);
        let hard = hard.and_then(|node| draft.number::<i64>(node));
        let (Some(soft), Some(limits)) = (soft, draft.map("ulimits")) else { continue };
        let limit = match hard {
            Some(hard) => json!({ "soft": soft, "hard": hard }),
            None => json!({ "soft": soft }),
        };
        limits.insert(entry.key.clone(), limit);
    }
}

fn logging(draft: &mut Draft<'_>, node: &Node) {
    let mut log = Map::new();
    for entry in draft.entries(node) {
        match (entry.key.as_str(), entry.value.text()) {
            ("driver", Some(driver @ ("json-file" | "local" | "journald" | "syslog" | "none"))) => {
                log.insert("driver".to_owned(), driver.into());
            }
            ("driver", Some(driver)) => return draft.lost("", format!("the driver `{driver}` is not offered")),
            ("options", _) => options(draft, &entry.value, &mut log),
            _ => draft.unknown(entry, &["driver", "options"]),
        }
    }
    if !log.is_empty() {
        draft.put("log", log);
    }
}

fn options(draft: &mut Draft<'_>, node: &Node, log: &mut Map<String, Json>) {
    let mut others = Map::new();
    for pair in draft.pairs(node, &['=']) {
        let value = pair.value.unwrap_or_default();
        match (pair.name.as_str(), foreign::engine_bytes(&value), value.parse::<u16>()) {
            ("max-size", Some(size), _) => {
                log.insert("maxSize".to_owned(), Bytes::new(size).to_string().into());
            }
            ("max-file", _, Ok(files)) => {
                log.insert("maxFiles".to_owned(), files.into());
            }
            _ => {
                others.insert(pair.name, value.into());
            }
        }
    }
    if !others.is_empty() {
        log.insert("options".to_owned(), others.into());
    }
}

fn gpus(draft: &mut Draft<'_>, node: &Node) {
    if node.text() == Some("all") {
        draft.put("gpus", vec!["all"]);
        return;
    }
    for item in draft.list(node) {
        graphics(draft, item, "");
    }
}

/// Reads a request for devices of the form `{ driver, count, device_ids, capabilities }`.
pub(super) fn graphics(draft: &mut Draft<'_>, item: &Node, part: &str) {
    let ids = item.get("device_ids").map(|ids| draft.words(ids));
    match (ids, item.get("count").and_then(Node::text)) {
        (Some(ids), _) => draft.put("gpus", ids),
        (None, None | Some("all" | "-1")) => draft.put("gpus", vec!["all"]),
        (None, Some(count)) => {
            draft.put("gpus", vec!["all"]);
            draft.changed(part, format!("all of them instead of any {count}: name the ones that are meant"));
        }
    }
}

fn device(draft: &mut Draft<'_>, item: &Node, part: &str) {
    let (source, target, rights) = match &item.value {
        Value::Text(text) => {
            let mut pieces = text.splitn(3, ':').map(str::to_owned);
            (pieces.next().unwrap_or_default(), pieces.next(), pieces.next())
        }
        _ => {
            let piece = |key: &str| item.get(key).and_then(Node::text).map(str::to_owned);
            (piece("source").unwrap_or_default(), piece("target"), piece("permissions"))
        }
    };
    let target = target.unwrap_or_else(|| source.clone());
    if !source.starts_with("/dev/") || !target.starts_with("/dev/") {
        return draft.lost(part, "a device of the machine is named by its path below `/dev`, and appears below it");
    }
    let mut device = Map::from_iter([("hostPath".to_owned(), Json::from(source.clone()))]);
    if target != source {
        device.insert("path".to_owned(), target.into());
    }
    let rights = rights.unwrap_or_else(|| "rw".to_owned());
    if !rights.contains('w') {
        device.insert("readOnly".to_owned(), true.into());
    }
    if source.starts_with("/dev/tty") {
        draft.kept(part, "it may be called otherwise after a boot: `/dev/serial/by-id/…` stays the same");
    }
    draft.push("devices", device);
}

//! What it may use of the machine.

use piccolo_schema::quantity::Bytes;
use serde_json::Value as Json;

use super::{
    container::Source,
    json::{entries, is_nothing, list, number, object, text, words},
};
use crate::foreign::{Draft, engine_bytes};

/// The size of `/dev/shm` when nothing is asked.
const SHM: i64 = 64 << 20;
/// A whole core.
const CORE: f64 = 1e9;

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    let host = &source.inspection["HostConfig"];
    match key {
        "HostConfig.Memory" => size(draft, "memory", value),
        "HostConfig.MemorySwap" => swap(draft, number(&host["Memory"]), number(value)),
        "HostConfig.NanoCpus" => cpus(draft, number(value) as f64 / CORE),
        "HostConfig.CpuQuota" => quota(draft, number(value), number(&host["CpuPeriod"])),
        // Read with the quota, and without meaning alone.
        "HostConfig.CpuPeriod" => {}
        "HostConfig.CpusetCpus" => put_text(draft, "cpuset", value),
        "HostConfig.PidsLimit" => put_number(draft, "pids", value),
        "HostConfig.BlkioWeight" => put_number(draft, "ioWeight", value),
        "HostConfig.ShmSize" => {
            if number(value) != SHM {
                size(draft, "shmSize", value);
            }
        }
        "HostConfig.StorageOpt" => storage(draft, value),
        "HostConfig.Ulimits" => ulimits(draft, value),
        "HostConfig.Devices" => devices(draft, value),
        "HostConfig.DeviceRequests" => requests(draft, value),
        _ => return false,
    }
    true
}

fn size(draft: &mut Draft, field: &str, value: &Json) {
    if let Some(bytes) = value.as_u64().filter(|bytes| *bytes > 0) {
        draft.put(field, Bytes::new(bytes).to_string());
    }
}

fn put_text(draft: &mut Draft, field: &str, value: &Json) {
    if !is_nothing(value) {
        draft.put(field, text(value));
    }
}

fn put_number(draft: &mut Draft, field: &str, value: &Json) {
    if number(value) > 0 {
        draft.put(field, number(value));
    }
}

/// An engine counts memory and swap together.
fn swap(draft: &mut Draft, memory: i64, both: i64) {
    match both {
        ..0 if memory > 0 => draft.lost("", "swap without a limit can't be said beside `memory`"),
        _ if memory > 0 && both > memory => {
            draft.put("swap", Bytes::new((both - memory).unsigned_abs()).to_string());
        }
        _ => {}
    }
}

fn cpus(draft: &mut Draft, cores: f64) {
    if cores > 0.0 {
        draft.put("cpus", cores);
    }
}

fn quota(draft: &mut Draft, quota: i64, period: i64) {
    if quota > 0 {
        let period = if period > 0 { period } else { 100_000 };
        draft.changed("", "a quota of a period is written as `cpus`");
        cpus(draft, quota as f64 / period as f64);
    }
}

fn storage(draft: &mut Draft, value: &Json) {
    for (key, value) in entries(value) {
        match (key.as_str(), engine_bytes(text(value))) {
            ("size", Some(bytes)) => draft.put("storage", Bytes::new(bytes).to_string()),
            _ => draft.lost(&format!(".{key}"), "of storage only its size can be said"),
        }
    }
}

fn ulimits(draft: &mut Draft, value: &Json) {
    for limit in list(value) {
        let (soft, hard) = (number(&limit["Soft"]), number(&limit["Hard"]));
        let mut all = object([("soft", soft.into())]);
        if hard != soft {
            all.insert("hard".to_owned(), hard.into());
        }
        if let Some(ulimits) = draft.map("ulimits") {
            ulimits.insert(text(&limit["Name"]).to_owned(), all.into());
        }
    }
}

fn devices(draft: &mut Draft, value: &Json) {
    for (index, device) in list(value).iter().enumerate() {
        let (host, inner) = (text(&device["PathOnHost"]), text(&device["PathInContainer"]));
        if !host.starts_with("/dev/") || !inner.starts_with("/dev/") {
            draft.lost(&format!("[{index}]"), "devices lie below `/dev/`");
            continue;
        }
        let mut all = object([("hostPath", host.into())]);
        if inner != host {
            all.insert("path".to_owned(), inner.into());
        }
        if !text(&device["CgroupPermissions"]).contains('w') {
            all.insert("readOnly".to_owned(), true.into());
        }
        draft.push("devices", all);
    }
}

/// Reads requests for graphics processors.
fn requests(draft: &mut Draft, value: &Json) {
    for (index, request) in list(value).iter().enumerate() {
        let wants = list(&request["Capabilities"]).iter().flat_map(words).collect::<Vec<_>>();
        let part = format!("[{index}]");
        let names = words(&request["DeviceIDs"]);
        if wants != ["gpu"] || !is_nothing(&request["Options"]) {
            draft.lost(&part, "of what a driver gives only graphics processors can be asked for");
        } else if number(&request["Count"]) == -1 {
            draft.push("gpus", "all");
        } else if names.is_empty() {
            draft.lost(&part, "graphics processors are named, not counted");
        } else {
            names.into_iter().for_each(|name| draft.push("gpus", name));
        }
    }
}

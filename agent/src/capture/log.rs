//! Where its output goes.

use serde_json::{Map, Value as Json};

use super::{
    container::Source,
    json::{entries, text},
};
use crate::foreign::{Draft, engine_bytes};
use piccolo_schema::quantity::Bytes;

/// The size and number of files that a manifest means when it says nothing.
const OURS: (u64, u64) = (10 << 20, 3);
/// What the driver `local` means when it is told nothing.
const LOCAL: (u64, u64) = (20 << 20, 5);
const DRIVERS: &[&str] = &["json-file", "local", "journald", "syslog", "none"];

pub(super) fn take(draft: &mut Draft, _: &Source<'_>, key: &str, value: &Json) -> bool {
    if key != "HostConfig.LogConfig" {
        return false;
    }
    let (driver, options) = (text(&value["Type"]), &value["Config"]);
    if !driver.is_empty() && !DRIVERS.contains(&driver) {
        draft.lost("", format!("there is no driver `{driver}`; its output is kept by the engine instead"));
        return true;
    }
    let mut log = Map::new();
    if !matches!(driver, "" | "json-file") {
        log.insert("driver".to_owned(), driver.into());
    }
    let keeps_files = matches!(driver, "" | "json-file" | "local");
    if keeps_files {
        rotation(draft, driver, options, &mut log);
    }
    let rest: Map<_, _> = entries(options)
        .filter(|(key, _)| !keeps_files || !matches!(key.as_str(), "max-size" | "max-file"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !rest.is_empty() {
        log.insert("options".to_owned(), rest.into());
    }
    if !log.is_empty() {
        draft.put("log", log);
    }
    true
}

/// Says how its files are rotated, where that is not as a manifest means it anyway.
fn rotation(draft: &mut Draft, driver: &str, options: &Json, log: &mut Map<String, Json>) {
    let size = engine_bytes(text(&options["max-size"])).filter(|size| *size > 0);
    let files = text(&options["max-file"]).parse::<u64>().ok();
    let (size, files) = match (size, driver) {
        (None, "local") => (LOCAL.0, files.unwrap_or(LOCAL.1)),
        (None, _) => {
            draft.changed("", "its output grew without end, and is kept in three files of 10 MiB");
            return;
        }
        (Some(size), "local") => (size, files.unwrap_or(LOCAL.1)),
        (Some(size), _) => (size, files.unwrap_or(1)),
    };
    if size != OURS.0 {
        log.insert("maxSize".to_owned(), Bytes::new(size).to_string().into());
    }
    if files != OURS.1 {
        log.insert("maxFiles".to_owned(), files.into());
    }
}

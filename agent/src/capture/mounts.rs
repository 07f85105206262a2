//! What it sees of the machine: volumes, directories, files, memory.

use piccolo_schema::quantity::Bytes;
use serde_json::{Map, Value as Json};

use super::{
    container::Source,
    json::{entries, is_nothing, list, number, object, text},
};
use crate::foreign::{Draft, engine_bytes};

/// The longest name of a volume.
const LONGEST: usize = 64;

pub(super) fn take(draft: &mut Draft, _: &Source<'_>, key: &str, value: &Json) -> bool {
    match key {
        // What became of them stands in one list, which is read at the end.
        "HostConfig.Binds" | "HostConfig.VolumeDriver" => {}
        "HostConfig.Mounts" => list(value).iter().enumerate().for_each(|(index, mount)| options(draft, index, mount)),
        "HostConfig.VolumesFrom" => {
            if !is_nothing(value) {
                draft.changed("", "the mounts that it takes from another container are its own");
            }
        }
        "HostConfig.Tmpfs" => entries(value).for_each(|(path, options)| tmpfs(draft, path, text(options))),
        _ => return false,
    }
    true
}

/// Reads what is really mounted.
pub(super) fn finish(draft: &mut Draft, source: &Source<'_>) {
    let mut mounts: Vec<&Json> = list(&source.inspection["Mounts"]).iter().collect();
    mounts.sort_by_key(|mount| text(&mount["Destination"]));
    for mount in mounts {
        draft.at("Mounts");
        let (part, rows) = (format!(".{}", text(&mount["Destination"])), draft.rows.len());
        let found = match text(&mount["Type"]) {
            "bind" => bind(draft, &part, mount),
            "volume" => volume(draft, &part, mount),
            // Read above.
            "tmpfs" => None,
            other => {
                draft.lost(&part, format!("mounts of the type `{other}` are not offered"));
                None
            }
        };
        if let Some((field, what)) = found {
            let mut all = object([("path", mount["Destination"].clone()), (field, what.into())]);
            if mount["RW"] == false {
                all.insert("readOnly".to_owned(), true.into());
            }
            draft.push("mounts", all);
        }
        if draft.rows.len() == rows && text(&mount["Type"]) != "tmpfs" {
            draft.kept(&part, "");
        }
    }
}

fn bind(draft: &mut Draft, part: &str, mount: &Json) -> Option<(&'static str, String)> {
    if !matches!(text(&mount["Propagation"]), "" | "rprivate" | "private") {
        draft.lost(part, "mounts that are made later are not passed on");
    }
    if text(&mount["Mode"]).split(',').any(|option| matches!(option, "z" | "Z")) {
        draft.changed(part, "`z` is left out: it labels files for SELinux");
    }
    Some(("hostPath", text(&mount["Source"]).to_owned()))
}

fn volume(draft: &mut Draft, part: &str, mount: &Json) -> Option<(&'static str, String)> {
    let name = text(&mount["Name"]);
    if is_made_up(name) {
        let note = "its volume has no name but the one that the engine made up, and is kept under it; `docker volume \
                    prune` may erase it once no container is on it: better copy it into one with a name";
        draft.kept(part, note);
    } else if !(2..=LONGEST).contains(&name.len()) {
        draft.lost(part, format!("`{name}` can't be the name of a volume here: it has 2 to {LONGEST} characters"));
        return None;
    }
    Some(("volume", name.to_owned()))
}

/// Returns true for the names of volumes that nobody has named.
pub(super) fn is_made_up(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Speaks of what a mount says beyond place and access.
fn options(draft: &mut Draft, index: usize, mount: &Json) {
    for group in ["BindOptions", "VolumeOptions", "ClusterOptions"] {
        for (key, _) in entries(&mount[group]).filter(|(_, value)| !is_nothing(value)) {
            let part = format!("[{index}].{group}.{key}");
            match key.as_str() {
                // These are about how the mount is made, and it is.
                "Propagation" | "CreateMountpoint" | "NoCopy" | "DriverConfig" | "Labels" => {}
                _ => draft.lost(&part, "this can't be said of a mount"),
            }
        }
    }
    if text(&mount["Type"]) == "tmpfs" {
        let size = number(&mount["TmpfsOptions"]["SizeBytes"]);
        memory(draft, text(&mount["Target"]), u64::try_from(size).ok().filter(|size| *size > 0));
        if !is_nothing(&mount["TmpfsOptions"]["Mode"]) {
            draft.lost(&format!("[{index}].TmpfsOptions.Mode"), "the mode of a tmpfs can't be said");
        }
    }
}

fn tmpfs(draft: &mut Draft, path: &str, options: &str) {
    let mut size = None;
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option.strip_prefix("size=").map(engine_bytes) {
            Some(Some(bytes)) => size = Some(bytes),
            _ if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
            _ => draft.lost(&format!(".{path}"), format!("the option `{option}` can't be said")),
        }
    }
    memory(draft, path, size);
}

fn memory(draft: &mut Draft, path: &str, size: Option<u64>) {
    let mut all: Map<String, Json> = object([("path", path.into())]);
    if let Some(size) = size {
        all.insert("size".to_owned(), Bytes::new(size).to_string().into());
    }
    draft.push("tmpfs", all);
}

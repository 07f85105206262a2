//! What it may do.

use piccolo_schema::container::WITHHELD;
use serde_json::Value as Json;

use super::{
    container::Source,
    json::{is_nothing, text, words},
};
use crate::foreign::Draft;

const NO_MORE: &[&str] = &["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"];

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    match key {
        "HostConfig.Privileged" => switch(draft, "privileged", value),
        "HostConfig.ReadonlyRootfs" => switch(draft, "readOnlyRoot", value),
        "HostConfig.PidMode" => shared(draft, "hostPid", text(value), &["", "private"]),
        "HostConfig.IpcMode" => shared(draft, "hostIpc", text(value), &["", "private", "shareable"]),
        // What the engine gives where nothing is asked.
        "HostConfig.CgroupnsMode" => return text(value) == source.machine.cgroups,
        "HostConfig.Runtime" => return matches!(text(value), "" | "runc"),
        "HostConfig.SecurityOpt" => options(draft, source, value),
        // Read together, at the end.
        "HostConfig.CapAdd" | "HostConfig.CapDrop" => {}
        "HostConfig.MaskedPaths" | "HostConfig.ReadonlyPaths" => {
            let hidden = !value.is_array() || !is_nothing(value);
            return hidden || source.inspection["HostConfig"]["Privileged"] == true;
        }
        _ => return false,
    }
    true
}

/// Gives it the rights that it has now, no more and no less.
pub(super) fn finish(draft: &mut Draft, source: &Source<'_>) {
    let host = &source.inspection["HostConfig"];
    let mut add = capabilities(&host["CapAdd"]);
    let mut drop = capabilities(&host["CapDrop"]);
    let privileged = host["Privileged"] == true;
    let is_in = |list: &[String], name: &str| list.iter().any(|it| it == name || it == "ALL");
    let kept: Vec<String> =
        WITHHELD.iter().filter(|name| !is_in(&add, name) && !is_in(&drop, name)).map(|it| (*it).to_owned()).collect();
    let may_gain = !words(&host["SecurityOpt"]).iter().any(|option| NO_MORE.contains(option));
    drop.retain(|name| !WITHHELD.contains(&name.as_str()));
    draft.at("HostConfig.CapAdd");
    if !add.is_empty() || !drop.is_empty() {
        draft.kept("", "");
    }
    // One that is privileged has all rights anyway.
    if !privileged && may_gain {
        draft.put("allowNewPrivileges", true);
    }
    if !privileged && !kept.is_empty() {
        add.extend(kept);
        let note = "it keeps the rights that it has; few programs need `allowNewPrivileges`, AUDIT_WRITE, MKNOD, \
                    NET_RAW and SETFCAP, so try without";
        draft.kept("", note);
    }
    for (which, list) in [("add", add), ("drop", drop)] {
        if let (false, Some(all)) = (list.is_empty(), draft.map("capabilities")) {
            all.insert(which.to_owned(), list.into());
        }
    }
    if draft.spec.get("capabilities").is_some_and(is_nothing) {
        draft.spec.remove("capabilities");
    }
}

fn capabilities(value: &Json) -> Vec<String> {
    let plain = |word: &str| {
        let word = word.to_ascii_uppercase();
        word.strip_prefix("CAP_").unwrap_or(&word).to_owned()
    };
    let mut all: Vec<String> = words(value).into_iter().map(plain).collect();
    all.dedup();
    all
}

fn switch(draft: &mut Draft, field: &str, value: &Json) {
    if value == true {
        draft.put(field, true);
    }
}

fn shared(draft: &mut Draft, field: &str, mode: &str, private: &[&str]) {
    match mode {
        "host" => draft.put(field, true),
        mode if private.contains(&mode) => {}
        _ => draft.lost("", "only the machine's own can be shared, not another container's"),
    }
}

fn options(draft: &mut Draft, source: &Source<'_>, value: &Json) {
    let privileged = source.inspection["HostConfig"]["Privileged"] == true;
    for (index, option) in words(value).into_iter().enumerate() {
        let part = format!("[{index}]");
        match option.replace('=', ":").as_str() {
            option if NO_MORE.contains(&option) => {}
            "label:disable" if privileged => {}
            "label:disable" => draft.changed(&part, "left out: it is for SELinux"),
            _ => draft.lost(&part, "profiles of seccomp, AppArmor and SELinux are the engine's own"),
        }
    }
}

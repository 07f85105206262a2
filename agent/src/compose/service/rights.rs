//! What it may do, and what it is granted for that.

use crate::compose::{draft::Draft, yaml::Node};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "cap_add" => capabilities(draft, "add", node),
        "cap_drop" => capabilities(draft, "drop", node),
        "privileged" => switch(draft, "privileged", node),
        "read_only" => switch(draft, "readOnlyRoot", node),
        "security_opt" => options(draft, node),
        "pid" => shared(draft, "hostPid", node),
        "ipc" => shared(draft, "hostIpc", node),
        "sysctls" => sysctls(draft, node),
        _ => return false,
    }
    true
}

fn capabilities(draft: &mut Draft<'_>, which: &str, node: &Node) {
    let mut names: Vec<String> = Vec::new();
    for word in draft.words(node) {
        let name = word.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if let Some(all) = draft.map("capabilities").filter(|_| !names.is_empty()) {
        all.insert(which.to_owned(), names.into());
    }
}

fn switch(draft: &mut Draft<'_>, field: &str, node: &Node) {
    if draft.flag(node) == Some(true) {
        draft.put(field, true);
    }
}

fn shared(draft: &mut Draft<'_>, field: &str, node: &Node) {
    match draft.text(node) {
        Some("host") => draft.put(field, true),
        Some("private") | None => {}
        Some(_) => draft.lost("", "only the machine's own can be shared, not another container's"),
    }
}

fn options(draft: &mut Draft<'_>, node: &Node) {
    for (index, word) in draft.words(node).iter().enumerate() {
        match word.replace('=', ":").as_str() {
            "no-new-privileges" | "no-new-privileges:true" => {}
            "no-new-privileges:false" => draft.put("allowNewPrivileges", true),
            "label:disable" => draft.changed(&format!("[{index}]"), "left out: it is for SELinux"),
            _ => draft.lost(&format!("[{index}]"), "profiles of seccomp, AppArmor and SELinux are the engine's own"),
        }
    }
}

fn sysctls(draft: &mut Draft<'_>, node: &Node) {
    for pair in draft.pairs(node, &['=']) {
        if let Some(sysctls) = draft.map("sysctls") {
            sysctls.insert(pair.name, pair.value.unwrap_or_default().into());
        }
    }
}

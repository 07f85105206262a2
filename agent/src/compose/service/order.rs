//! When it starts, and when again.

use serde_json::json;

use crate::compose::{
    draft::Draft,
    yaml::{Entry, Node, Value},
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "depends_on" => depends_on(draft, node),
        "links" => links(draft, node),
        "restart" => restart(draft, node),
        "profiles" => profiles(draft, node),
        "scale" => replicas(draft, node, ""),
        // What it has from there was put in before.
        "extends" => {}
        _ => return false,
    }
    true
}

/// Says what compose does when nothing is said.
pub(super) fn finish(draft: &mut Draft<'_>, service: &Node) {
    let told = service.get("deploy").and_then(|it| it.get("restart_policy")).is_some();
    if service.get("restart").is_none() && !told {
        draft.put("restart", "no");
        draft.at("restart");
        draft.kept(
            "",
            "`no`, as compose has it when nothing is said: write `always` if it shall come back after a fault",
        );
    }
}

fn depends_on(draft: &mut Draft<'_>, node: &Node) {
    if let Value::Map(entries) = &node.value {
        entries.iter().for_each(|entry| condition(draft, entry));
        return;
    }
    for item in draft.list(node) {
        if let Some(service) = draft.text(item).map(str::to_owned) {
            wait(draft, item, &service, "started");
        }
    }
}

fn condition(draft: &mut Draft<'_>, entry: &Entry) {
    let mut wanted = "started";
    for inner in draft.entries(&entry.value) {
        match inner.key.as_str() {
            "condition" => match draft.text(&inner.value) {
                Some("service_healthy") => wanted = "healthy",
                Some("service_completed_successfully") => wanted = "completed",
                Some("service_started") | None => {}
                Some(_) => draft.wrong(inner.value.place, "this condition is not known", "write `service_started`"),
            },
            "required" => {
                if draft.flag(&inner.value) == Some(false) && !draft.project.services.contains_key(&entry.key) {
                    return draft.changed(&format!(".{}", entry.key), "there is no such service and none is required");
                }
            }
            "restart" => {
                if draft.flag(&inner.value) == Some(true) {
                    draft.lost(&format!(".{}.restart", entry.key), "it is not restarted because another one was");
                }
            }
            _ => draft.unknown(inner, &["condition", "required", "restart"]),
        }
    }
    wait(draft, &entry.value, &entry.key, wanted);
}

fn wait(draft: &mut Draft<'_>, node: &Node, service: &str, condition: &str) {
    match draft.project.services.get(service).cloned() {
        Some(container) if condition == "started" => draft.push("dependsOn", json!({ "container": container })),
        Some(container) => draft.push("dependsOn", json!({ "container": container, "condition": condition })),
        None => draft.wrong(node.place, "there is no such service in the file", "name a service, or take it out"),
    }
}

/// On one network all services reach each other; a link is an order, and may be another name.
fn links(draft: &mut Draft<'_>, node: &Node) {
    for (index, text) in draft.words(node).iter().enumerate() {
        let (service, alias) = text.split_once(':').unwrap_or((text, text));
        let part = format!("[{index}]");
        match alias == service {
            true => draft.changed(&part, format!("left out: on its network `{service}` is reached by its name")),
            false => draft.lost(&part, format!("give `{service}` the alias `{alias}` with `aliases`")),
        }
    }
}

fn restart(draft: &mut Draft<'_>, node: &Node) {
    let Some(text) = draft.text(node).map(str::to_owned) else { return };
    match text.as_str() {
        "no" | "false" => draft.put("restart", "no"),
        "always" => draft.put("restart", "always"),
        "unless-stopped" => {
            draft.put("restart", "always");
        }
        "on-failure" => draft.put("restart", "onFailure"),
        other if other.starts_with("on-failure:") => {
            draft.put("restart", "onFailure");
            draft.changed("", "the number of tries is not counted");
        }
        _ => draft.wrong(
            node.place,
            "this is no way to restart",
            "write `no`, `always`, `unless-stopped` or `on-failure`",
        ),
    }
}

fn profiles(draft: &mut Draft<'_>, node: &Node) {
    let words = draft.words(node);
    if words.is_empty() || words.iter().any(|word| draft.project.is_active(word)) {
        draft.changed("", "there are no profiles: it is always there");
    } else {
        draft.put("running", false);
        let flag = words.join(" --profile ");
        draft.changed(
            "",
            format!("its profile is not asked for, so it is made but not started: `--profile {flag}` would"),
        );
    }
}

/// Says that there is one container for each manifest.
pub(super) fn replicas(draft: &mut Draft<'_>, node: &Node, part: &str) {
    match draft.number::<u32>(node) {
        Some(0) => {
            draft.put("running", false);
            draft.changed(part, "none is wanted, so it is made but not started");
        }
        Some(1) | None => {}
        Some(_) => draft.lost(part, "there is one container for each manifest; copy the manifest for more"),
    }
}

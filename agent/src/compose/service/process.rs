//! What runs: image, command, user, name, stop.

use crate::compose::{
    draft::Draft,
    values,
    yaml::{Node, Value},
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "image" => put(draft, "image", node),
        "working_dir" => put(draft, "workingDir", node),
        "user" => put(draft, "user", node),
        "stop_signal" => signal(draft, node),
        "hostname" => put(draft, "hostname", node),
        "command" => arguments(draft, "command", node),
        "entrypoint" => arguments(draft, "entrypoint", node),
        "group_add" => groups(draft, node),
        "init" => {
            if draft.flag(node) == Some(true) {
                draft.put("init", true);
            }
        }
        "stop_grace_period" => {
            if let Some(time) = draft.time(node) {
                draft.put("stopGracePeriod", time);
            }
        }
        "labels" => labels(draft, node),
        "container_name" => name(draft, node),
        "build" => build(draft),
        "pull_policy" => pull(draft, node),
        _ => return false,
    }
    true
}

/// Gives a service that is built the image that compose names so.
pub(super) fn finish(draft: &mut Draft<'_>, service: &Node) {
    // One that extends has it from there, or the other one lacks it and is told so.
    let elsewhere = service.get("image").or(service.get("extends")).is_some();
    if elsewhere {
        return;
    }
    if service.get("build").is_some() {
        let name = format!("{}-{}", draft.project.own, draft.own).to_ascii_lowercase();
        draft.put("image", name);
    } else {
        draft.at("image");
        draft.wrong(service.place, "the service has neither `image` nor `build`", "name its image");
    }
}

fn put(draft: &mut Draft<'_>, field: &str, node: &Node) {
    if let Some(text) = draft.text(node).map(str::to_owned) {
        draft.put(field, text);
    }
}

fn signal(draft: &mut Draft<'_>, node: &Node) {
    let Some(text) = draft.text(node) else { return };
    let text = text.to_ascii_uppercase();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        draft.lost("", "signals are named: `SIGTERM`");
    } else if text.starts_with("SIG") {
        draft.put("stopSignal", text);
    } else {
        draft.put("stopSignal", format!("SIG{text}"));
    }
}

/// A text is split as a shell does, a list is taken as it is.
fn arguments(draft: &mut Draft<'_>, field: &str, node: &Node) {
    let words = match &node.value {
        Value::Null => return,
        Value::Text(text) => match values::words(text) {
            Some(words) => words,
            None => return draft.wrong(node.place, "a quote is not closed", "close it, or write a list"),
        },
        _ => draft.words(node),
    };
    if words.is_empty() {
        draft.lost("", "the image's own can't be emptied; name the program instead");
    } else {
        draft.put(field, words);
    }
}

fn groups(draft: &mut Draft<'_>, node: &Node) {
    let words = draft.words(node);
    if !words.is_empty() {
        draft.put("groups", words);
    }
}

fn labels(draft: &mut Draft<'_>, node: &Node) {
    for pair in draft.pairs(node, &['=']) {
        if pair.name.starts_with("piccolo.os/") {
            draft.lost(&format!(".{}", pair.name), "labels of this prefix are Piccolo's own");
        } else if let Some(labels) = draft.map("labels") {
            labels.insert(pair.name, pair.value.unwrap_or_default().into());
        }
    }
}

fn name(draft: &mut Draft<'_>, node: &Node) {
    let name = draft.name.clone();
    if draft.text(node).is_some_and(|told| told != name) {
        draft.changed("", format!("the container is called `{name}`: names have lower-case letters, digits and `-`"));
    }
}

fn build(draft: &mut Draft<'_>) {
    let image = format!("{}-{}", draft.project.own, draft.own).to_ascii_lowercase();
    draft.lost(
        "",
        format!("no image is built here: build it with `docker compose build`, which calls it `{image}` unless `image` says otherwise"),
    );
}

fn pull(draft: &mut Draft<'_>, node: &Node) {
    match draft.text(node) {
        Some("missing" | "if_not_present") | None => {}
        Some(_) => draft.lost("", "an image is pulled when it is missing, and only then"),
    }
}

//! How it is found out whether it does its work.

use serde_json::{Map, Value as Json};

use crate::compose::{
    draft::Draft,
    yaml::{Node, Value},
};

const KNOWN: &[&str] = &["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"];

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    if key != "healthcheck" {
        return false;
    }
    let mut check = Map::new();
    for entry in draft.entries(node) {
        match entry.key.as_str() {
            "test" => match test(draft, &entry.value) {
                Some(command) if command.is_empty() => return off(draft),
                Some(command) => {
                    check.insert("command".to_owned(), command.into());
                }
                None => return true,
            },
            "disable" => {
                if draft.flag(&entry.value) == Some(true) {
                    return off(draft);
                }
            }
            "interval" => time(draft, &mut check, "interval", &entry.value),
            "timeout" => time(draft, &mut check, "timeout", &entry.value),
            "start_period" => time(draft, &mut check, "startPeriod", &entry.value),
            "start_interval" => draft.lost(".start_interval", "the `interval` holds from the start"),
            "retries" => {
                if let Some(retries) = draft.number::<u16>(&entry.value).filter(|it| *it > 0) {
                    check.insert("retries".to_owned(), retries.into());
                }
            }
            _ => draft.unknown(entry, KNOWN),
        }
    }
    let says_more = |node: &Node| node.entries().is_some_and(|all| all.iter().any(|it| it.key != "disable"));
    if check.contains_key("command") {
        draft.put("healthCheck", check);
    } else if says_more(node) {
        draft.lost("", "it changes the image's own check, which can't be said: write the whole `test`");
    }
    true
}

fn off(draft: &mut Draft<'_>) -> bool {
    draft.lost("", "the image's own check can't be turned off");
    true
}

/// Returns the program; empty if there shall be no check.
fn test(draft: &mut Draft<'_>, node: &Node) -> Option<Vec<String>> {
    let shell = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
    if let Value::Text(line) = &node.value {
        return Some(shell(line));
    }
    let words = draft.words(node);
    match words.split_first() {
        Some((first, _)) if first == "NONE" => Some(Vec::new()),
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(rest.to_vec()),
        Some((first, [line])) if first == "CMD-SHELL" => Some(shell(line)),
        _ => {
            draft.wrong(node.place, "this is no test", "write `[\"CMD\", \"program\", …]` or a line for the shell");
            None
        }
    }
}

fn time(draft: &mut Draft<'_>, check: &mut Map<String, Json>, field: &str, node: &Node) {
    // None at all means what is usual, both here and there.
    if let Some(time) = draft.time(node).filter(|time| time != "0s") {
        check.insert(field.to_owned(), time.into());
    }
}

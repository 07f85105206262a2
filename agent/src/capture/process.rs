//! What runs: image, command, user, name, stop.

use piccolo_schema::image::Reference;
use serde_json::Value as Json;

use super::{
    container::Source,
    json::{entries, is_nothing, number, text, words},
};
use crate::foreign::Draft;

/// Labels that other tools write for themselves, and our own.
const NOTES: &[&str] = &["com.docker.compose.", "desktop.docker.io/", "piccolo.os/"];
/// What a container is asked to stop with when nobody says otherwise.
const USUAL_SIGNAL: &str = "SIGTERM";
/// The longest that a stop may take, in seconds.
const LONGEST_STOP: i64 = 3600;

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    match key {
        "Config.Image" => image(draft, source, text(value)),
        // Read together, at the end.
        "Config.Cmd" | "Config.Entrypoint" => {}
        "Config.WorkingDir" => own(draft, source, "WorkingDir", "workingDir"),
        "Config.User" => own(draft, source, "User", "user"),
        "Config.Hostname" => hostname(draft, source, text(value)),
        "Config.Labels" => labels(draft, source, value),
        "Config.StopSignal" => signal(draft, source, text(value)),
        "Config.StopTimeout" => stop(draft, value),
        "HostConfig.Init" => {
            if value == true {
                draft.put("init", true);
            }
        }
        "HostConfig.GroupAdd" => {
            if !is_nothing(value) {
                draft.put("groups", words(value));
            }
        }
        "HostConfig.RestartPolicy" => restart(draft, value),
        _ => return false,
    }
    true
}

/// Reads program and arguments, as far as they are not the image's own.
pub(super) fn finish(draft: &mut Draft, source: &Source<'_>) {
    let (config, image) = (&source.inspection["Config"], &source.image["Config"]);
    let (entrypoint, command) = (words(&config["Entrypoint"]), words(&config["Cmd"]));
    let (its_entrypoint, its_command) = (words(&image["Entrypoint"]), words(&image["Cmd"]));
    if entrypoint.is_empty() && !its_entrypoint.is_empty() {
        // The image's own program is not run; a manifest can name another one, but not none.
        if let Some((program, rest)) = command.split_first() {
            draft.at("Config.Entrypoint");
            draft.changed("", "the program that is run stands in its place, as the image's own can't be emptied");
            draft.put("entrypoint", vec![*program]);
            if !rest.is_empty() {
                draft.put("command", rest.to_vec());
            }
        }
        return;
    }
    let same_program = entrypoint == its_entrypoint;
    // An engine takes the image's arguments only where the image's program is run.
    let no_arguments = command.is_empty() && !its_command.is_empty();
    let own = [
        ("Config.Entrypoint", "entrypoint", !same_program || no_arguments, entrypoint),
        ("Config.Cmd", "command", !same_program || command != its_command, command),
    ];
    for (key, field, _, words) in own.into_iter().filter(|(_, _, own, words)| *own && !words.is_empty()) {
        draft.put(field, words);
        draft.at(key);
        draft.kept("", "");
    }
}

/// Names the image so that it stays the one that runs.
fn image(draft: &mut Draft, source: &Source<'_>, asked: &str) {
    let whole = |name: &str| Reference::parse(name).map_or_else(|_| name.to_owned(), |it| it.to_string());
    let (tags, digests) = (words(&source.image["RepoTags"]), words(&source.image["RepoDigests"]));
    let is_identifier = asked.starts_with("sha256:")
        || text(&source.image["Id"]).strip_prefix("sha256:").is_some_and(|id| id.starts_with(asked));
    if source.image.is_null() || tags.iter().chain(&digests).any(|name| whole(name) == whole(asked)) {
        draft.put("image", asked);
    } else if let Some(name) = tags.iter().chain(&digests).find(|_| is_identifier) {
        draft.changed("", format!("it was asked for by its identifier, and is called `{name}`"));
        draft.put("image", *name);
    } else if let Some(name) = digests.iter().find(|name| same_repository(name, asked)) {
        draft.changed("", format!("`{asked}` names another image by now, so the one that runs is named by its digest"));
        draft.put("image", *name);
    } else {
        draft.lost("", "nothing names the image that runs any more, so a new container would have another one");
        draft.put("image", asked);
    }
}

fn same_repository(one: &str, other: &str) -> bool {
    match (Reference::parse(one), Reference::parse(other)) {
        (Ok(one), Ok(other)) => (one.domain(), one.path()) == (other.domain(), other.path()),
        _ => false,
    }
}

/// Takes over a field that the image does not set alike.
fn own(draft: &mut Draft, source: &Source<'_>, theirs: &str, ours: &str) {
    let value = text(&source.inspection["Config"][theirs]);
    if !value.is_empty() && value != text(&source.image["Config"][theirs]) {
        draft.put(ours, value);
    }
}

/// Takes over a name that was given, not one that the engine made up.
fn hostname(draft: &mut Draft, source: &Source<'_>, name: &str) {
    let made_up = text(&source.inspection["Id"]).starts_with(name);
    let machines = text(&source.inspection["HostConfig"]["NetworkMode"]) == "host" && name == source.machine.name;
    if !name.is_empty() && !made_up && !machines {
        draft.put("hostname", name);
    }
}

fn labels(draft: &mut Draft, source: &Source<'_>, value: &Json) {
    let images = &source.image["Config"]["Labels"];
    let mut notes = false;
    for (key, value) in entries(value).filter(|(key, value)| images.get(key.as_str()) != Some(value)) {
        if NOTES.iter().any(|note| key.starts_with(note)) {
            notes = true;
        } else if let Some(labels) = draft.map("labels") {
            labels.insert(key.clone(), value.clone());
        }
    }
    if notes {
        draft.changed("", "left out: what other tools note for themselves; say the order of the start in `dependsOn`");
    }
}

fn signal(draft: &mut Draft, source: &Source<'_>, signal: &str) {
    let usual = text(&source.image["Config"]["StopSignal"]);
    let usual = if usual.is_empty() { USUAL_SIGNAL } else { usual };
    let name = signal.to_ascii_uppercase();
    if name.is_empty() || signal == usual {
        return;
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        draft.lost("", "signals are named: `SIGTERM`");
    } else if name.starts_with("SIG") {
        draft.put("stopSignal", name);
    } else {
        draft.put("stopSignal", format!("SIG{name}"));
    }
}

fn stop(draft: &mut Draft, value: &Json) {
    match value.as_i64() {
        None => {}
        Some(seconds @ 0..=LONGEST_STOP) => draft.put("stopGracePeriod", format!("{seconds}s")),
        Some(_) => draft.lost("", "a stop may take an hour at most"),
    }
}

fn restart(draft: &mut Draft, value: &Json) {
    let restart = match text(&value["Name"]) {
        "always" | "unless-stopped" => "always",
        "on-failure" => "onFailure",
        _ => "no",
    };
    draft.put("restart", restart);
    if number(&value["MaximumRetryCount"]) > 0 {
        draft.lost(".MaximumRetryCount", "how often it is tried can't be said");
    }
}

//! Rules of a container that only show when fields are looked at together.

mod grants;
mod health;
mod names;
mod paths;
mod ports;
mod resources;
mod secrets;
mod update;

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use super::{Container, ContainerSpec};
use crate::{
    Declared,
    image::Reference,
    parse::{Code, Path, Violation},
};

/// What the engine needs to start a container at all.
const LEAST_MEMORY: u64 = 6 << 20;
/// A stop that takes longer blocks every change of the container.
const LONGEST_STOP: Duration = Duration::from_secs(3600);
/// Labels that mark what belongs to a manifest.
const OWN_LABELS: &str = "piccolo.os/";

impl Container {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let (spec, mut out) = (&self.spec, Vec::new());
        name(self.name(), &mut out);
        image(spec, &mut out);
        ports::check(spec, &mut out);
        paths::check(spec, &mut out);
        secrets::check(spec, &mut out);
        labels(spec, &mut out);
        env(spec, &mut out);
        arguments(spec, &mut out);
        limits(spec, &mut out);
        resources::check(spec, &mut out);
        if let Some(health) = &spec.health_check {
            health::check(spec, health, &mut out);
        }
        if let Some(update) = &spec.update {
            update::check(spec, update, &mut out);
        }
        capabilities(spec, &mut out);
        grants::check(spec, &mut out);
        names::check(spec, &mut out);
        dependencies(self.name(), spec, &mut out);
        out
    }
}

/// Notes one broken rule.
fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: impl Display, help: impl Display) {
    out.push(Violation { code, path, on_key: false, reason: reason.to_string(), help: help.to_string() });
}

/// Notes that a key of a map breaks a rule.
fn note_key(out: &mut Vec<Violation>, code: Code, path: Path, reason: impl Display, help: impl Display) {
    out.push(Violation { code, path, on_key: true, reason: reason.to_string(), help: help.to_string() });
}

/// Engines want two characters.
fn name(name: &str, out: &mut Vec<Violation>) {
    if name.len() == 1 {
        let path = Path::default().key("metadata").key("name");
        let reason = format!("`{name}` is too short for the name of a container");
        note(out, Code::BadName, path, reason, "engines want at least two characters");
    }
}

fn image(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    if let Err(why) = Reference::parse(&spec.image) {
        let help = "write it like `nginx:1.27` or `registry.lan:5000/app:1`";
        note(out, Code::BadImage, Path::spec("image"), format_args!("not an image: {why}"), help);
    }
}

fn labels(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (key, value) in &spec.labels {
        let path = || Path::spec("labels").key(key);
        if key.starts_with(OWN_LABELS) {
            let reason = format_args!("labels that begin with `{OWN_LABELS}` are Piccolo's own");
            note_key(out, Code::Reserved, path(), reason, "choose another prefix, such as a domain of yours");
        } else if key.is_empty() || key.contains('\0') || value.contains('\0') {
            note_key(
                out,
                Code::ForbiddenCharacter,
                path(),
                "the label is empty or holds a NUL",
                "give it a plain name",
            );
        }
    }
}

fn env(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (key, value) in &spec.env {
        let path = Path::spec("env").key(key);
        if key.is_empty() || key.contains(['=', '\0']) {
            let reason = "the name of a variable can't be empty or hold `=` or NUL";
            note_key(out, Code::ForbiddenCharacter, path, reason, "write `NAME = \"value\"` under `[spec.env]`");
        } else if value.contains('\0') {
            let reason = format_args!("the value of `{key}` holds a NUL");
            note(out, Code::ForbiddenCharacter, path, reason, "mount a file for binary data");
        }
    }
}

fn arguments(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let none = Vec::new();
    let health = spec.health_check.as_ref().map_or(&none, |it| &it.command);
    let health_path = Path::spec("healthCheck").key("command");
    let lists = [
        (&spec.command, Path::spec("command")),
        (&spec.entrypoint, Path::spec("entrypoint")),
        (health, health_path.clone()),
    ];
    for (list, path) in lists {
        for (index, _) in list.iter().enumerate().filter(|(_, it)| it.contains('\0')) {
            let reason = "an argument can't hold a NUL";
            note(out, Code::ForbiddenCharacter, path.clone().index(index), reason, "remove the `\\u0000`");
        }
    }
    for (list, path) in [(&spec.entrypoint, Path::spec("entrypoint")), (health, health_path)] {
        if list.first().is_some_and(String::is_empty) {
            note(out, Code::WrongLength, path.index(0), "the program is empty", "name the program first");
        }
    }
}

fn limits(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    if let Some(memory) = spec.memory.filter(|it| it.get() < LEAST_MEMORY) {
        let reason = format_args!("no container starts with {memory} of memory");
        note(out, Code::OutOfRange, Path::spec("memory"), reason, "give it at least `6Mi`");
    }
    if let Some(time) = spec.stop_grace_period.filter(|it| it.get() > LONGEST_STOP) {
        let reason = format_args!("a container that may take {time} to stop blocks every change of it");
        note(out, Code::OutOfRange, Path::spec("stopGracePeriod"), reason, "give it at most `1h`");
    }
}

fn capabilities(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let path = |key: &str, index| Path::spec("capabilities").key(key).index(index);
    for (key, list) in [("add", &spec.capabilities.add), ("drop", &spec.capabilities.drop)] {
        let mut seen = BTreeSet::new();
        for (index, name) in list.iter().enumerate() {
            if let Some(plain) = name.strip_prefix("CAP_") {
                let help = format_args!("write `{plain}`");
                note(out, Code::WrongForm, path(key, index), format_args!("`{name}` has a prefix"), help);
            } else if !seen.insert(name) {
                note(out, Code::Duplicate, path(key, index), format_args!("`{name}` stands here twice"), "remove one");
            }
        }
    }
    for (index, name) in spec.capabilities.drop.iter().enumerate().filter(|(_, it)| spec.capabilities.add.contains(it))
    {
        let reason = format_args!("`{name}` is both added and dropped");
        note(out, Code::Conflict, path("drop", index), reason, "keep it in one of the two lists");
    }
}

fn dependencies(name: &str, spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let mut seen = BTreeSet::new();
    for (index, dependency) in spec.depends_on.iter().enumerate() {
        let path = || Path::spec("dependsOn").index(index).key("container");
        let other = &dependency.container;
        if other.is_empty() {
            continue;
        }
        if other == name {
            let reason = format_args!("`{name}` waits for itself and would never start");
            note(out, Code::DependsOnItself, path(), reason, "name another container, or remove the entry");
        } else if !seen.insert(other) {
            note(
                out,
                Code::Duplicate,
                path(),
                format_args!("`{other}` is waited for twice"),
                "remove one of the entries",
            );
        }
    }
}

//! A container becomes a Container.

use piccolo_schema::Kind;
use serde_json::Value as Json;

use super::{
    Found, Machine, environment, health,
    json::{entries, is_nothing, text},
    keys, limits, log, mounts, network, ports, process, rights,
};
use crate::foreign::{self, Draft, Outcome, Row, Written, valid_name};

/// A container, and what the engine tells around it.
pub(super) struct Source<'a> {
    pub(super) inspection: &'a Json,
    /// The inspection of its image; null if the engine has it no more.
    pub(super) image: &'a Json,
    pub(super) machine: &'a Machine,
}

/// What became of a container.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The engine's identifier.
    pub id: String,
    /// What it is called now.
    pub called: String,
    /// The name of its manifest.
    pub name: String,
    /// Whether it runs, and is not frozen.
    pub runs: bool,
    /// The name by which others reach it now, if it loses that when it is renamed.
    pub gives_up: Option<String>,
    /// Its manifest; none if it would be refused, which the rows tell.
    pub manifest: Option<Written>,
    /// What became of each key.
    pub rows: Vec<Row>,
}

/// Readers of keys; each says whether the key is one of its own.
type Reader = fn(&mut Draft, &Source<'_>, &str, &Json) -> bool;
const READERS: &[Reader] = &[
    process::take,
    environment::take,
    ports::take,
    mounts::take,
    network::take,
    limits::take,
    log::take,
    health::take,
    rights::take,
];

/// Reads a container.
pub fn container(inspection: &Json, found: &Found) -> Captured {
    let image = found.images.get(text(&inspection["Image"])).unwrap_or(&Json::Null);
    let source = Source { inspection, image, machine: &found.machine };
    let called = text(&inspection["Name"]).trim_start_matches('/').to_owned();
    let name = valid_name(&called);
    let subject = if called == name { format!("container {called}") } else { format!("container {called} -> {name}") };
    let mut draft = Draft::new(subject, name.clone());
    if called != name {
        draft.at("Name");
        draft.changed("", format!("it is called `{name}`: names have lower-case letters, digits and `-`"));
    }
    // A manifest that says nothing of it means another thing than an engine that says nothing.
    draft.put("restart", "no");
    for section in ["Config", "HostConfig"] {
        for (key, value) in entries(&inspection[section]) {
            take(&mut draft, &source, &format!("{section}.{key}"), value);
        }
    }
    process::finish(&mut draft, &source);
    mounts::finish(&mut draft, &source);
    network::finish(&mut draft, &source);
    rights::finish(&mut draft, &source);
    draft.grant("it");
    let manifest = close(&mut draft, &name);
    Captured {
        id: text(&inspection["Id"]).to_owned(),
        runs: text(&inspection["State"]["Status"]) == "running",
        gives_up: (called != name && network::lives_by_its_name(&source, &called)).then(|| called.clone()),
        called,
        name,
        manifest,
        rows: draft.rows,
    }
}

fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) {
    if keys::SILENT.contains(&key) {
        return;
    }
    let (rows, spec) = (draft.rows.len(), draft.spec.clone());
    draft.at(key);
    let read = READERS.iter().any(|reader| reader(draft, source, key, value));
    if !read && !is_nothing(value) {
        draft.lost("", keys::unsaid(key));
    }
    // What the image or the engine sets anyway is not worth a word.
    if draft.rows.len() == rows && draft.spec != spec {
        draft.kept("", "");
    }
}

fn close(draft: &mut Draft, name: &str) -> Option<Written> {
    match foreign::manifest(Kind::Container, name, &draft.spec) {
        Ok(written) => Some(written),
        Err(reasons) => {
            draft.at("manifest");
            for reason in reasons {
                draft.lost("", format!("it would be refused: {reason}"));
            }
            None
        }
    }
}

impl Captured {
    /// Returns what would be lost, a sentence each.
    pub fn losses(&self) -> impl Iterator<Item = String> {
        let lost = self.rows.iter().filter(|row| row.outcome == Outcome::Unsupported);
        lost.map(|row| format!("{}: {}", row.key, row.note))
    }
}

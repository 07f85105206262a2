//! Manifests as one compose file, for leaving or sharing. What can't be said there is a comment at its head.

mod service;

use std::collections::BTreeSet;

use piccolo_schema::{Container, Declared, Manifest, Network};
use serde_json::{Map, Value as Json, json};

/// Writes manifests as a compose file.
///
/// # Errors
/// When the result can't be written as YAML.
pub fn export(manifests: &[Manifest]) -> Result<String, serde_saphyr::ser::Error> {
    let mut export = Export::default();
    let containers: Vec<_> = manifests.iter().filter_map(Container::of).collect();
    let all: BTreeSet<_> = containers.iter().map(|it| it.name()).collect();
    for container in &containers {
        let written = service::write(container.name(), &container.spec, &all, &mut export.comments);
        export.services.insert(container.name().to_owned(), escaped(written));
        export.places_of(container);
    }
    for manifest in manifests {
        match (Network::of(manifest), Container::of(manifest)) {
            (Some(network), _) => export.network(network),
            (None, Some(_)) => {}
            (None, None) => export.other(manifest),
        }
    }
    export.write()
}

#[derive(Default)]
struct Export {
    comments: Vec<String>,
    services: Map<String, Json>,
    networks: Map<String, Json>,
    volumes: Map<String, Json>,
}

impl Export {
    /// Declares what a container names; a network that no manifest declares is somebody else's.
    fn places_of(&mut self, container: &Container) {
        for network in container.spec.joins() {
            self.networks.entry(network).or_insert_with(|| json!({ "name": network, "external": true }));
        }
        for volume in container.spec.mounts.iter().filter_map(|mount| mount.volume.as_deref()) {
            self.volumes.entry(volume).or_insert_with(|| json!({ "name": volume }));
        }
    }

    fn network(&mut self, network: &Network) {
        let name = network.name();
        let mut spec = fields(&network.spec);
        let mut written = Map::from_iter([("name".to_owned(), Json::from(name))]);
        if spec.remove("internal").is_some() {
            written.insert("internal".to_owned(), true.into());
        }
        let range: Map<_, _> = ["subnet", "gateway"].iter().filter_map(|key| spec.shift_remove_entry(*key)).collect();
        if !range.is_empty() {
            written.insert("ipam".to_owned(), json!({ "config": [range] }));
        }
        self.unsaid("network", name, &spec);
        self.networks.insert(name.to_owned(), written.into());
    }

    /// A volume of the engine is declared with its users; nothing else has a place here.
    fn other(&mut self, manifest: &Manifest) {
        let (kind, name) = (manifest.kind().singular(), manifest.name());
        match serde_json::to_value(manifest) {
            Ok(Json::Object(whole)) if kind == "volume" => {
                self.unsaid(kind, name, whole["spec"].as_object().unwrap_or(&Map::new()));
                self.volumes.entry(name).or_insert_with(|| json!({ "name": name }));
            }
            _ => self.comments.push(format!("{kind} {name}: compose has no such kind")),
        }
    }

    fn unsaid(&mut self, kind: &str, name: &str, rest: &Map<String, Json>) {
        self.comments.extend(rest.keys().map(|key| format!("{kind} {name}: `{key}` can't be said here")));
    }

    fn write(self) -> Result<String, serde_saphyr::ser::Error> {
        let mut document = Map::from_iter([("services".to_owned(), Json::Object(self.services))]);
        for (section, all) in [("networks", self.networks), ("volumes", self.volumes)] {
            if !all.is_empty() {
                document.insert(section.to_owned(), all.into());
            }
        }
        let comments: String = self.comments.iter().map(|line| format!("# {line}\n")).collect();
        Ok(comments + &serde_saphyr::to_string(&document)?)
    }
}

/// Returns the fields of a spec that are set.
fn fields(spec: &impl serde::Serialize) -> Map<String, Json> {
    match serde_json::to_value(spec) {
        Ok(Json::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Doubles each `$`, which would begin a variable.
fn escaped(value: Json) -> Json {
    match value {
        Json::String(text) => text.replace('$', "$$").into(),
        Json::Array(items) => items.into_iter().map(escaped).collect(),
        Json::Object(map) => map.into_iter().map(|(key, value)| (key, escaped(value))).collect(),
        other => other,
    }
}

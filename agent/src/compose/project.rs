//! What a compose file calls its things, and what they are called in manifests.

use std::collections::BTreeMap;

use super::{Source, values, yaml::Node};
use crate::foreign::{name_within, valid_name};

/// The names of a project, known before any of its services is read.
pub(super) struct Project<'a> {
    pub(super) source: &'a Source<'a>,
    /// What the names of manifests begin with; may be empty.
    pub(super) prefix: String,
    /// What compose itself calls the project, for the names that it gave to volumes and images.
    pub(super) own: String,
    pub(super) services: BTreeMap<String, String>,
    pub(super) networks: BTreeMap<String, NetworkName>,
    pub(super) volumes: BTreeMap<String, Storage>,
    pub(super) secrets: BTreeMap<String, Option<String>>,
    pub(super) configs: BTreeMap<String, Option<String>>,
}

/// A network as containers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkName {
    pub(super) name: String,
    /// Made by someone else.
    pub(super) external: bool,
    /// Whether a manifest can name it.
    pub(super) usable: bool,
}

/// What a named volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// A volume of the engine, by the engine's name.
    Volume(String),
    /// A directory of the machine behind a volume of the engine.
    Directory(String),
    /// A volume of a driver that is not offered.
    Foreign,
}

impl<'a> Project<'a> {
    /// Collects the names of a file. It judges nothing.
    pub(super) fn new(source: &'a Source<'a>, root: &Node) -> Self {
        let told = source.variables.get("COMPOSE_PROJECT_NAME").map(String::as_str).filter(|name| !name.is_empty());
        let told = told.or_else(|| root.get("name").and_then(Node::text));
        let own = told.map_or_else(|| directory_name(source.directory), str::to_owned);
        let prefix = source.name.as_deref().map_or_else(|| valid_name(&own), valid_name);
        let mut project = Self {
            source,
            prefix,
            own,
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: files(root.get("secrets")),
            configs: files(root.get("configs")),
        };
        project.services =
            each(root.get("services")).map(|(key, node)| (key, project.container(key, node))).map(own_key).collect();
        project.volumes =
            each(root.get("volumes")).map(|(key, node)| (key, project.storage(key, node))).map(own_key).collect();
        project.networks =
            each(root.get("networks")).map(|(key, node)| (key, project.network(key, node))).map(own_key).collect();
        if !project.networks.contains_key("default") {
            let name = project.part("default");
            project.networks.insert("default".to_owned(), NetworkName { name, external: false, usable: true });
        }
        project
    }

    /// Returns true if services of this profile shall run.
    pub(super) fn is_active(&self, profile: &str) -> bool {
        let told = self.source.variables.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
        let asked = self.source.profiles.iter().map(String::as_str).chain(told.split(',').map(str::trim));
        asked.into_iter().any(|asked| asked == profile || asked == "*")
    }

    /// Returns a path of the file as an absolute one; none if it begins at a home that is not known.
    pub(super) fn path(&self, path: &str) -> Option<String> {
        if let Some(rest) = path.strip_prefix('~') {
            let home = self.source.variables.get("HOME").filter(|_| rest.is_empty() || rest.starts_with('/'))?;
            return Some(values::plain(&format!("{home}{rest}")));
        }
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.source.directory) };
        Some(values::plain(&whole))
    }

    fn container(&self, service: &str, node: &Node) -> String {
        match node.get("container_name").and_then(Node::text).map(valid_name) {
            Some(name) if !name.is_empty() => name,
            _ => name_within(&self.prefix, service),
        }
    }

    fn network(&self, key: &str, node: &Node) -> NetworkName {
        let external = is_external(node);
        let told = told_name(node);
        let name = match (&told, external) {
            (Some(told), _) => told.clone(),
            (None, true) => key.to_owned(),
            (None, false) => self.part(key),
        };
        let driver = node.get("driver").and_then(Node::text).unwrap_or("bridge");
        // A network that is there already has its name; one of ours can be called as manifests want it.
        let name = if external { name } else { valid_name(&name) };
        let usable = !name.is_empty() && valid_name(&name) == name && driver == "bridge";
        NetworkName { name, external, usable }
    }

    /// Returns the name of the manifest of a network of this project.
    fn part(&self, key: &str) -> String {
        match key {
            "default" if self.prefix.is_empty() => "default".to_owned(),
            "default" => self.prefix.clone(),
            _ => name_within(&self.prefix, key),
        }
    }

    fn storage(&self, key: &str, node: &Node) -> Storage {
        let driver = node.get("driver").and_then(Node::text).unwrap_or("local");
        let options = node.get("driver_opts");
        let option = |key: &str| options.and_then(|it| it.get(key)).and_then(Node::text).unwrap_or_default();
        let is_directory = option("o").split(',').any(|word| matches!(word, "bind" | "rbind"));
        match (driver, options.and_then(Node::entries)) {
            ("local", None | Some([])) => Storage::Volume(match told_name(node) {
                Some(name) => name,
                None if is_external(node) => key.to_owned(),
                None => self.volume(key),
            }),
            ("local", Some(_)) if is_directory => {
                self.path(option("device")).map_or(Storage::Foreign, Storage::Directory)
            }
            _ => Storage::Foreign,
        }
    }

    /// Returns what compose calls a volume of this project, so that its data is found again.
    pub(super) fn volume(&self, key: &str) -> String {
        if self.own.is_empty() { key.to_owned() } else { format!("{}_{key}", compose_name(&self.own)) }
    }
}

/// Returns the name of a project as compose writes it.
fn compose_name(text: &str) -> String {
    let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    text.to_ascii_lowercase().chars().filter(kept).collect::<String>().trim_start_matches(['_', '-']).to_owned()
}

fn directory_name(path: &str) -> String {
    compose_name(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
}

fn told_name(node: &Node) -> Option<String> {
    let old = node.get("external").and_then(|it| it.get("name"));
    node.get("name").or(old).and_then(Node::text).map(str::to_owned)
}

fn is_external(node: &Node) -> bool {
    node.get("external").is_some_and(|it| it.entries().is_some() || it.text() == Some("true"))
}

/// Returns the files behind secrets or configs, none for those that come from elsewhere.
fn files(node: Option<&Node>) -> BTreeMap<String, Option<String>> {
    each(node).map(|(key, node)| (key, node.get("file").and_then(Node::text).map(str::to_owned))).map(own_key).collect()
}

fn each(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    node.and_then(Node::entries).into_iter().flatten().map(|entry| (entry.key.as_str(), &entry.value))
}

fn own_key<T>((key, value): (&str, T)) -> (String, T) {
    (key.to_owned(), value)
}

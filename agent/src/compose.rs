//! Compose files and manifests: each in the words of the other. Pure; it reads what it is given and writes nothing.
//!
//! Nothing of a compose file is passed over: each key is kept, changed or unsupported, and the [`Report`] says which. A
//! file that can't be understood is refused whole, with every mistake and its place.

mod draft;
mod export;
mod extends;
mod keys;
mod mistake;
mod project;
mod sections;
mod service;
mod values;
mod variables;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::Kind;
use serde_json::Value as Json;

use self::{draft::Draft, project::Project, yaml::Node};
pub use self::{
    export::export,
    mistake::{Mistake, Place},
    variables::read_env,
};
use crate::foreign;
pub use crate::foreign::{Outcome, Report, Row, Written};

/// A compose file, and what stands around it.
pub struct Source<'a> {
    /// The file.
    pub text: &'a str,
    /// The directory of the file, an absolute path.
    pub directory: &'a str,
    /// What the names of manifests begin with; the name of the project when left out.
    pub name: Option<String>,
    /// The variables of `.env` and of the shell.
    pub variables: BTreeMap<String, String>,
    /// The profiles that are asked for; `*` for all.
    pub profiles: Vec<String>,
    /// Reads a file that the compose file names, by its path there.
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

/// What a compose file has become.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The manifests: what others stand on comes first.
    pub manifests: Vec<Written>,
    /// What became of each key.
    pub report: Report,
}

/// Turns a compose file into manifests.
///
/// # Errors
/// Every mistake of the file, in its order. Then there are no manifests.
pub fn import(source: &Source<'_>) -> Result<Imported, Vec<Mistake>> {
    let mut root = yaml::read(source.text).map_err(|mistake| vec![mistake])?;
    let (used, mut mistakes) = variables::fill(&mut root, &source.variables);
    mistakes.extend(extends::resolve(&mut root));
    let project = Project::new(source, &root);
    let mut import = Import {
        project: &project,
        manifests: Vec::new(),
        joined: BTreeSet::new(),
        mounts_directories: false,
        has_checks: false,
        report: Report::default(),
        mistakes,
    };
    sections::top(&mut import, &root);
    import.services(&root);
    sections::everywhere(&mut import, &used);
    sections::networks(&mut import, &root);
    sections::volumes(&mut import, &root);
    import.finish()
}

/// An import under way.
struct Import<'a> {
    project: &'a Project<'a>,
    manifests: Vec<Written>,
    /// The networks that containers are on.
    joined: BTreeSet<String>,
    mounts_directories: bool,
    has_checks: bool,
    report: Report,
    mistakes: Vec<Mistake>,
}

impl Import<'_> {
    fn services(&mut self, root: &Node) {
        let mut taken = BTreeSet::new();
        for entry in root.get("services").and_then(Node::entries).unwrap_or_default() {
            let name = self.project.services.get(&entry.key).cloned().unwrap_or_default();
            if name.len() < 2 || !taken.insert(name.clone()) {
                let reason =
                    format!("the service `{}` would be called `{name}`, which is too short or taken", entry.key);
                self.mistakes.push(Mistake::new(entry.place, reason, "give it another `container_name`"));
                continue;
            }
            let mut draft = Draft::new(self.project, "service", &entry.key, name);
            service::read(&mut draft, &entry.value);
            let first = draft.spec.get("network").into_iter();
            let more = draft.spec.get("moreNetworks").and_then(Json::as_array).into_iter().flatten();
            self.joined.extend(first.chain(more).filter_map(Json::as_str).map(str::to_owned));
            self.has_checks |= draft.spec.contains_key("healthCheck");
            let mounts = draft.spec.get("mounts").and_then(Json::as_array).into_iter().flatten();
            self.mounts_directories |= mounts.into_iter().any(|mount| mount["hostPath"].is_string());
            self.close(Kind::Container, draft, entry.place);
        }
    }

    /// Takes over what became of a draft; its manifest if that is right.
    fn close(&mut self, kind: Kind, draft: Draft<'_>, place: Place) {
        self.report.rows.extend(draft.draft.rows);
        self.mistakes.extend(draft.mistakes);
        let unclear = !self.mistakes.is_empty();
        match foreign::manifest(kind, &draft.draft.name, &draft.draft.spec) {
            Ok(written) => self.manifests.push(written),
            // What was not understood already is no second mistake.
            Err(_) if unclear => {}
            Err(reasons) => self.mistakes.extend(reasons.into_iter().map(|reason| {
                let reason = format!("the manifest of `{}` would be refused: {reason}", draft.own);
                Mistake::new(place, reason, "change it in the compose file first")
            })),
        }
    }

    fn finish(mut self) -> Result<Imported, Vec<Mistake>> {
        if !self.mistakes.is_empty() {
            self.mistakes.sort();
            self.mistakes.dedup();
            return Err(self.mistakes);
        }
        let rank = |kind: Kind| Kind::ALL.iter().position(|it| *it == kind);
        self.manifests.sort_by(|a, b| (rank(a.kind), &a.name).cmp(&(rank(b.kind), &b.name)));
        Ok(Imported { manifests: self.manifests, report: self.report })
    }
}

//! What the history holds, and what became of it between two moments. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::parse;

use crate::manifests::Snapshot;

/// Texts by path, relative to the root.
pub(super) type Files = BTreeMap<PathBuf, Arc<str>>;

/// One manifest that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) verb: Verb,
    /// The manifest, `container/web`; the path of a file that declares nothing known.
    pub(super) what: String,
    /// Where it stands now, or stood.
    pub(super) path: PathBuf,
}

/// What became of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Add,
    Change,
    Move,
    Remove,
}

impl Verb {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Move => "move",
            Self::Remove => "remove",
        }
    }
}

/// Returns what is accepted: everything that is declared, with the last good text of what is broken. What stood where
/// nothing can be understood now is not gone.
pub(super) fn accepted(snapshot: &Snapshot, before: &Files) -> Files {
    let troubled: BTreeSet<&Path> = snapshot.problems.iter().map(|problem| &*problem.path).collect();
    let is_hidden = |path: &Path| path.ancestors().any(|above| troubled.contains(above));
    let hidden = before.iter().filter(|(path, _)| !troubled.is_empty() && is_hidden(path));
    let mut files: Files = hidden.map(|(path, text)| (path.clone(), Arc::clone(text))).collect();
    files.extend(snapshot.declared.values().map(|it| (it.path.clone(), Arc::clone(&it.text))));
    files
}

/// Returns what became of each manifest, in the order of verbs and names.
pub(super) fn changes(before: &Files, after: &Files) -> Vec<Changed> {
    let old = named(before, after);
    let mut new = named(after, before);
    let mut changes = Vec::new();
    for (what, path) in old {
        let (verb, path) = match new.remove(&what) {
            None => (Verb::Remove, path),
            Some(now) if before.get(path) == after.get(now) => (Verb::Move, now),
            Some(now) => (Verb::Change, now),
        };
        changes.push(Changed { verb, what, path: path.clone() });
    }
    changes.extend(new.into_iter().map(|(what, path)| Changed { verb: Verb::Add, what, path: path.clone() }));
    changes.sort_by(|a, b| (a.verb, &a.what).cmp(&(b.verb, &b.what)));
    changes
}

/// Names the files that are not alike in the other set.
fn named<'a>(files: &'a Files, other: &Files) -> BTreeMap<String, &'a PathBuf> {
    let differ = files.iter().filter(|(path, text)| other.get(*path) != Some(text));
    differ.map(|(path, text)| (name(path, text), path)).collect()
}

fn name(path: &Path, text: &str) -> String {
    match parse::parse(text) {
        Ok(manifest) => format!("{}/{}", manifest.kind().singular(), manifest.name()),
        Err(_) => path.display().to_string(),
    }
}

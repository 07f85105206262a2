//! What a revision would mean for this machine. Pure.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::{
    ConfigSourceSpec, Kind, Manifest,
    parse::{self, Diagnostic},
    source::DIRECTORY,
};

use super::taken::{Marks, Taken};
use crate::{
    host::{Offer, SourceSeen},
    manifests::{Identity, Snapshot, Texts, etag},
};

/// The most changes, mistakes and files that are told one by one.
const MOST: usize = 50;

/// The revision that a repository has, as it was found.
#[derive(Debug)]
pub(super) struct Tip {
    pub(super) revision: String,
    pub(super) author: String,
    /// Who signed it, or why nobody did; none if nobody has to.
    pub(super) signed: Option<Result<String, String>>,
    /// False if it does not follow what is in force.
    pub(super) follows: bool,
    /// What it holds, by path relative to the directory that is followed, or why it can't be taken.
    pub(super) files: Result<Texts, Vec<String>>,
}

/// Returns the directory of a source, relative to that of the manifests.
pub(super) fn home(source: &str) -> PathBuf {
    Path::new(DIRECTORY).join(source)
}

/// Returns the fingerprints of what is declared in the directory of a source.
pub(super) fn present(source: &str, snapshot: &Snapshot) -> Marks {
    let home = home(source);
    let inside = |path: &Path| path.strip_prefix(&home).ok().map(Path::to_path_buf);
    snapshot.declared.values().filter_map(|it| Some((inside(&it.path)?, it.etag.clone()))).collect()
}

/// Says what is known of a source, and what its repository's revision would mean.
pub(super) fn seen(
    source: &str,
    spec: &ConfigSourceSpec,
    tip: Option<&Tip>,
    taken: Option<&Taken>,
    snapshot: &Snapshot,
) -> SourceSeen {
    let present = present(source, snapshot);
    let wanted = tip.map(|tip| wanted(spec, tip));
    let none = Taken::default();
    let is_offered = |path: &PathBuf| {
        let offered = wanted.as_ref().and_then(|wanted| wanted.as_ref().ok());
        offered.is_some_and(|texts| texts.get(path).map(|text| etag(text.as_bytes())).as_ref() == present.get(path))
    };
    let edited = taken.unwrap_or(&none).edited(&present).filter(|path| !is_offered(path));
    SourceSeen {
        asked: spec.clone(),
        revision: taken.map(|taken| taken.revision.clone()),
        manifests: taken.map_or(0, |taken| taken.files.len()),
        anew: taken.is_some_and(|taken| taken.differs(spec)),
        edited: edited.take(MOST).map(|path| path.display().to_string()).collect(),
        offer: tip.zip(wanted.as_ref()).map(|(tip, wanted)| offer(source, tip, wanted, taken, snapshot)),
        ..SourceSeen::default()
    }
}

/// Returns the texts that a revision holds for this machine, or why it can't be taken.
pub(super) fn wanted(spec: &ConfigSourceSpec, tip: &Tip) -> Result<Texts, Vec<String>> {
    let files = tip.files.as_ref().map_err(Clone::clone)?;
    let (mut texts, mut reasons) = (Texts::new(), Vec::new());
    for (path, text) in files {
        match parse::parse(text) {
            Ok(Manifest::ConfigSource(_)) => {
                reasons.push(format!("{}: what is fetched declares no further sources", path.display()));
            }
            Ok(manifest) if spec.takes(manifest.metadata()) => drop(texts.insert(path.clone(), Arc::clone(text))),
            Ok(_) => {}
            Err(rejected) => reasons.extend(rejected.diagnostics.iter().map(|it| told(it, path))),
        }
    }
    reasons.truncate(MOST);
    if reasons.is_empty() { Ok(texts) } else { Err(reasons) }
}

/// Returns all that shall be declared with these manifests of a source in place of those that it has now.
pub(super) fn together(source: &str, wanted: &Texts, snapshot: &Snapshot) -> Texts {
    let home = home(source);
    let sound = snapshot.declared.values().filter(|it| it.stale.is_none() && !it.path.starts_with(&home));
    let others = sound.map(|it| (it.path.clone(), Arc::clone(&it.text)));
    others.chain(wanted.iter().map(|(path, text)| (home.join(path), Arc::clone(text)))).collect()
}

/// Tells a mistake on one line: where it is, what it is, and what to do.
fn told(mistake: &Diagnostic, path: &Path) -> String {
    let help = mistake.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{}: {}{help}", mistake.place(&path.display().to_string()), mistake.reason)
}

fn offer(
    source: &str,
    tip: &Tip,
    wanted: &Result<Texts, Vec<String>>,
    taken: Option<&Taken>,
    snapshot: &Snapshot,
) -> Offer {
    let after = wanted.as_ref().map_err(Clone::clone).and_then(|wanted| {
        snapshot.replaced(&together(source, wanted, snapshot)).map_err(|error| vec![error.to_string()])
    });
    let is_empty = wanted.as_ref().is_ok_and(Texts::is_empty);
    let (refused, changes) = match after {
        Ok(after) => (Vec::new(), changes(snapshot, &after)),
        Err(refused) => (refused, Vec::new()),
    };
    Offer {
        revision: tip.revision.clone(),
        signer: tip.signed.as_ref().and_then(|it| it.as_ref().ok()).cloned(),
        distrust: tip.signed.as_ref().and_then(|it| it.as_ref().err()).cloned(),
        rewound: !tip.follows,
        emptied: is_empty && taken.is_some_and(|taken| !taken.files.is_empty()),
        refused,
        changes,
    }
}

/// Says what becomes of each manifest, `add container/web`.
fn changes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let all: BTreeSet<&Identity> = before.declared.keys().chain(after.declared.keys()).collect();
    let phrase = |identity: &&Identity| {
        let verb = match (before.declared.get(*identity), after.declared.get(*identity)) {
            (None, Some(_)) => "add",
            (Some(_), None) => "remove",
            (Some(old), Some(new)) if old.text != new.text => "change",
            (Some(old), Some(new)) if old.path != new.path => "move",
            _ => return None,
        };
        let (kind, name): (Kind, _) = (identity.0, &identity.1);
        Some(format!("{verb} {}/{name}", kind.singular()))
    };
    all.iter().filter_map(phrase).collect()
}

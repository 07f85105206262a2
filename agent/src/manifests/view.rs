//! From files to a snapshot. Pure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use piccolo_schema::Kind;

use super::{
    read::Good,
    snapshot::{Declaration, Identity, Problem, Snapshot, reason},
    tree::Seen,
};

/// Returns what these files say together, given what was said before.
pub(super) fn snapshot(files: &BTreeMap<PathBuf, Seen>, problems: Vec<Problem>, before: &Snapshot) -> Snapshot {
    let complete = Kind::ALL.iter().map(|kind| (*kind, true)).collect();
    let mut snapshot = Snapshot { complete, ..Snapshot::default() };
    for problem in problems {
        snapshot.add_problem(problem);
    }
    let mut claims: BTreeMap<Identity, Vec<(&Path, &Good)>> = BTreeMap::new();
    for (path, seen) in files {
        if let (None, Some(good)) = (&seen.problem, &seen.good) {
            claims.entry(good.identity()).or_default().push((path, good));
        }
    }
    for (identity, claims) in claims {
        match claims[..] {
            [(path, good)] => snapshot.declare(identity, path, good, None),
            _ => snapshot.duplicate(&identity, &claims, before),
        }
    }
    for (path, seen) in files {
        if let Some(problem) = &seen.problem {
            snapshot.add_broken(path, problem, seen.good.as_ref());
        }
    }
    snapshot.problems.sort_by(|a, b| a.path.cmp(&b.path));
    snapshot
}

impl Good {
    pub(super) fn identity(&self) -> Identity {
        (self.manifest.kind(), self.manifest.name().to_owned())
    }
}

impl Snapshot {
    fn declare(&mut self, identity: Identity, path: &Path, good: &Good, stale: Option<Problem>) {
        let Good { manifest, text, etag } = good.clone();
        self.declared.insert(identity, Declaration { manifest, path: path.to_owned(), text, etag, stale });
    }

    fn add_problem(&mut self, problem: Problem) {
        self.mark_incomplete(problem.kind);
        self.problems.push(problem);
    }

    /// What is of no known kind may be of any.
    fn mark_incomplete(&mut self, known: Option<Kind>) {
        for (kind, complete) in &mut self.complete {
            *complete &= known.is_some_and(|known| known != *kind);
        }
    }

    /// Nobody can say which one is meant, so neither is followed; what was declared before stays.
    fn duplicate(&mut self, identity: &Identity, claims: &[(&Path, &Good)], before: &Snapshot) {
        let (kind, name) = identity;
        for (path, _) in claims {
            let others = claims.iter().filter(|(other, _)| other != path).map(|(other, _)| other.display().to_string());
            let others = others.collect::<Vec<_>>().join(", ");
            let message = format!("{kind} `{name}` is also declared in {others}; keep one of them");
            let mut problem = Problem::new(path, reason::DUPLICATE, message);
            problem.kind = Some(*kind);
            problem.name = Some(name.clone());
            self.add_problem(problem);
        }
        if let Some(last) = before.declared.get(identity) {
            let stale = self.problems.iter().rev().find(|it| it.path == last.path).or(self.problems.last()).cloned();
            self.declared.insert(identity.clone(), Declaration { stale, ..last.clone() });
        }
    }

    /// The last good content of a broken file stays declared unless another file has taken its place.
    fn add_broken(&mut self, path: &Path, problem: &Problem, last_good: Option<&Good>) {
        let mut shown = problem.clone();
        if let Some(good) = last_good {
            let (kind, name) = good.identity();
            if shown.kind.is_none_or(|known| known == kind) {
                shown.kind = Some(kind);
                shown.name.get_or_insert_with(|| name.clone());
            }
            if !self.declared.contains_key(&(kind, name.clone())) {
                self.declare((kind, name), path, good, Some(shown.clone()));
            }
        }
        // The kind of the last good content says nothing about the content now.
        self.mark_incomplete(problem.kind);
        self.problems.push(shown);
    }
}

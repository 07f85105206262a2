//! The tree as it was last read, so that only what changed is read again.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use piccolo_schema::Role;

use super::{
    read::{self, Good, Patience},
    snapshot::{Identity, Problem, Snapshot, reason},
    trial::{Terms, Trials},
    view,
    walk::{self, Found, Stamp},
};

/// A file younger than this when it was read may change again without its stamp changing.
const FRESH: Duration = Duration::from_millis(50);

/// One file as it was last read.
#[derive(Clone)]
pub(super) struct Seen {
    stamp: Stamp,
    /// False if it may have changed without a change of its stamp.
    trusted: bool,
    /// The last good content, which stays declared when the file breaks.
    pub(super) good: Option<Good>,
    pub(super) problem: Option<Problem>,
}

/// The directory and what is known of it.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) files: BTreeMap<PathBuf, Seen>,
    pub(super) consented: BTreeSet<Identity>,
    pub(super) snapshot: Arc<Snapshot>,
    /// What the write under way found there.
    pub(super) found: Option<Arc<Snapshot>>,
    /// The file that was written last by this agent, which is whole.
    pub(super) written: Option<Stamp>,
    /// The change on trial.
    pub(super) trials: Trials,
    /// On which terms the write under way is tried; none if it is not on trial.
    pub(super) terms: Option<Terms>,
    /// What the author of the write under way may change.
    pub(super) limit: Role,
}

impl Tree {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            files: BTreeMap::new(),
            consented: BTreeSet::new(),
            snapshot: Arc::default(),
            found: None,
            written: None,
            trials: Trials::default(),
            terms: None,
            limit: Role::Reader,
        }
    }

    /// Removes what writes left behind when the agent was killed. Before the first write only. Blocks.
    pub(super) fn tidy(&self) {
        let Ok(root) = fs::canonicalize(&self.root) else { return };
        for path in walk::walk(&root).leftovers {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "can't remove what an interrupted write left behind");
            }
        }
    }

    /// Brings everything up with the disk and returns the snapshot. Blocks.
    pub(super) fn rescan(&mut self) -> Arc<Snapshot> {
        let problems = match fs::canonicalize(&self.root) {
            Ok(root) => match self.finish() {
                Ok(()) => self.look(&root),
                Err(error) => {
                    let message = format!("all manifests are being replaced, which can't be finished: {error}");
                    vec![Problem::new(Path::new(""), reason::DIRECTORY_UNREADABLE, message)]
                }
            },
            Err(error) => {
                let message = format!("the manifests' directory can't be read: {error}");
                vec![Problem::new(Path::new(""), reason::DIRECTORY_UNREADABLE, message)]
            }
        };
        self.hide(&problems);
        let mut snapshot = view::snapshot(&self.files, problems, &self.snapshot);
        self.consented.retain(|identity| !snapshot.declared.contains_key(identity));
        snapshot.consented.clone_from(&self.consented);
        if self.snapshot.revision == 0 || !snapshot.says_the_same(&self.snapshot) {
            snapshot.revision = self.snapshot.revision + 1;
            self.snapshot = Arc::new(snapshot);
        }
        Arc::clone(&self.snapshot)
    }

    fn look(&mut self, root: &Path) -> Vec<Problem> {
        let names = walk::walk(root);
        let mut before = std::mem::take(&mut self.files);
        let hidden = keep_hidden(&mut before, &names.problems);
        let known: Vec<_> = names.files.iter().map(|found| before.remove(&found.path)).collect();
        // What is left has gone, or was renamed.
        let mut renamed: HashMap<_, _> = before.into_values().map(|seen| (seen.stamp.place(), seen)).collect();
        let mut patience = Patience::default();
        for (mut found, known) in names.files.into_iter().zip(known) {
            let known = known.or_else(|| renamed.remove(&found.stamp.place()));
            let is_changed = known.as_ref().is_none_or(|known| known.stamp != found.stamp);
            if is_changed && self.written != Some(found.stamp) {
                found.stamp = patience.wait(&found);
            }
            self.files.insert(found.path.clone(), see(&found, known));
        }
        self.files.extend(hidden);
        names.problems
    }

    /// Marks what stands in unreadable places: it is neither gone nor known any more.
    fn hide(&mut self, problems: &[Problem]) {
        for problem in problems.iter().filter(|problem| problem.hides_files()) {
            for (path, seen) in &mut self.files {
                if path.starts_with(&problem.path) && (seen.problem.is_none() || seen.trusted) {
                    seen.trusted = false;
                    seen.problem = Some(Problem { path: path.clone(), ..problem.clone() });
                }
            }
        }
    }
}

impl Problem {
    fn hides_files(&self) -> bool {
        [reason::DIRECTORY_UNREADABLE, reason::TOO_DEEP, reason::OUTSIDE_TREE, reason::MANIFEST_UNREADABLE]
            .contains(&self.reason)
    }
}

/// Takes out the files that stood where nothing can be read now.
fn keep_hidden(before: &mut BTreeMap<PathBuf, Seen>, problems: &[Problem]) -> Vec<(PathBuf, Seen)> {
    let hidden = |path: &Path| problems.iter().any(|it| it.hides_files() && path.starts_with(&it.path));
    let (kept, rest): (Vec<_>, Vec<_>) = std::mem::take(before).into_iter().partition(|(path, _)| hidden(path));
    before.extend(rest);
    kept
}

fn see(found: &Found, known: Option<Seen>) -> Seen {
    let Some(known) = known else {
        return Seen::read(found, None);
    };
    if known.trusted && known.stamp == found.stamp {
        let problem = known.problem.map(|problem| Problem { path: found.path.clone(), ..problem });
        return Seen { problem, ..known };
    }
    Seen::read(found, known.good)
}

impl Seen {
    fn read(found: &Found, last_good: Option<Good>) -> Self {
        let (stamp, trusted) = (found.stamp, found.stamp.age() >= FRESH);
        match read::read(found) {
            Ok(good) => Self { stamp, trusted, good: Some(good), problem: None },
            Err(problem) => {
                let trusted = trusted && problem.reason != reason::MANIFEST_UNREADABLE;
                Self { stamp, trusted, good: last_good, problem: Some(problem) }
            }
        }
    }
}

//! What came from a repository and was put in force. Pure.

use std::{collections::BTreeMap, path::PathBuf};

use piccolo_schema::ConfigSourceSpec;
use serde::{Deserialize, Serialize};

/// Fingerprints of files by path, relative to the directory of the source.
pub(super) type Marks = BTreeMap<PathBuf, String>;

/// What is written down of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The newest first. There are two only while one takes the place of the other: which one is in force, the files
    /// tell.
    sets: Vec<Taken>,
}

/// The manifests of one revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) revision: String,
    /// What the manifest said of the source then.
    pub(super) asked: ConfigSourceSpec,
    pub(super) files: Marks,
}

impl Taken {
    /// Returns true if this spec asks for other manifests of a revision.
    pub(super) fn differs(&self, spec: &ConfigSourceSpec) -> bool {
        let asked = &self.asked;
        (&asked.url, asked.branch(), &asked.path, &asked.selector)
            != (&spec.url, spec.branch(), &spec.path, &spec.selector)
    }

    /// Returns the files that are not as they were taken.
    pub(super) fn edited<'a>(&'a self, present: &'a Marks) -> impl Iterator<Item = &'a PathBuf> {
        let gone = self.files.keys().filter(|path| !present.contains_key(*path));
        gone.chain(present.iter().filter(|(path, mark)| self.files.get(*path) != Some(mark)).map(|(path, _)| path))
    }
}

impl Record {
    /// Returns what is in force: the set that the files come nearest to, the newest of equals.
    pub(super) fn in_force(&self, present: &Marks) -> Option<&Taken> {
        self.sets.iter().min_by_key(|taken| taken.edited(present).count())
    }

    /// Writes down what is about to take the place of what is in force.
    pub(super) fn begin(&mut self, taken: Taken) {
        self.sets.truncate(1);
        self.sets.insert(0, taken);
    }

    /// Writes down that only what is in force by now counts.
    pub(super) fn settle(&mut self, present: &Marks) {
        self.sets = self.in_force(present).cloned().into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(all: &[(&str, &str)]) -> Marks {
        all.iter().map(|(path, mark)| (path.into(), (*mark).to_owned())).collect()
    }

    fn taken(revision: &str, files: &[(&str, &str)]) -> Taken {
        Taken { revision: revision.to_owned(), files: marks(files), ..Taken::default() }
    }

    #[test]
    fn the_files_tell_which_of_two_is_in_force() {
        let mut record = Record::default();
        assert_eq!(record.in_force(&marks(&[("a", "1")])), None);
        record.begin(taken("old", &[("a", "1"), ("b", "1")]));
        record.begin(taken("new", &[("a", "2"), ("b", "1"), ("c", "1")]));
        let in_force = |record: &Record, files| record.in_force(&marks(files)).unwrap().revision.clone();
        assert_eq!(in_force(&record, &[("a", "1"), ("b", "1")]), "old");
        assert_eq!(in_force(&record, &[("a", "2"), ("b", "1"), ("c", "1")]), "new");
        // Killed in between, and then a hand.
        assert_eq!(in_force(&record, &[("a", "1"), ("b", "by hand")]), "old");
        assert_eq!(in_force(&record, &[("a", "2"), ("b", "by hand"), ("c", "1")]), "new");
        record.settle(&marks(&[("a", "1"), ("b", "1")]));
        // Who goes back to what was before is not overruled.
        assert_eq!(in_force(&record, &[("a", "2"), ("b", "1"), ("c", "1")]), "old");
    }

    #[test]
    fn whatever_is_not_as_it_was_taken_is_told() {
        let taken = taken("r", &[("a", "1"), ("b", "1"), ("c", "1")]);
        let present = marks(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let edited: Vec<_> = taken.edited(&present).map(|path| path.display().to_string()).collect();
        assert_eq!(edited, ["c", "b", "d"]);
    }
}

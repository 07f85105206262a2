//! What the directory says at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::{Declared, Desired, Kind, Manifest, parse::Diagnostic};

/// A manifest's identity.
pub type Identity = (Kind, String);

/// Everything the directory says at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// What is declared, by identity.
    pub declared: BTreeMap<Identity, Declaration>,
    /// Files and directories that can't be read or understood, by path.
    pub problems: Vec<Problem>,
    /// For each kind whether all of its manifests could be read.
    pub complete: BTreeMap<Kind, bool>,
    /// Removals that a person has confirmed.
    pub consented: BTreeSet<Identity>,
    /// Grows with every snapshot that differs from the one before.
    pub revision: u64,
}

/// A manifest and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// Its file, relative to the root.
    pub path: PathBuf,
    /// The text that it was read from.
    pub text: Arc<str>,
    /// The fingerprint of that text.
    pub etag: String,
    /// Set while the file can't be understood any more: the manifest is the last good one.
    pub stale: Option<Problem>,
}

/// A file or directory that can't be read or understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or directory, relative to the root; empty for the root itself.
    pub path: PathBuf,
    /// The kind that it declares, or declared when it was last understood.
    pub kind: Option<Kind>,
    /// The name that it declares, or declared when it was last understood.
    pub name: Option<String>,
    /// The cause in PascalCase.
    pub reason: &'static str,
    /// Every mistake in it, when it could be read.
    pub diagnostics: Vec<Diagnostic>,
    /// One sentence that says what is wrong and what to do.
    pub message: String,
}

/// The causes that a [`Problem`] names.
pub mod reason {
    /// The text is no manifest.
    pub const MANIFEST_INVALID: &str = "ManifestInvalid";
    /// The file can't be read.
    pub const MANIFEST_UNREADABLE: &str = "ManifestUnreadable";
    /// The file is not UTF-8.
    pub const NOT_UTF8: &str = "NotUtf8";
    /// The file is larger than a manifest may be.
    pub const TOO_LARGE: &str = "TooLarge";
    /// There are more files than will be read.
    pub const TOO_MANY: &str = "TooMany";
    /// Directories are nested deeper than will be read.
    pub const TOO_DEEP: &str = "TooDeep";
    /// A symbolic link leads out of the tree.
    pub const OUTSIDE_TREE: &str = "OutsideTree";
    /// Two files declare the same thing.
    pub const DUPLICATE: &str = "Duplicate";
    /// The directory can't be read.
    pub const DIRECTORY_UNREADABLE: &str = "DirectoryUnreadable";
}

impl Snapshot {
    /// Returns everything that is asked for of one kind.
    pub fn desired<M: Declared>(&self) -> Desired<M> {
        let of_kind = self.declared.range((M::KIND, String::new())..).take_while(|((kind, _), _)| *kind == M::KIND);
        let consented = self.consented.iter().filter(|(kind, _)| *kind == M::KIND);
        Desired {
            manifests: of_kind.filter_map(|(_, it)| M::of(&it.manifest).cloned()).collect(),
            complete: self.complete.get(&M::KIND).copied().unwrap_or(false),
            consented: consented.map(|(_, name)| name.clone()).collect(),
        }
    }

    /// Returns true if both say the same, whatever their revision.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.complete == other.complete
            && self.consented == other.consented
            && self.problems == other.problems
            && self.declared == other.declared
    }
}

impl Problem {
    pub(super) fn new(path: &Path, reason: &'static str, message: String) -> Self {
        Self { path: path.to_owned(), kind: None, name: None, reason, diagnostics: Vec::new(), message }
    }
}

//! Which files there are. Reads names only.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    snapshot::{Problem, reason},
    write::TEMPORARY,
};
use crate::clock;

/// The most files that are read.
pub(super) const MAX_FILES: usize = 10_000;
/// The most directories within each other.
const MAX_DEPTH: usize = 16;

/// What tells a changed file from an unchanged one without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file that should hold a manifest.
pub(super) struct Found {
    /// Relative to the root.
    pub(super) path: PathBuf,
    /// Where it really is.
    pub(super) real: PathBuf,
    pub(super) stamp: Stamp,
}

/// The names in the tree.
#[derive(Default)]
pub(super) struct Names {
    /// Files by path.
    pub(super) files: Vec<Found>,
    /// What could not be looked at.
    pub(super) problems: Vec<Problem>,
    /// Files that a write left behind when it was cut.
    pub(super) leftovers: Vec<PathBuf>,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns how long ago the file was last changed; nothing if the clock was set back since.
    pub(super) fn age(&self) -> Duration {
        let changed = i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1);
        let nanos = u64::try_from(clock::now().as_nanosecond() - changed).unwrap_or_default();
        Duration::from_nanos(nanos)
    }

    /// Returns what stays the same when a file is renamed.
    pub(super) const fn place(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// Lists the tree under `root`, the real path of the directory.
pub(super) fn walk(root: &Path) -> Names {
    let mut names = Names::default();
    names.directory(root, Path::new(""), 0);
    names
}

impl Names {
    fn directory(&mut self, root: &Path, relative: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            let message = format!("{} is nested deeper than {MAX_DEPTH} directories", relative.display());
            return self.problem(relative, reason::TOO_DEEP, message);
        }
        let listed = fs::read_dir(root.join(relative)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("the directory can't be read: {error}");
                return self.problem(relative, reason::DIRECTORY_UNREADABLE, message);
            }
        };
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let path = relative.join(&name);
            if name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
                self.leftovers.push(root.join(path));
            } else if !matches!(name.as_encoded_bytes().first(), Some(b'.' | b'#')) {
                self.entry(root, path, depth);
            }
        }
    }

    fn entry(&mut self, root: &Path, path: PathBuf, depth: usize) {
        let full = root.join(&path);
        let is_manifest = path.extension().is_some_and(|extension| extension == "toml");
        match fs::symlink_metadata(&full) {
            Ok(metadata) if metadata.is_dir() => self.directory(root, &path, depth + 1),
            Ok(metadata) if metadata.is_symlink() => self.link(root, path, is_manifest),
            Ok(metadata) if is_manifest => self.file(path, full, &metadata),
            Err(error) if is_manifest && error.kind() != std::io::ErrorKind::NotFound => {
                self.problem(&path, reason::MANIFEST_UNREADABLE, format!("the file can't be read: {error}"));
            }
            _ => {}
        }
    }

    /// Links to directories within the tree are not followed: what is there is found where it really is.
    fn link(&mut self, root: &Path, path: PathBuf, is_manifest: bool) {
        let real = fs::canonicalize(root.join(&path));
        let target = real.and_then(|real| Ok((fs::metadata(&real)?, real)));
        match target {
            Ok((metadata, real)) if (is_manifest || metadata.is_dir()) && !real.starts_with(root) => {
                let message = format!("the link leads out of the manifests' directory, to {}", real.display());
                self.problem(&path, reason::OUTSIDE_TREE, message);
            }
            Ok((metadata, real)) if is_manifest && !metadata.is_dir() => self.file(path, real, &metadata),
            Err(error) if is_manifest => {
                self.problem(&path, reason::MANIFEST_UNREADABLE, format!("the link can't be followed: {error}"));
            }
            _ => {}
        }
    }

    fn file(&mut self, path: PathBuf, real: PathBuf, metadata: &Metadata) {
        if !metadata.is_file() {
            return self.problem(&path, reason::MANIFEST_UNREADABLE, "it is no regular file".to_owned());
        }
        if self.files.len() < MAX_FILES {
            self.files.push(Found { path, real, stamp: Stamp::of(metadata) });
        } else if !self.problems.iter().any(|problem| problem.reason == reason::TOO_MANY) {
            let message =
                format!("there are more than {MAX_FILES} manifests; the rest, from {} on, is not read", path.display());
            self.problem(Path::new(""), reason::TOO_MANY, message);
        }
    }

    fn problem(&mut self, path: &Path, reason: &'static str, message: String) {
        self.problems.push(Problem::new(path, reason, message));
    }
}

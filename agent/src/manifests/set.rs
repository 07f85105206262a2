//! Replacing all manifests at once: the old set or the new one, never a mixture, also when the agent is killed.
//!
//! What shall be done is written down first, in one file that is there whole or not at all. From then on the new set is
//! the one that counts: before anything is read, what is still to be done is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::{Manifest, parse};
use serde::{Deserialize, Serialize};

use super::{
    error::WriteError,
    limit, read,
    snapshot::{Declaration, Snapshot},
    swap,
    tree::Tree,
    trial::Tried,
    walk::MAX_FILES,
    write,
};

/// Where it is written down what shall be done. The dot keeps it out of the tree.
const INTENT: &str = ".piccolo-set";
/// The most bytes of all texts that change together.
const MAX_BYTES: usize = 64 << 20;

/// Texts of manifests by path, relative to the root.
pub type Texts = BTreeMap<PathBuf, Arc<str>>;

/// What shall become of one file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replacement {
    pub(super) path: PathBuf,
    /// The fingerprint of the file that is replaced, none if there is none.
    pub(super) before: Option<String>,
    /// The new text, none to remove it.
    pub(super) text: Option<String>,
}

impl Snapshot {
    /// Returns what the directory would say with these texts in place of all that it declares now.
    ///
    /// # Errors
    /// When one is no manifest, two declare the same, or a path is none that would be read.
    pub fn replaced(&self, texts: &Texts) -> Result<Self, WriteError> {
        if texts.len() > MAX_FILES || texts.values().map(|text| text.len()).sum::<usize>() > MAX_BYTES {
            return Err(WriteError::TooLarge);
        }
        let broken = self.declared.iter().filter(|(_, it)| it.stale.is_some() && !texts.contains_key(&it.path));
        let mut declared: BTreeMap<_, _> = broken.map(|(identity, it)| (identity.clone(), it.clone())).collect();
        let sound = self.declared.values().filter(|it| it.stale.is_none());
        let known: BTreeMap<&Path, &Declaration> = sound.map(|it| (&*it.path, it)).collect();
        let mut mistakes = Vec::new();
        for (path, text) in texts {
            if !is_plain(path) {
                return Err(WriteError::OutsideTree { path: path.clone() });
            }
            // Most of a set is as it was.
            let declaration = match known.get(&**path).filter(|it| it.text == *text) {
                Some(declaration) => (*declaration).clone(),
                None => match parse::parse(text) {
                    Ok(manifest) => declare(path, text, manifest),
                    Err(rejected) => {
                        mistakes.push((path.clone(), rejected));
                        continue;
                    }
                },
            };
            let identity = (declaration.manifest.kind(), declaration.manifest.name().to_owned());
            if let Some(other) = declared.insert(identity, declaration) {
                return Err(WriteError::Duplicate { paths: vec![other.path, path.clone()] });
            }
        }
        if !mistakes.is_empty() {
            return Err(WriteError::Mistakes(mistakes));
        }
        Ok(Self { declared, ..self.clone() })
    }
}

impl Tree {
    /// Puts these texts in place of all that is declared, if that is still what `base` says.
    pub(super) fn replace(&mut self, texts: &Texts, base: &Snapshot) -> Result<(), WriteError> {
        let now = self.rescan();
        self.found = Some(Arc::clone(&now));
        let after = now.replaced(texts)?;
        limit::changed(&now, &after).try_for_each(|it| self.allow(it))?;
        if fingerprints(&now) != fingerprints(base) {
            return Err(WriteError::Conflict { current: None });
        }
        let replacements = replacements(&now, texts);
        for it in &replacements {
            if let Some(problem) = now.problems.iter().find(|problem| it.path.starts_with(&problem.path)) {
                return Err(WriteError::Broken { path: problem.path.clone() });
            }
            if it.before.is_none() && fs::symlink_metadata(self.root.join(&it.path)).is_ok() {
                return Err(WriteError::Occupied { path: it.path.clone() });
            }
        }
        if replacements.is_empty() {
            return Ok(());
        }
        let before: BTreeMap<_, _> = now.declared.values().map(|it| (&it.path, &it.text)).collect();
        let tried = |it: &Replacement| Tried::new(before.get(&it.path).map(|it| Arc::clone(it)), it.text.as_deref());
        self.try_out(replacements.iter().map(|it| (it.path.clone(), tried(it))))?;
        let failed = |source| WriteError::Io { path: self.root.join(INTENT), source };
        self.intend(&replacements).map_err(failed)?;
        self.finish().map_err(failed)
    }

    /// Writes down what shall be done. From here on it will be.
    pub(super) fn intend(&self, replacements: &[Replacement]) -> io::Result<()> {
        write::replace(&self.root.join(INTENT), &serde_json::to_vec(replacements)?)
    }

    /// Does what is written down, as far as it is not done; nothing if nothing is.
    pub(super) fn finish(&self) -> io::Result<()> {
        let path = self.root.join(INTENT);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            bytes => bytes?,
        };
        let replacements: Vec<Replacement> = serde_json::from_slice(&bytes)?;
        replacements.iter().try_for_each(|it| self.apply(it))?;
        write::remove(&path)
    }

    /// Replaces one file, unless that is done or a hand was there meanwhile, whose work is kept.
    fn apply(&self, it: &Replacement) -> io::Result<()> {
        let path = self.root.join(&it.path);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let now = bytes.as_deref().map(read::etag);
        if now == it.text.as_ref().map(|text| read::etag(text.as_bytes())) {
            return Ok(());
        }
        let done = match (&it.before, &it.text) {
            _ if now != it.before => false,
            (Some(before), None) => swap::remove(&path, before)?,
            (None, None) => true,
            (before, Some(text)) => swap::replace(&self.place(&it.path)?, text.as_bytes(), before.as_deref())?,
        };
        if !done {
            tracing::warn!(path = %path.display(), "changed by hand while all manifests were replaced; it is left so");
        }
        Ok(())
    }

    /// Returns where a file really is or shall be, with its directory made.
    fn place(&self, path: &Path) -> io::Result<PathBuf> {
        let root = fs::canonicalize(&self.root)?;
        let mut directory = root.clone();
        for part in path.parent().into_iter().flat_map(Path::components) {
            directory = directory.join(part);
            write::make_directory(&directory)?;
        }
        let path = fs::canonicalize(directory)?.join(path.file_name().unwrap_or_default());
        let real = if path.exists() { fs::canonicalize(path)? } else { path };
        if real.starts_with(&root) {
            Ok(real)
        } else {
            Err(io::Error::other("it leads out of the manifests' directory"))
        }
    }
}

fn declare(path: &Path, text: &Arc<str>, manifest: Manifest) -> Declaration {
    let etag = read::etag(text.as_bytes());
    Declaration { manifest: Arc::new(manifest), path: path.to_owned(), text: Arc::clone(text), etag, stale: None }
}

/// What differs between what is there and what shall be.
fn replacements(now: &Snapshot, texts: &Texts) -> Vec<Replacement> {
    let declared: BTreeMap<&Path, &str> = fingerprints(now).into_iter().collect();
    let gone = declared.iter().filter(|(path, _)| !texts.contains_key(**path));
    let gone = gone.map(|(path, etag)| Replacement { path: path.into(), before: Some((*etag).to_owned()), text: None });
    let written = texts.iter().map(|(path, text)| (path, text, declared.get(&**path).copied()));
    let written = written.filter(|(_, text, before)| *before != Some(&*read::etag(text.as_bytes())));
    let written = written.map(|(path, text, before)| Replacement {
        path: path.clone(),
        before: before.map(str::to_owned),
        text: Some(text.as_ref().to_owned()),
    });
    // What goes makes room.
    gone.chain(written).collect()
}

/// The files that are declared as they are on disk.
fn fingerprints(snapshot: &Snapshot) -> BTreeSet<(&Path, &str)> {
    snapshot.declared.values().filter(|it| it.stale.is_none()).map(|it| (&*it.path, &*it.etag)).collect()
}

/// Returns true for a path below the root whose file would be read.
fn is_plain(path: &Path) -> bool {
    let visible = |part: Component<'_>| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| !name.starts_with(['.', '#']) && name.len() < 200),
        _ => false,
    };
    let is_manifest = path.extension().is_some_and(|extension| extension == "toml");
    is_manifest && path.components().count() <= 16 && path.components().all(visible)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use piccolo_schema::Role;

    use super::*;

    fn text(name: &str, image: &str) -> Arc<str> {
        format!("apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Container\"\nmetadata.name = \"{name}{name}\"\nspec.image = \"{image}\"\n").into()
    }

    fn texts(all: &[(&str, &str, &str)]) -> Texts {
        all.iter().map(|(path, name, image)| (path.into(), text(name, image))).collect()
    }

    fn shown(snapshot: &Snapshot) -> Texts {
        snapshot.declared.values().map(|it| (it.path.clone(), it.text.clone())).collect()
    }

    /// A tree with three manifests, and the four that shall take their place.
    fn scene() -> (tempfile::TempDir, Tree, Texts) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in texts(&[("a.toml", "a", "x:1"), ("b.toml", "b", "x:1"), ("c.toml", "c", "x:1")]) {
            fs::write(dir.path().join(path), &*text).unwrap();
        }
        let mut tree = Tree::new(dir.path().to_owned());
        tree.limit = Role::Admin;
        let new =
            [("a.toml", "a", "x:2"), ("b/b.toml", "b", "x:1"), ("c.toml", "c", "x:1"), ("d/e/d.toml", "d", "x:1")];
        (dir, tree, texts(&new))
    }

    #[test]
    fn killed_after_any_step_the_new_set_is_there() {
        for steps in 0..=4 {
            let (dir, mut tree, new) = scene();
            let replacements = replacements(&tree.rescan(), &new);
            assert_eq!(replacements.len(), 4);
            tree.intend(&replacements).unwrap();
            replacements[..steps].iter().for_each(|it| tree.apply(it).unwrap());
            // Killed; the next agent reads.
            let mut next = Tree::new(dir.path().to_owned());
            next.tidy();
            assert_eq!(shown(&next.rescan()), new, "after {steps} steps");
            assert!(!dir.path().join(INTENT).exists());
        }
    }

    #[test]
    fn killed_before_it_is_written_down_the_old_set_is_there() {
        let (dir, mut tree, _) = scene();
        let old = shown(&tree.rescan());
        fs::write(dir.path().join(".piccolo-write-0-.piccolo-set"), "[{").unwrap();
        let mut next = Tree::new(dir.path().to_owned());
        next.tidy();
        assert_eq!(shown(&next.rescan()), old);
    }

    #[test]
    fn a_hand_is_never_overwritten() {
        let (dir, mut tree, new) = scene();
        let base = tree.rescan();
        fs::write(dir.path().join("c.toml"), &*text("c", "by-hand:1")).unwrap();
        assert!(matches!(tree.replace(&new, &base), Err(WriteError::Conflict { .. })));
        let before = shown(&tree.rescan());
        assert_eq!(&*before[Path::new("c.toml")], &*text("c", "by-hand:1"));
        // A broken file in the way, and one that is no manifest.
        fs::write(dir.path().join("a.toml"), "half = ").unwrap();
        let base = tree.rescan();
        assert!(matches!(tree.replace(&new, &base), Err(WriteError::Broken { .. })));
        // A hand between what is written down and what is done.
        fs::write(dir.path().join("a.toml"), &*text("a", "x:1")).unwrap();
        let base = tree.rescan();
        tree.intend(&replacements(&base, &new)).unwrap();
        fs::write(dir.path().join("a.toml"), &*text("a", "by-hand:2")).unwrap();
        let done = shown(&tree.rescan());
        assert_eq!(&*done[Path::new("a.toml")], &*text("a", "by-hand:2"));
        assert_eq!(done.len(), new.len());
    }

    #[test]
    fn what_can_not_be_finished_shows_no_mixture() {
        let (dir, mut tree, new) = scene();
        let base = tree.rescan();
        // A file where a directory has to be made.
        fs::write(dir.path().join("d"), "in the way").unwrap();
        assert!(tree.replace(&new, &base).is_err());
        let mixed = tree.rescan();
        assert_eq!(shown(&mixed), shown(&base));
        assert!(mixed.complete.values().all(|complete| !complete));
        fs::remove_file(dir.path().join("d")).unwrap();
        assert_eq!(shown(&tree.rescan()), new);
    }

    #[test]
    fn only_what_would_be_read_is_written() {
        let (_dir, mut tree, _) = scene();
        let base = tree.rescan();
        let deep = format!("{}x.toml", "d/".repeat(20));
        for path in ["../x.toml", "/x.toml", "x", ".git/x.toml", ".x.toml", "#x.toml", "a/../x.toml", "", &deep] {
            let refused = tree.replace(&texts(&[(path, "x", "x:1")]), &base);
            assert!(matches!(refused, Err(WriteError::OutsideTree { .. })), "{path}");
        }
        let twice = texts(&[("x.toml", "x", "x:1"), ("y.toml", "x", "x:1")]);
        assert!(matches!(tree.replace(&twice, &base), Err(WriteError::Duplicate { .. })));
        assert_eq!(shown(&tree.rescan()), shown(&base));
    }
}

//! What `put`, `put_text` and `delete` do once they have the tree to themselves. Blocks.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_schema::{
    Kind, Manifest,
    parse::{self, Rejected},
};
use serde_json::Value;

use super::{
    error::{Expect, WriteError, Written},
    merge, read,
    snapshot::{Declaration, reason},
    swap,
    tree::Tree,
    trial::Tried,
    walk::Stamp,
    write,
};

/// What to write.
pub(super) enum Content {
    /// These words, merged into what is there.
    Manifest(Manifest),
    /// This very text.
    Text(String, Manifest),
}

impl Content {
    pub(super) fn from_value(value: &Value) -> Result<Self, WriteError> {
        parse::parse_value(value).map(Self::Manifest).map_err(WriteError::Invalid)
    }

    /// Returns the text's content if it declares this kind and name.
    pub(super) fn from_text(kind: Kind, name: &str, text: &str) -> Result<Self, WriteError> {
        let manifest = parse::parse(text).map_err(WriteError::Invalid)?;
        if (manifest.kind(), manifest.name()) != (kind, name) {
            return Err(WriteError::Misdirected { kind: manifest.kind(), name: manifest.name().to_owned() });
        }
        Ok(Self::Text(text.to_owned(), manifest))
    }

    fn manifest(&self) -> &Manifest {
        match self {
            Self::Manifest(manifest) | Self::Text(_, manifest) => manifest,
        }
    }

    /// Returns the text of the file, given what is in it now.
    pub(super) fn text(&self, now: Option<(&str, &Manifest)>) -> Result<String, WriteError> {
        let manifest = match self {
            Self::Text(text, _) => return Ok(text.clone()),
            Self::Manifest(manifest) => manifest,
        };
        let wanted = canonical(manifest)?;
        if let Some((text, old)) = now {
            if old == manifest {
                return Ok(text.to_owned());
            }
            // A merge that says something else would be a fault of ours: better no comments than another wish.
            match merge::merge(text, &canonical(old)?, &wanted) {
                Ok(merged) if parse::parse(&merged).is_ok_and(|it| it == *manifest) => return Ok(merged),
                _ => tracing::warn!(name = manifest.name(), "the manifest is rewritten without its comments"),
            }
        }
        let text = merge::render(&wanted);
        parse::parse(&text).map(|_| text).map_err(WriteError::Invalid)
    }
}

impl Tree {
    /// Makes or changes the file that declares this.
    pub(super) fn put(&mut self, content: &Content, expect: &Expect) -> Result<Written, WriteError> {
        let manifest = content.manifest();
        let (kind, name) = (manifest.kind(), manifest.name());
        let declared = self.writable(kind, name)?;
        check(expect, declared.as_ref())?;
        declared.iter().map(|it| &*it.manifest).chain([manifest]).try_for_each(|it| self.allow(it))?;
        let (relative, path, text, before) = match &declared {
            Some(Declaration { path, manifest, etag, .. }) => {
                let real = self.real(path)?;
                let bytes = fs::read(&real).map_err(|source| WriteError::Io { path: real.clone(), source })?;
                // An editor may have saved since the tree was read.
                if read::etag(&bytes) != *etag {
                    return Err(WriteError::Conflict { current: Some(read::etag(&bytes)) });
                }
                let now = String::from_utf8(bytes).map_err(|_| WriteError::Broken { path: path.clone() })?;
                let text = content.text(Some((&now, manifest)))?;
                if text == now {
                    return Ok(Written { created: false, etag: read::etag(text.as_bytes()) });
                }
                (path.clone(), real, text, Some(now.into()))
            }
            None => (file_of(kind, name), self.new_file(kind, name)?, content.text(None)?, None),
        };
        self.try_out([(relative, Tried::new(before, Some(&text)))])?;
        let was = declared.as_ref().map(|it| &*it.etag);
        let put = swap::replace(&path, text.as_bytes(), was);
        if !put.map_err(|source| WriteError::Io { path: path.clone(), source })? {
            return Err(overtaken(&path));
        }
        self.written = fs::metadata(path).ok().as_ref().map(Stamp::of);
        Ok(Written { created: declared.is_none(), etag: read::etag(text.as_bytes()) })
    }

    /// Reads the file that declares this, and its fingerprint.
    pub(super) fn text(&mut self, kind: Kind, name: &str) -> Result<(String, String), WriteError> {
        let declared =
            self.writable(kind, name)?.ok_or_else(|| WriteError::NotFound { kind, name: name.to_owned() })?;
        let path = self.real(&declared.path)?;
        let text = fs::read_to_string(&path).map_err(|source| WriteError::Io { path, source })?;
        let etag = read::etag(text.as_bytes());
        Ok((text, etag))
    }

    /// Removes the file that declares this.
    pub(super) fn delete(&mut self, kind: Kind, name: &str, expect: &Expect) -> Result<(), WriteError> {
        let declared = self.writable(kind, name)?;
        check(expect, declared.as_ref())?;
        let declared = declared.ok_or_else(|| WriteError::NotFound { kind, name: name.to_owned() })?;
        self.allow(&declared.manifest)?;
        self.try_out([(declared.path.clone(), Tried::new(Some(Arc::clone(&declared.text)), None))])?;
        // A link is removed itself, not what it leads to.
        let path = self.root.join(&declared.path);
        let gone = swap::remove(&path, &declared.etag);
        if !gone.map_err(|source| WriteError::Io { path: path.clone(), source })? {
            return Err(overtaken(&path));
        }
        self.consented.insert((kind, name.to_owned()));
        Ok(())
    }

    /// Returns the declaration as it is on disk right now, unless its file must not be touched.
    fn writable(&mut self, kind: Kind, name: &str) -> Result<Option<Declaration>, WriteError> {
        let snapshot = self.rescan();
        self.found = Some(Arc::clone(&snapshot));
        let mine = |it: &&_| is_about(it, kind, name);
        let problems: Vec<_> = snapshot.problems.iter().filter(mine).collect();
        if problems.iter().any(|problem| problem.reason == reason::DUPLICATE) {
            return Err(WriteError::Duplicate { paths: problems.iter().map(|it| it.path.clone()).collect() });
        }
        if let Some(problem) = problems.first() {
            return Err(WriteError::Broken { path: problem.path.clone() });
        }
        let declared = snapshot.declared.get(&(kind, name.to_owned())).cloned();
        match declared {
            Some(Declaration { stale: Some(problem), .. }) => Err(WriteError::Broken { path: problem.path }),
            declared => Ok(declared),
        }
    }

    /// Returns where a file of the tree really is.
    fn real(&self, path: &Path) -> Result<PathBuf, WriteError> {
        let io = |source| WriteError::Io { path: path.to_owned(), source };
        let root = fs::canonicalize(&self.root).map_err(io)?;
        let real = fs::canonicalize(root.join(path)).map_err(io)?;
        if real.starts_with(&root) { Ok(real) } else { Err(WriteError::OutsideTree { path: path.to_owned() }) }
    }

    /// Returns the place of a new file, which holds nothing yet.
    fn new_file(&self, kind: Kind, name: &str) -> Result<PathBuf, WriteError> {
        let directory = self.root.join(kind.plural());
        write::make_directory(&self.root)
            .and_then(|()| write::make_directory(&directory))
            .map_err(|source| WriteError::Io { path: directory, source })?;
        let path = file_of(kind, name);
        let file = self.real(Path::new(kind.plural()))?.join(format!("{name}.toml"));
        if fs::symlink_metadata(&file).is_ok() { Err(WriteError::Occupied { path }) } else { Ok(file) }
    }
}

/// Says that an editor has saved since the tree was read.
fn overtaken(path: &Path) -> WriteError {
    WriteError::Conflict { current: fs::read(path).ok().map(|bytes| read::etag(&bytes)) }
}

/// Returns where a new manifest belongs.
fn file_of(kind: Kind, name: &str) -> PathBuf {
    Path::new(kind.plural()).join(format!("{name}.toml"))
}

fn is_about(problem: &super::Problem, kind: Kind, name: &str) -> bool {
    problem.kind == Some(kind) && problem.name.as_deref() == Some(name)
}

fn check(expect: &Expect, declared: Option<&Declaration>) -> Result<(), WriteError> {
    let current = declared.map(|it| it.etag.clone());
    let holds = match (expect, &current) {
        (Expect::Anything, _) | (Expect::Present, Some(_)) | (Expect::Absent, None) => true,
        (Expect::Etag(etag), Some(current)) => etag == current,
        _ => false,
    };
    if holds { Ok(()) } else { Err(WriteError::Conflict { current }) }
}

/// Returns the one form that all spellings of a manifest share, without what is empty.
fn canonical(manifest: &Manifest) -> Result<Value, WriteError> {
    let unwritable = |_| {
        WriteError::Invalid(Rejected {
            kind: Some(manifest.kind()),
            name: Some(manifest.name().to_owned()),
            diagnostics: Vec::new(),
        })
    };
    let mut value = serde_json::to_value(manifest).map_err(unwritable)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, it| key != "status" && !it.is_null());
    }
    Ok(value)
}

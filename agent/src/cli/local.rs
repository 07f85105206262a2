//! Manifests in files on this side, checked before anything is sent.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use piccolo_schema::{
    Kind, Manifest,
    parse::{self, Rejected},
    set::Source,
};
use serde_json::Value;

use super::{failure::Failure, screen::Screen};

/// How many directories deep files are looked for.
const DEEPEST: usize = 16;
/// The largest text that is read from standard input.
const LARGEST: u64 = 1 << 20;

/// A manifest in a file, understood.
pub(super) struct Local {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) media: &'static str,
    pub(super) text: String,
    pub(super) manifest: Manifest,
    /// The file, as it is shown.
    pub(super) file: String,
}

impl Local {
    /// Returns where it stands.
    pub(super) fn source(&self) -> Source<'_> {
        Source { file: &self.file, text: (self.media == "application/toml").then_some(&*self.text) }
    }
}

/// Reads manifests from files, directories and `-`, shows every mistake in any of them, and fails if there is one.
pub(super) fn read(paths: &[PathBuf], screen: &Screen) -> Result<Vec<Local>, Failure> {
    let mut manifests = Vec::new();
    let (mut mistakes, mut files) = (0, 0);
    for path in expand(paths)? {
        let shown = if path == Path::new("-") { "<stdin>".into() } else { path.display().to_string() };
        match understand(&path, &shown)? {
            Ok(manifest) => manifests.push(manifest),
            Err(rejected) => {
                files += 1;
                mistakes += rejected.diagnostics.len();
                rejected.diagnostics.iter().for_each(|it| screen.note(it.render(&shown)));
            }
        }
    }
    if files > 0 { Err(Failure::Invalid { mistakes, files }) } else { Ok(manifests) }
}

/// Returns the files that these paths mean: of directories all manifests in them.
pub(super) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, DEEPEST, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unusable = |source| Failure::File { path: directory.to_owned(), source };
    let entries = fs::read_dir(directory).map_err(unusable)?;
    let mut entries: Vec<_> =
        entries.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>().map_err(unusable)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden && depth > 0 {
            walk(&path, depth - 1, files)?;
        } else if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn understand(path: &Path, shown: &str) -> Result<Result<Local, Rejected>, Failure> {
    let text = read_text(path)?;
    let media = media(path, &text);
    let manifest = match media {
        "application/toml" => parse::parse(&text),
        "application/json" => parse::parse_value(&tree(path, serde_json::from_str(&text))?),
        _ => parse::parse_value(&tree(path, serde_saphyr::from_str(&text))?),
    };
    let file = shown.to_owned();
    Ok(manifest.map(|it| Local { kind: it.kind(), name: it.name().to_owned(), media, text, manifest: it, file }))
}

fn media(path: &Path, text: &str) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/yaml",
        None if text.trim_start().starts_with('{') => "application/json",
        _ => "application/toml",
    }
}

fn tree<E: std::fmt::Display>(path: &Path, tree: Result<Value, E>) -> Result<Value, Failure> {
    let invalid = |error: E| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    tree.map_err(|error| Failure::File { path: path.to_owned(), source: invalid(error) })
}

/// Reads a file, or standard input for `-`.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
    };
    read.map(|_| text).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Failure::NotFound(format!("there is no file {}", path.display())),
        _ => Failure::File { path: path.to_owned(), source },
    })
}

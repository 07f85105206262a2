//! A manifest in a file outside of the directory, such as in a clone of it.

use std::{fs, io, path::Path};

use piccolo_schema::{Manifest, parse};

use super::{edit::Content, error::WriteError, write};

/// Puts this manifest into a file, whole or not at all. Comments of one that is there stay.
///
/// # Errors
/// When the file can't be read or written, or holds something else than a manifest.
pub fn save(path: &Path, manifest: &Manifest) -> Result<(), WriteError> {
    // A name alone has no directory that could be synced.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let io = |source| WriteError::Io { path: path.to_owned(), source };
    let now = match fs::read_to_string(path) {
        Ok(text) => Some((parse::parse(&text).map_err(WriteError::Invalid)?, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let content = Content::Manifest(manifest.clone());
    let text = content.text(now.as_ref().map(|(manifest, text)| (text.as_str(), manifest)))?;
    write::replace(path, text.as_bytes()).map_err(io)
}

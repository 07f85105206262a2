//! Writing a file whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// How the name of a file begins that is being written. The dot keeps it out of the tree.
pub(super) const TEMPORARY: &str = ".piccolo-write-";

/// The rights of a new manifest: it may hold what not everybody should read.
const FILE_MODE: u32 = 0o640;
/// The rights of a new directory.
const DIRECTORY_MODE: u32 = 0o755;

/// Puts these bytes in place of the file, or makes it, and returns when they will survive a loss of power. Mode and owner
/// of an existing file stay.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let written = write_new(&temporary, bytes, fs::metadata(path).ok().as_ref())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync(path));
    if written.is_err() {
        // The first error is the one to tell; after the rename there is nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes the file, for good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync(path)
}

/// Makes the directory if it is missing.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    sync(path)
}

/// Writes a file that is not there yet, with the rights and the owner of another one if there is one.
pub(super) fn write_new(path: &Path, bytes: &[u8], like: Option<&Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mine = file.metadata()?;
    if let Some(like) = like
        && (like.uid(), like.gid()) != (mine.uid(), mine.gid())
    {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    let mode = like.map_or(FILE_MODE, |like| like.mode() & 0o7777);
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Returns a free name beside a file, which is out of the tree.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(format!("{TEMPORARY}{}-", uuid::Uuid::new_v4().simple()));
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Makes the name of a file survive a loss of power.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

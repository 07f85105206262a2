//! Files of secrets. A file is there whole or not at all, and never with more rights than it is to have.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

use crate::{file, secrets::Plain};

/// How the name of a file begins that is being written. No key begins so.
const TEMPORARY: &str = "~";

/// Makes the directory of all secrets, for root alone.
pub(super) fn make_root(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    make(path, 0o700)
}

/// Makes a directory, and those above it for its owner alone, and gives it these rights.
pub(super) fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Puts a value in place of what is there.
pub(in crate::host::linux) fn put(path: &Path, value: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(format!("{TEMPORARY}{:016x}", fastrand::u64(..)));
    name.push(path.file_name().unwrap_or_default().to_string_lossy().chars().take(64).collect::<String>());
    let temporary = path.with_file_name(name);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(value)?;
        entitle(&file, mode, owner)
    });
    let written = written.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a value over what is there, so that whoever holds on to the file sees it. A reader in this very moment may see
/// the beginning of one value and the end of the other; a secret is not cut and lengthened for nothing.
pub(super) fn overwrite(path: &Path, value: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return put(path, value, mode, owner),
        Err(error) => return Err(error),
    };
    file.write_all_at(value, 0)?;
    file.set_len(value.len() as u64)?;
    entitle(&file, mode, owner)
}

/// Reads a value.
pub(super) fn read(path: &Path) -> io::Result<Plain> {
    let file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    Plain::read(file, size)
}

/// Returns mode, user and group of a file.
pub(super) fn rights(path: &Path) -> io::Result<(u32, u32, u32)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()))
}

/// Lists a directory, sorted; one that is not there is empty. What is being written is not listed.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && !name.starts_with(TEMPORARY)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes every file but these, and what a write left that was broken off.
pub(super) fn keep_only(directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !wanted(name)) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file or directory if it is there.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    file::gone(match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    })
}

/// The owner first: a change of owner may take rights away.
fn entitle(file: &File, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        let has = file.metadata()?;
        if (has.uid(), has.gid()) != (uid, gid) {
            fchown(file, Some(uid), Some(gid))?;
        }
    }
    file.set_permissions(Permissions::from_mode(mode))
}

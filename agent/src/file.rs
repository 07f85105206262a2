//! Small files of our own that are there whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// How the name of a file ends that is being written.
const TEMPORARY: &str = "writing";

/// Puts these bytes in place of the file, or makes it and its directory, and returns when they will survive a loss of
/// power. One writer for each file at a time. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let home = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    let temporary = path.with_extension(TEMPORARY);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(home)?.sync_all()
}

//! Small files of our own that are there whole or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{Mode, OFlags, fchmod, open};

/// How the name of a file ends that is being written.
const TEMPORARY: &str = "writing";

/// What everybody may do with a directory that is for others too.
const OPEN: Mode = Mode::from_raw_mode(0o755);

/// Makes a directory, and those above it, which others than root are to enter, whatever the daemon's umask is. What is there
/// already stays as it is.
pub(crate) fn make_open(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.is_dir()).collect();
    for next in missing.into_iter().rev() {
        match fs::create_dir(next) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && next.is_dir() => {}
            made => made.and_then(|()| set_open(next))?,
        }
    }
    Ok(())
}

/// Has everybody enter a directory. It is not followed if it has become a link.
pub(crate) fn set_open(path: &Path) -> io::Result<()> {
    let how = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fchmod(open(path, how, Mode::empty())?, OPEN)?)
}

/// Takes what is gone already as removed.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes a file if it is there, and returns when that will survive a loss of power. Blocks.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let home = path.parent().unwrap_or(Path::new("."));
    match fs::remove_file(path) {
        // Without it there may be no directory either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| File::open(home)?.sync_all()),
    }
}

/// Removes what a writing of this file left that was broken off: it may hold what is to be nowhere any more.
pub(crate) fn sweep(path: &Path) -> io::Result<()> {
    gone(fs::remove_file(path.with_extension(TEMPORARY)))
}

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

/// Tests under the umask of the shipped unit, which is one for the whole process.
#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test runs itself")]
pub(crate) mod strict {
    use std::{os::unix::fs::PermissionsExt, path::Path, process::Command};

    const WITHIN: &str = "PICCOLO_TEST_STRICT";

    /// Runs the test of this name once more with that umask. Returns true within that run.
    pub(crate) fn is_within(test: &str) -> bool {
        if std::env::var_os(WITHIN).is_some() {
            return true;
        }
        let output = Command::new("sh")
            .args(["-c", "umask 0027; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(WITHIN, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(told.contains("1 passed"), "no such test: {told}");
        false
    }

    pub(crate) fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_for_others_is_open_and_one_that_is_there_stays() {
        if !is_within("file::strict::a_directory_for_others_is_open_and_one_that_is_there_stays") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (there, made) = (dir.path().join("there"), dir.path().join("there/a/b"));
        std::fs::create_dir(&there).unwrap();
        assert_eq!(mode(&there), 0o750);
        super::make_open(&made).unwrap();
        super::make_open(&made).unwrap();
        assert_eq!((mode(&there), mode(&there.join("a")), mode(&made)), (0o750, 0o755, 0o755));
        std::fs::write(there.join("file"), "").unwrap();
        assert!(super::make_open(&there.join("file/below")).is_err());
    }
}

//! The directories that volumes stand on. Opened without following any symbolic link, then looked at and changed through
//! what was opened, so that nobody can put another directory in their place meanwhile.

use std::{os::fd::OwnedFd, path::Path};

use piccolo_schema::volume::{machines_own, plain};
use rustix::{
    fs::{self, AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Statx, StatxFlags, Uid},
    io::Errno,
};

use super::quota;
use crate::host::{Access, Directory, HostError, Reason};

const OPEN: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// Opens the directory that a manifest names.
pub(super) fn open(path: &str) -> Result<OwnedFd, HostError> {
    guard(path)?;
    plain_open(path).map_err(|errno| explain(path, errno))
}

/// Opens a directory of the engine's own, which may lie behind links of the engine's choice.
pub(super) fn open_engines(path: &str) -> Result<OwnedFd, HostError> {
    fs::open(path, OPEN | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| explain(path, errno))
}

/// Opens the directory that a manifest names, and makes it if it is missing. The one above it must be there.
pub(super) fn open_or_make(path: &str) -> Result<OwnedFd, HostError> {
    guard(path)?;
    match plain_open(path) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(|errno| explain(path, errno)),
    }
    let (above, name) = path.rsplit_once('/').unwrap_or_default();
    let above = if above.is_empty() { "/" } else { above };
    let parent = plain_open(above).map_err(|errno| match errno {
        Errno::NOENT => HostError::new(
            Reason::MountSourceMissing,
            format!("`{above}` does not exist; is its disk mounted? Make it first"),
        ),
        other => explain(above, other),
    })?;
    match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(explain(path, errno)),
    }
    // The name must be on the disk before the engine is told of it.
    fs::fsync(&parent).map_err(|errno| explain(above, errno))?;
    plain_open(path).map_err(|errno| explain(path, errno))
}

/// Gives an open directory this owner and mode.
pub(super) fn set_access(directory: &OwnedFd, path: &str, access: &Access) -> Result<(), HostError> {
    let owner = access.owner.map(|(user, group)| (Uid::from_raw(user), Gid::from_raw(group)));
    if let Some((user, group)) = owner {
        fs::fchown(directory, Some(user), Some(group)).map_err(|errno| explain(path, errno))?;
    }
    // A change of the owner may have taken bits of the mode away, so the mode comes last.
    if let Some(mode) = access.mode {
        fs::fchmod(directory, Mode::from_raw_mode(mode)).map_err(|errno| explain(path, errno))?;
    }
    Ok(())
}

/// Returns how an open directory is.
pub(super) fn look(directory: &OwnedFd, path: &str) -> Result<Directory, HostError> {
    let seen = about(directory).map_err(|errno| explain(path, errno))?;
    let quota = quota::look(directory, path, &seen);
    Ok(Directory::new((seen.stx_uid, seen.stx_gid), u32::from(seen.stx_mode), quota))
}

/// Returns what the file system tells of an open file.
pub(super) fn about(file: &OwnedFd) -> Result<Statx, Errno> {
    fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)
}

/// Says in our words what went wrong with a path.
pub(super) fn explain(path: &str, errno: Errno) -> HostError {
    let (reason, what) = match errno {
        Errno::NOENT => (Reason::MountSourceMissing, "does not exist; is its disk mounted?".to_owned()),
        Errno::LOOP => (Reason::Refused, format!("goes through a symbolic link; write {}", real(path))),
        Errno::NOTDIR => (Reason::Refused, "is no directory; choose another path".to_owned()),
        Errno::ROFS => (Reason::PermissionDenied, "lies on a file system that can't be written to".to_owned()),
        Errno::PERM | Errno::ACCESS => (Reason::PermissionDenied, "is out of the daemon's reach".to_owned()),
        Errno::NOSPC | Errno::DQUOT => (Reason::DiskFull, "has no space left; free some".to_owned()),
        other => (Reason::Failed, format!("can't be used ({other})")),
    };
    HostError::new(reason, format!("`{path}` {what}"))
}

/// The manifest was checked already; but what does the harm is here.
fn guard(path: &str) -> Result<(), HostError> {
    let bad = if !path.starts_with('/') || path != plain(path) || path.split('/').any(|part| part == "..") {
        Some(format!("`{path}` is no plain path"))
    } else {
        machines_own(path)
    };
    bad.map_or(Ok(()), |why| Err(HostError::new(Reason::Refused, format!("{why}; choose another path"))))
}

fn plain_open(path: &str) -> Result<OwnedFd, Errno> {
    fs::openat2(CWD, path, OPEN, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
}

fn real(path: &str) -> String {
    match Path::new(path).canonicalize() {
        Ok(real) => format!("`{}`", real.display()),
        Err(_) => "the path that it leads to".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn room() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        // A temporary directory may lie behind a link.
        let real = dir.path().canonicalize().unwrap().display().to_string();
        (dir, real)
    }

    #[test]
    fn a_directory_is_made_but_not_the_one_above_it() {
        let (_dir, root) = room();
        open_or_make(&format!("{root}/photos")).unwrap();
        open_or_make(&format!("{root}/photos")).unwrap();
        let error = open_or_make(&format!("{root}/disk/photos")).unwrap_err();
        assert_eq!(error.reason, Reason::MountSourceMissing);
        assert!(error.message.contains("/disk` does not exist"), "{error}");
    }

    #[test]
    fn no_link_is_followed() {
        let (_dir, root) = room();
        std::fs::create_dir(format!("{root}/real")).unwrap();
        symlink(format!("{root}/real"), format!("{root}/link")).unwrap();
        symlink("/etc", format!("{root}/etc")).unwrap();
        for path in ["link", "link/photos", "etc", "etc/photos"] {
            let error = open_or_make(&format!("{root}/{path}")).unwrap_err();
            assert_eq!(error.reason, Reason::Refused, "{path}: {error}");
            assert!(error.message.contains("symbolic link"), "{error}");
        }
        assert!(!Path::new(&format!("{root}/real/photos")).exists());
        assert!(open(&format!("{root}/link")).unwrap_err().message.contains(&format!("write `{root}/real`")));
    }

    #[test]
    fn what_the_machine_stands_on_is_refused() {
        for path in
            ["/", "/etc", "/etc/photos", "/run/x", "/srv", "/var/lib/docker/volumes/x", "/srv/../etc", "srv/x", "/a//b"]
        {
            assert_eq!(open_or_make(path).unwrap_err().reason, Reason::Refused, "{path}");
        }
    }

    #[test]
    fn owner_and_mode_change_on_top_and_nowhere_else() {
        let (_dir, root) = room();
        let path = format!("{root}/photos");
        let directory = open_or_make(&path).unwrap();
        std::fs::write(format!("{path}/one"), "1").unwrap();
        let before = std::fs::metadata(format!("{path}/one")).unwrap();
        let me = std::fs::metadata(&path).unwrap();
        let root_can = me.uid() == 0;
        let owner = if root_can { (1234, 5678) } else { (me.uid(), me.gid()) };
        set_access(&directory, &path, &Access { owner: Some(owner), mode: Some(0o2750) }).unwrap();
        let seen = look(&directory, &path).unwrap();
        assert_eq!((seen.owner, seen.mode.as_str()), (format!("{}:{}", owner.0, owner.1), "2750"));
        let after = std::fs::metadata(format!("{path}/one")).unwrap();
        assert_eq!((after.uid(), after.permissions().mode()), (before.uid(), before.permissions().mode()));
    }
}

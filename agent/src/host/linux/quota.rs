//! Limits of directories: the project quotas of ext4 and xfs.
//!
//! A limit is read without any program: where one is set, the file system tells its size as the size of the directory.
//! To set one takes `find`, `chattr` and `setquota`, for there is no safe way to the calls behind them.

use std::{fs::read_to_string, os::fd::OwnedFd, time::Duration};

use rustix::fs::{self, Statx};

use super::{directory, program, volumes::blocking};
use crate::host::{HostError, Quota, Reason};

/// How long a program may take, which may have to go through every file.
const PATIENCE: Duration = Duration::from_secs(600);
/// Where our project numbers begin: far above those that people give.
const FIRST_PROJECT: u32 = 0x5000_0000;

/// The file system that a directory lies on.
struct Mount {
    at: String,
    kind: String,
    options: String,
}

/// Returns what is limited in an open directory.
pub(super) fn look(directory: &OwnedFd, path: &str, seen: &Statx) -> Quota {
    let device = format!("{}:{}", seen.stx_dev_major, seen.stx_dev_minor);
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = mount_of(&mounts, &device, path) else {
        return unsupported("It is not known on which file system it lies");
    };
    if let Some(why) = mount.lacks_quotas() {
        return unsupported(&why);
    }
    let (Ok(here), Ok(whole)) = (fs::fstatvfs(directory), fs::statvfs(&mount.at)) else {
        return unsupported("The file system does not tell its size");
    };
    let room = whole.f_blocks.saturating_mul(whole.f_frsize);
    let limit = here.f_blocks.saturating_mul(here.f_frsize);
    let used = here.f_blocks.saturating_sub(here.f_bfree).saturating_mul(here.f_frsize);
    let limited = limit < room;
    Quota { unsupported: None, limit: limited.then_some(limit), used: limited.then_some(used), room: Some(room) }
}

/// Limits a directory, or lifts the limit.
pub(super) async fn set(path: &str, bytes: Option<u64>) -> Result<(), HostError> {
    let place = path.to_owned();
    let mount = blocking(move || {
        let open = directory::open_engines(&place)?;
        let seen = directory::about(&open).map_err(|errno| directory::explain(&place, errno))?;
        let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        mount_of(&mounts, &format!("{}:{}", seen.stx_dev_major, seen.stx_dev_minor), &place)
            .ok_or_else(|| HostError::new(Reason::Failed, format!("`{place}` lies on no file system that is known")))
    })
    .await?;
    let project = project(path).to_string();
    let blocks = bytes.map_or(0, |bytes| Quota::rounded(bytes) / 1024).to_string();
    let limits = ["-P", &project, "0", &blocks, "0", "0", &mount.at];
    program::run("setquota", limits, PATIENCE).await.map_err(needs("quota"))?;
    // What takes long comes last: the limit holds for what is written from now on in any case.
    match bytes {
        Some(_) => count_as(&project, path).await.map_err(needs("findutils and e2fsprogs")),
        None => Ok(()),
    }
}

/// Puts what is in a directory under this number, and what will be: only directories hand it down, and only files and
/// directories can have it.
async fn count_as(project: &str, path: &str) -> Result<(), HostError> {
    let all = [path, "-xdev", "(", "-type", "d", "-o", "-type", "f", ")", "-exec", "chattr", "-p", project, "{}", "+"];
    program::run("find", all, PATIENCE).await?;
    let directories = [path, "-xdev", "-type", "d", "-exec", "chattr", "+P", "{}", "+"];
    program::run("find", directories, PATIENCE).await.map(drop)
}

/// Returns the number under which a directory is counted. Two directories have the same one by chance once in sixteen
/// million times, and then share what is the stricter for both.
fn project(path: &str) -> u32 {
    FIRST_PROJECT + (crc32fast::hash(path.as_bytes()) & 0x00ff_ffff)
}

fn needs(package: &'static str) -> impl Fn(HostError) -> HostError {
    move |error| match error.reason {
        Reason::Refused => HostError::new(Reason::Refused, format!("{}; install the package {package}", error.message)),
        _ => error,
    }
}

fn unsupported(why: &str) -> Quota {
    Quota { unsupported: Some(why.to_owned()), ..Quota::default() }
}

/// Finds the mount of a device that is nearest above a path.
fn mount_of(mounts: &str, device: &str, path: &str) -> Option<Mount> {
    let above = |at: &str| at == "/" || path.strip_prefix(at).is_some_and(|it| it.is_empty() || it.starts_with('/'));
    let all = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        (*left.get(2)? == device).then_some(())?;
        let (at, kind, options) = (unescape(left.get(4)?), (*right.first()?).to_owned(), (*right.get(2)?).to_owned());
        above(&at).then_some(Mount { at, kind, options })
    });
    all.max_by_key(|mount| mount.at.len())
}

/// The kernel writes blanks in a path as numbers.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

impl Mount {
    fn lacks_quotas(&self) -> Option<String> {
        let has = |word| self.options.split(',').any(|it| it == word);
        match self.kind.as_str() {
            "ext4" | "xfs" if has("prjquota") || has("pquota") => None,
            "ext4" | "xfs" => Some(format!("The file system at `{}` is not mounted with `prjquota`", self.at)),
            other => Some(format!("The file system at `{}` is {other}, which has no project quotas", self.at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
40 22 8:1 / /srv rw,relatime shared:7 - xfs /dev/sda1 rw,attr2,prjquota
41 22 8:2 / /srv/my\\040disk rw - btrfs /dev/sda2 rw";

    #[test]
    fn the_nearest_mount_is_found() {
        let at = |device: &str, path: &str| mount_of(MOUNTS, device, path).map(|mount| mount.at);
        assert_eq!(at("254:0", "/var/lib/x").as_deref(), Some("/"));
        assert_eq!(at("8:1", "/srv/photos").as_deref(), Some("/srv"));
        assert_eq!(at("8:2", "/srv/my disk/x").as_deref(), Some("/srv/my disk"));
        assert_eq!(at("8:1", "/srvx"), None);
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(mounts in malformed(MOUNTS)) {
            for (device, path) in [("254:0", "/x"), ("8:1", "/srv/photos"), ("8:2", "/srv/my disk/x")] {
                let found = mount_of(&mounts, device, path);
                prop_assert!(found.is_none_or(|it| path.starts_with(&it.at) && it.lacks_quotas().is_none_or(|it| !it.is_empty())));
            }
        }
    }

    #[test]
    fn a_file_system_says_what_it_lacks() {
        let lacks = |device: &str, path: &str| mount_of(MOUNTS, device, path).and_then(|mount| mount.lacks_quotas());
        assert_eq!(lacks("8:1", "/srv/photos"), None);
        assert!(lacks("254:0", "/x").is_some_and(|why| why.contains("not mounted with `prjquota`")));
        assert!(lacks("8:2", "/srv/my disk/x").is_some_and(|why| why.contains("btrfs")));
    }

    #[tokio::test]
    #[allow(clippy::print_stderr, clippy::disallowed_methods, reason = "a test tells why it looks at nothing")]
    async fn a_limit_is_set_seen_and_lifted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().display().to_string();
        let look = || {
            let opened = directory::open_engines(&path).unwrap();
            look(&opened, &path, &directory::about(&opened).unwrap())
        };
        if let Some(why) = look().unsupported {
            eprintln!("skipped: {why}; set TMPDIR to a directory with project quotas");
            return;
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/before"), vec![1; 1 << 20]).unwrap();
        assert_eq!(look().limit, None);
        let wanted = 8 << 20;
        set(&path, Some(wanted)).await.unwrap();
        std::fs::write(dir.path().join("sub/after"), vec![1; 1 << 20]).unwrap();
        std::fs::File::open(dir.path()).and_then(|it| Ok(fs::syncfs(it)?)).unwrap();
        let seen = look();
        assert_eq!(seen.limit, Some(Quota::rounded(wanted)));
        assert!(seen.used.is_some_and(|used| (2 << 20..3 << 20).contains(&used)), "{seen:?}");
        set(&path, None).await.unwrap();
        assert_eq!(look().limit, None);
    }

    #[test]
    fn project_numbers_stay_the_same() {
        assert_eq!(project("/srv/photos"), project("/srv/photos"));
        assert!(project("/srv/photos") >= FIRST_PROJECT);
    }
}

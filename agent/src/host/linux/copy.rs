//! Whole copies of directories, by the machine's own `cp`: it knows every file system's way to share blocks, and keeps
//! owner, mode, times, extended attributes, holes and hard links.

use std::{
    collections::HashSet,
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use rustix::fs::{Mode, OFlags, ioctl_ficlone, statvfs};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr},
    time::{Instant, sleep},
};

use super::program;
use crate::host::{HostError, Reason};

/// How long a copy may go without any progress.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often its progress is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How much is kept of what `cp` complains about.
const MOST_WORDS: usize = 4096;
/// What stays free on a file system, whatever is copied: a twentieth of it, but no less and no more than this.
const LEAST_FREE: u64 = 64 << 20;
const MOST_FREE: u64 = 5 << 30;

/// Copies a directory to a name that is not there yet. If the future is dropped, a part of it may be there.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), HostError> {
    let mut command = program::program("cp");
    command
        .args(["-d", "-R", "-x", "--preserve=mode,ownership,timestamps,links,xattr"])
        .args(["--reflink=auto", "--sparse=auto", "-T", "--"])
        .args([from, to]);
    let mut child = command.spawn().map_err(|error| program::not_started("cp", &error))?;
    let complaints = tokio::spawn(first_words(child.stderr.take()));
    let status = watch(&mut child, from).await?;
    let complaints = complaints.await.unwrap_or_default();
    if status.success() { Ok(()) } else { Err(program::failed("cp", &complaints)) }
}

/// Refuses a copy that would leave too little free.
pub(super) fn room_for(from: &Path, beside: &Path) -> Result<(), HostError> {
    let failed = |error: io::Error| {
        HostError::new(Reason::Failed, format!("`{}` can't be looked through ({error})", from.display()))
    };
    let (bytes, some_file) = size(from).map_err(failed)?;
    let disk = statvfs(beside).map_err(|errno| failed(errno.into()))?;
    let needed = if some_file.is_some_and(|file| shares_blocks(&file, beside)) { 0 } else { bytes };
    let (free, whole) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    match lacking(needed, free, whole) {
        None => Ok(()),
        Some(why) => Err(HostError::new(Reason::DiskFull, format!("A copy of `{}` {why}", from.display()))),
    }
}

/// Says what is missing for a copy of so many bytes, if anything is.
fn lacking(needed: u64, free: u64, whole: u64) -> Option<String> {
    let stays = (whole / 20).clamp(LEAST_FREE, MOST_FREE);
    let lacking = needed.saturating_add(stays).checked_sub(free).filter(|bytes| *bytes > 0)?;
    let (needed, stays, lacking) = (readable(needed), readable(stays), readable(lacking));
    Some(format!("takes {needed} and must leave {stays} free on its disk; free {lacking} first"))
}

/// Waits for the end of a copy as long as it gets on.
async fn watch(child: &mut Child, from: &Path) -> Result<ExitStatus, HostError> {
    let (mut before, mut since) = (String::new(), Instant::now());
    loop {
        tokio::select! {
            status = child.wait() => {
                return status.map_err(|error| HostError::new(Reason::Failed, format!("`cp` was lost ({error})")));
            }
            () = sleep(LOOK) => {}
        }
        let now = child.id().map(progress).unwrap_or_default();
        if now != before {
            (before, since) = (now, Instant::now());
        } else if since.elapsed() > PATIENCE {
            drop(child.start_kill());
            let message = format!("The copy of `{}` did not get on for {PATIENCE:?}", from.display());
            return Err(HostError::new(Reason::TimedOut, message));
        }
    }
}

/// Returns a text that changes as long as a process reads, writes or computes.
fn progress(pid: u32) -> String {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let times = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split(' ').skip(12).take(2);
    format!("{}{}", read("io"), times.collect::<Vec<_>>().join(" "))
}

/// Reads all that a program complains about, so that it never waits, and keeps the beginning.
async fn first_words(stderr: Option<ChildStderr>) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), [0; 1024]);
    let Some(mut stderr) = stderr else { return kept };
    while let Ok(count @ 1..) = stderr.read(&mut part).await {
        let room = MOST_WORDS.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&part[..room]);
    }
    kept
}

/// Returns how many bytes a directory takes on its disk, and one file of it that holds something.
fn size(root: &Path) -> io::Result<(u64, Option<PathBuf>)> {
    let device = fs::symlink_metadata(root)?.dev();
    let (mut bytes, mut some_file) = (0, None);
    let (mut open, mut counted) = (vec![root.to_owned()], HashSet::new());
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry: DirEntry = entry?;
            let seen = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if seen.dev() != device || (seen.nlink() > 1 && !seen.is_dir() && !counted.insert(seen.ino())) {
                continue;
            }
            bytes += seen.blocks() * 512;
            if seen.is_dir() {
                open.push(entry.path());
            } else if seen.is_file() && seen.blocks() > 0 && some_file.is_none() {
                some_file = Some(entry.path());
            }
        }
    }
    Ok((bytes, some_file))
}

/// Returns true if a file can be copied into a directory without taking room.
fn shares_blocks(file: &Path, directory: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(source) = rustix::fs::open(file, flags, Mode::empty()) else { return false };
    let probe = directory.join(".probe");
    let shared = File::create(&probe).is_ok_and(|target| ioctl_ficlone(&target, &source).is_ok());
    drop(fs::remove_file(&probe));
    shared
}

/// Returns `3.2 GiB`.
fn readable(bytes: u64) -> String {
    let (unit, word) = if bytes >= 1 << 30 { (1 << 30, "GiB") } else { (1 << 20, "MiB") };
    let tenths = bytes.saturating_mul(10).div_ceil(unit);
    format!("{}.{} {word}", tenths / 10, tenths % 10)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;

    #[test]
    fn a_hard_link_and_a_hole_are_counted_once_and_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("one"), dir.path().join("two")).unwrap();
        File::create(dir.path().join("holes")).unwrap().set_len(1 << 30).unwrap();
        File::open(dir.path().join("one")).unwrap().sync_all().unwrap();
        let (bytes, some_file) = size(dir.path()).unwrap();
        assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
        assert!(some_file.is_some());
    }

    #[test]
    fn a_disk_is_not_filled() {
        const GIB: u64 = 1 << 30;
        assert_eq!(lacking(10 * GIB, 16 * GIB, 100 * GIB), None);
        let why = lacking(10 * GIB, 12 * GIB, 100 * GIB);
        assert_eq!(why.as_deref(), Some("takes 10.0 GiB and must leave 5.0 GiB free on its disk; free 3.0 GiB first"));
        // Shared blocks take nothing, but a full disk is no place for a snapshot either.
        assert_eq!(lacking(0, GIB, 10 * GIB), None);
        assert!(lacking(0, GIB / 4, 10 * GIB).is_some());
        assert!(lacking(u64::MAX, 0, 0).is_some());
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!((readable(0), readable(3 << 20)), ("0.0 MiB".to_owned(), "3.0 MiB".to_owned()));
        assert_eq!(readable((3 << 30) + (200 << 20)), "3.2 GiB");
    }

    #[tokio::test]
    async fn a_copy_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let error = copy(&dir.path().join("none"), &dir.path().join("copy")).await.unwrap_err();
        assert!(error.message.contains("No such file or directory"), "{error}");
    }
}

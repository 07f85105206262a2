//! How disks are mounted, and taken away again.

use std::{fs, io, path::Path, time::Duration};

use piccolo_schema::disk::Filesystem;
use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, open, statvfs};

use super::{
    blocking,
    book::Book,
    content::signatures,
    halves, program, scrub,
    table::{Table, kernel_name},
};
use crate::{
    clock, file,
    host::{DiskSeen, HostError, Mount, Reason, linux::luks::whole, mapped_name},
};

/// How long a mount may take, which may have to read a journal first.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a file system may take to grow, for which it makes new tables, or to tell all that is free.
const GROWTH: Duration = Duration::from_secs(1800);

/// Returns true if a mount of ours is there, and is of the file system that it should be.
pub(super) fn is_there(mount: &Mount, disks: &[DiskSeen], table: &Table) -> bool {
    if mount.mirror.is_some() {
        return halves::is_at(mount, table);
    }
    let mut holders = disks.iter().filter_map(|disk| disk.device_of(&mount.uuid)).map(|it| format!("/dev/{it}"));
    holders.any(|device| match &mount.at {
        Some(at) => table.at(at) == Some(&device),
        None => table.swaps(&device),
    })
}

/// Returns how many bytes a file system has, and how many are used.
pub(super) fn room(at: &str) -> Option<(u64, u64)> {
    let seen = statvfs(at).ok()?;
    let total = seen.f_blocks.saturating_mul(seen.f_frsize);
    Some((total, total.saturating_sub(seen.f_bfree.saturating_mul(seen.f_frsize))))
}

/// Mounts a file system, or uses swap.
pub(super) async fn mount(book: &Book, subject: &str, mount: &Mount) -> Result<(), HostError> {
    let path = format!("/dev/{}", mount.device);
    let found = signatures(&mount.device).await?;
    let is_it = |uuid: Option<&str>| uuid.is_some_and(|it| it.eq_ignore_ascii_case(&mount.uuid));
    if !found.iter().any(|it| is_it(it.uuid.as_deref()) && it.kind == mount.filesystem.as_str()) {
        return Err(HostError::new(Reason::Gone, format!("`{path}` is another disk by now")));
    }
    let table = Table::read()?;
    if table.is_shut_off && mount.at.is_some() {
        let message = "The daemon has mounts of its own, which containers would not see; run it without PrivateMounts, \
                       ProtectSystem and the like";
        return Err(HostError::new(Reason::Refused, message));
    }
    let Some(at) = &mount.at else {
        book.mounted(subject, mount)?;
        if table.swaps(&path) {
            return Ok(());
        }
        let discard = mount.options.iter().any(|it| it == "discard").then_some("--discard");
        let words: Vec<&str> = discard.into_iter().chain([path.as_str()]).collect();
        return program::run("swapon", words, PATIENCE).await.map(drop);
    };
    match table.at(at) {
        Some(_) if halves::is_at(mount, &table) => return book.mounted(subject, mount),
        Some(other) => {
            let message = format!("`{other}` is mounted at `{at}` already; unmount it, or give the disk another place");
            return Err(HostError::new(Reason::InUse, message));
        }
        None => {}
    }
    let place = at.clone();
    blocking(move || prepare(&place)).await?;
    book.mounts(subject, mount)?;
    halves::forget_strays(mount).await;
    let options = halves::options(mount).join(",");
    let words = ["-t", mount.filesystem.as_str(), "-o", &options, &path, at];
    program::run("mount", words, PATIENCE).await?;
    halves::is_alone(mount).await
}

/// Changes how a file system is mounted.
pub(super) async fn remount(book: &Book, subject: &str, mount: &Mount) -> Result<(), HostError> {
    if let Some(at) = &mount.at {
        let writes = if mount.options.iter().any(|it| it == "ro") { "" } else { ",rw" };
        let options = format!("remount{writes},{}", mount.options.join(","));
        program::run("mount", ["-o", &options, at], PATIENCE).await?;
    }
    book.mounted(subject, mount)
}

/// Lets a mounted file system fill its disk. The programs do nothing where it does already.
pub(super) async fn grow(book: &Book, subject: &str, mount: &Mount) -> Result<(), HostError> {
    let path = format!("/dev/{}", mount.device);
    let Some(at) = mount.at.as_ref().filter(|_| Table::read().is_ok_and(|table| halves::is_at(mount, &table))) else {
        return Err(HostError::new(Reason::Gone, format!("`{path}` is not mounted where it was")));
    };
    let other = mount.mirror.as_ref().and_then(|it| it.device.as_ref());
    for name in other.into_iter().chain([&mount.device]).filter_map(|it| mapped_name(it)) {
        whole::resize(name).await?;
    }
    match mount.filesystem {
        Filesystem::Ext4 => program::run("resize2fs", [&path], GROWTH).await?,
        Filesystem::Xfs => program::run("xfs_growfs", ["-d", at], GROWTH).await?,
        Filesystem::Btrfs if mount.mirror.is_some() => {
            for half in ["1:max", "2:max"] {
                program::run("btrfs", ["filesystem", "resize", half, at], GROWTH).await?;
            }
            String::new()
        }
        Filesystem::Btrfs => program::run("btrfs", ["filesystem", "resize", "max", at], GROWTH).await?,
        Filesystem::Swap => String::new(),
    };
    book.mounted(subject, mount)
}

/// Returns true if a mounted disk likes to be told what is free, and the file system does not do so at once.
pub(super) fn trims(mount: &Mount) -> bool {
    let device = format!("/sys/class/block/{}", kernel_name(&mount.device));
    // A partition has the queue of its disk.
    let limit = ["queue", "../queue"]
        .iter()
        .find_map(|queue| fs::read_to_string(format!("{device}/{queue}/discard_max_bytes")).ok());
    let other = |it: &String| it == "ro" || it == "discard";
    mount.at.is_some() && !mount.options.iter().any(other) && limit.is_some_and(|it| it.trim() != "0")
}

/// Returns the mount of a manifest and its place, if it is there.
pub(super) fn mounted_of(book: &Book, subject: &str) -> Result<(Mount, String), HostError> {
    let gone = || HostError::new(Reason::Gone, format!("The disk `{subject}` is not mounted"));
    let mount = book.read()?.mounts.remove(subject).ok_or_else(gone)?;
    let at = mount.at.clone().filter(|_| Table::read().is_ok_and(|table| halves::is_at(&mount, &table)));
    Ok((mount, at.ok_or_else(gone)?))
}

/// Tells a disk which of its blocks are free.
pub(super) async fn trim(book: &Book, subject: &str) -> Result<(), HostError> {
    let (_, at) = mounted_of(book, subject)?;
    match program::run("fstrim", [&at], GROWTH).await {
        // It promised more than it can do; that is no reason to ask it again and again.
        Err(error) if error.message.contains("not supported") => {}
        other => drop(other?),
    }
    book.trimmed(subject, clock::now())
}

/// Takes a mount of ours away, and returns it.
pub(super) async fn unmount(book: &Book, subject: &str) -> Result<Option<Mount>, HostError> {
    let Some(mount) = book.read()?.mounts.remove(subject) else { return Ok(None) };
    let table = Table::read()?;
    let held = holder(&mount).await;
    match (&mount.at, mount.filesystem) {
        (Some(at), _) => {
            let is_half = mount.mirror.is_some() && halves::is_at(&mount, &table);
            if is_half || table.at(at).is_some_and(|device| Some(device) == held.as_deref()) {
                scrub::give_up(&mount, at).await;
                program::run("umount", [at], PATIENCE).await.map_err(|error| busy(at, error))?;
            }
            let place = at.clone();
            blocking(move || {
                release(&place);
                Ok(())
            })
            .await?;
        }
        (None, Filesystem::Swap) => {
            if let Some(device) = held.filter(|device| table.swaps(device)) {
                program::run("swapoff", [device], PATIENCE).await?;
            }
        }
        (None, _) => {}
    }
    Ok(Some(mount))
}

/// Returns the device that holds a mount's file system now. A disk that was pulled out holds nothing, but what was
/// mounted of it is still called as before.
async fn holder(mount: &Mount) -> Option<String> {
    let path = format!("/dev/{}", mount.device);
    match signatures(&mount.device).await {
        Ok(found) if !found.iter().any(|it| it.uuid.as_deref() == Some(mount.uuid.as_str())) => {
            let found = program::run("blkid", ["--uuid", &mount.uuid], PATIENCE).await.ok()?;
            Some(found.trim().to_owned())
        }
        _ => Some(path),
    }
}

/// Makes the mount point, and closes it: what would be written there while the disk is away is written nowhere.
fn prepare(at: &str) -> Result<(), HostError> {
    let refuse = |why: String| HostError::new(Reason::Refused, why);
    // Those above it too are for whoever uses the disk.
    file::make_open(Path::new(at)).map_err(|error| refuse(format!("`{at}` can't be made ({error})")))?;
    let real = fs::canonicalize(at).map_err(|error| refuse(format!("`{at}` can't be looked at ({error})")))?;
    if real != Path::new(at) {
        return Err(refuse(format!("`{at}` leads to `{}`; give the disk that place", real.display())));
    }
    let mut entries = fs::read_dir(at).map_err(|error| refuse(format!("`{at}` can't be looked into ({error})")))?;
    if entries.next().is_some() {
        return Err(refuse(format!("`{at}` is not empty, and a disk would hide what is in it; move that away first")));
    }
    set_closed(at, true).or_else(|error| match error.raw_os_error() {
        // A file system that knows no such mark goes without it.
        Some(25 | 95) => Ok(()),
        _ => Err(refuse(format!("`{at}` can't be closed ({error})"))),
    })
}

/// Opens the mount point for everybody again, if nothing is mounted there any more.
fn release(at: &str) {
    if Table::read().is_ok_and(|table| table.at(at).is_none()) {
        drop(set_closed(at, false));
    }
}

fn set_closed(at: &str, closed: bool) -> io::Result<()> {
    let directory = open(at, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut flags = ioctl_getflags(&directory)?;
    flags.set(IFlags::IMMUTABLE, closed);
    Ok(ioctl_setflags(&directory, flags)?)
}

fn busy(at: &str, error: HostError) -> HostError {
    if error.message.contains("busy") {
        return HostError::new(Reason::InUse, format!("Something uses `{at}`; stop the containers on it first"));
    }
    error
}

//! How a file system is made: lock, look again, write down, mark, discard, make, look it over, and the label last.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

use piccolo_schema::disk::{Filesystem, part_key};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::{
    blocking,
    content::{clear_mark, later_marks, signatures, write_mark},
    encrypt::close_leftover,
    hands::{Hands, in_use, nonce},
    key::FirstKeys,
    program,
};
use crate::{
    clock,
    host::{DiskSeen, HALF_MADE, HostError, MakeOrder, Making, Reason, mapped},
};

/// How long one program may take on a large disk.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often it is tried to have partitions forgotten, and how long is waited in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// What is left of the beginning when a disk is discarded, for our mark is in it.
const KEPT: u64 = 1 << 20;

impl Hands {
    /// Makes the file system of an order. The caller holds the turn.
    pub(super) async fn make_it(&self, subject: &str, order: &MakeOrder, keys: &[FirstKeys]) -> Result<(), HostError> {
        if let Some(second) = &order.second {
            return self.make_two(subject, order, second).await;
        }
        let path = format!("/dev/{}", order.device);
        // Held to the end: who makes block devices known, waits for it.
        let lock = blocking({
            let path = path.clone();
            move || take(&path)
        })
        .await?;
        let disk = self.as_ordered(order).await?;
        for name in locked_names(subject, order) {
            // Before anything is written, or a ticket used: under this name it is opened to be made.
            close_leftover(&mapped(&name)).await?;
        }
        let nonce = order.resumes.clone().map_or_else(nonce, Ok)?;
        let before = self.book.read()?.making.into_iter().find(|it| it.subject == subject && it.nonce == nonce);
        let ticket = order.ticket.clone().or_else(|| before.and_then(|it| it.ticket));
        let making =
            Making { subject: subject.to_owned(), identity: disk.identity.clone(), nonce: nonce.clone(), ticket };
        self.book.begin(&making, order.ticket.as_deref(), &disk, clock::now())?;
        mark(&lock, vec![0], &nonce).await?;
        erase(&disk, &path).await?;
        mark(&lock, later_marks(disk.identity.size), &nonce).await?;
        if !order.parts.is_empty() {
            self.make_parts((subject, keys), order, &disk, &lock).await?;
        } else if order.encryption.is_some() {
            self.encrypt_one(subject, order, keys.first(), Some(&lock)).await?;
            blocking(move || lock.sync_all().map_err(|error| failed(&error))).await?;
        } else {
            self.make_on(order, &[path], &[lock], &[disk]).await?;
        }
        self.book.end(subject)
    }

    /// Makes the file system on disks that are marked, looks it over, and gives it its label.
    pub(super) async fn make_on(
        &self,
        order: &MakeOrder,
        paths: &[String],
        locks: &[File],
        disks: &[DiskSeen],
    ) -> Result<(), HostError> {
        let Some(path) = paths.first() else { return Ok(()) };
        run(make(order, paths, HALF_MADE)).await?;
        for (lock, disk) in locks.iter().zip(disks) {
            clear(lock, later_marks(disk.identity.size)).await?;
        }
        verify(order, &order.device, HALF_MADE).await?;
        run(label(order, path)).await?;
        for lock in locks {
            let lock = lock.try_clone().map_err(|error| failed(&error))?;
            blocking(move || lock.sync_all().map_err(|error| failed(&error))).await?;
        }
        Ok(())
    }

    /// Returns the disk of an order if it is still as the plan saw it.
    pub(super) async fn as_ordered(&self, order: &MakeOrder) -> Result<DiskSeen, HostError> {
        let refuse = |message: String| Err(HostError::new(Reason::Refused, message));
        let disks = self.look(None).await?;
        let Some(disk) = disks.into_iter().find(|it| it.device == order.device && it.seq == order.seq) else {
            return refuse(format!("/dev/{} is another disk by now; nothing was written", order.device));
        };
        if disk.identity != order.identity || disk.digest() != order.digest || disk.trouble.is_some() {
            return refuse(format!("{} is not as it was when this was planned; nothing was written", disk.name()));
        }
        match in_use(&disk) {
            Some(why) => refuse(format!("{}: {why}; nothing was written", disk.name())),
            None if disk.read_only => refuse(format!("{} can only be read", disk.name())),
            None => Ok(disk),
        }
    }
}

/// Returns the names under which something is opened to be made.
fn locked_names(subject: &str, order: &MakeOrder) -> Vec<String> {
    if order.parts.is_empty() {
        return order.encryption.iter().map(|_| subject.to_owned()).collect();
    }
    order.parts.iter().filter(|it| it.encrypted).map(|it| part_key(subject, &it.name)).collect()
}

/// Opens a disk that nothing uses, and locks it.
pub(super) fn take(path: &str) -> Result<File, HostError> {
    let open = |flags: OFlags| {
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
    };
    let busy = || HostError::new(Reason::InUse, format!("Something uses `{path}`; nothing was written"));
    // Only the kernel knows all that uses a disk. It is let go at once, for programs ask it the same.
    match open(OFlags::EXCL) {
        Err(error) if error.raw_os_error() == Some(16) => return Err(busy()),
        other => drop(other.map_err(|error| failed(&error))?),
    }
    let device = open(OFlags::empty()).map_err(|error| failed(&error))?;
    flock(&device, FlockOperation::NonBlockingLockExclusive).map_err(|_| busy())?;
    Ok(device)
}

/// Leaves our marks on a disk.
pub(super) async fn mark(device: &File, places: Vec<u64>, nonce: &str) -> Result<(), HostError> {
    let (mut device, nonce) = (device.try_clone().map_err(|error| failed(&error))?, nonce.to_owned());
    blocking(move || {
        for at in places {
            write_mark(&mut device, at, &nonce).map_err(|error| failed(&error))?;
        }
        device.sync_all().map_err(|error| failed(&error))
    })
    .await
}

/// Takes those of our marks away that are left beside what was made.
pub(super) async fn clear(device: &File, places: Vec<u64>) -> Result<(), HostError> {
    let mut device = device.try_clone().map_err(|error| failed(&error))?;
    blocking(move || places.into_iter().try_for_each(|at| clear_mark(&mut device, at)).map_err(|error| failed(&error)))
        .await
}

/// Takes away what is on a disk, but for our mark.
pub(super) async fn erase(disk: &DiskSeen, path: &str) -> Result<(), HostError> {
    let limit = std::fs::read_to_string(format!("/sys/block/{}/queue/discard_max_bytes", disk.device));
    if limit.is_ok_and(|it| it.trim() != "0") && disk.identity.size > 2 * KEPT {
        // One that can't do it has lost nothing but speed.
        drop(program::run("blkdiscard", ["--offset", &KEPT.to_string(), path], PATIENCE).await);
    }
    program::run("wipefs", ["--all", "--force", path], PATIENCE).await?;
    if disk.partitions.is_empty() { Ok(()) } else { forget_partitions(path).await }
}

/// Has the kernel forget partitions that are there no more. Who looks at one just now keeps it for a moment.
async fn forget_partitions(path: &str) -> Result<(), HostError> {
    let mut tries = 0;
    loop {
        if program::run("blockdev", ["--rereadpt", path], PATIENCE).await.is_ok() {
            return Ok(());
        }
        // The kernel looks for none on some disks, and has to be told of each.
        match program::run("partx", ["--delete", path], PATIENCE).await {
            Err(_) if tries < TRIES => tries += 1,
            other => return other.map(drop),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Has the kernel write down what it has in mind of a disk as a whole, and forget it.
pub(super) async fn flush(path: &str) -> Result<(), HostError> {
    program::run("blockdev", ["--flushbufs", path], PATIENCE).await.map(drop)
}

/// Looks over what was made before it is called ours.
pub(super) async fn verify(order: &MakeOrder, device: &str, label: &str) -> Result<(), HostError> {
    let path = &*format!("/dev/{device}");
    let found = signatures(device).await?;
    let is_it = |kind: &str, has: Option<&str>| kind == order.filesystem.as_str() && has == Some(label);
    if found.is_empty() || !found.iter().all(|it| is_it(&it.kind, it.label.as_deref())) {
        let message = format!("What was made on `{path}` is not what was asked for");
        return Err(HostError::new(Reason::Failed, message));
    }
    match order.filesystem {
        Filesystem::Ext4 => run(vec!["e2fsck", "-f", "-n", path]).await,
        Filesystem::Xfs => run(vec!["xfs_repair", "-n", path]).await,
        Filesystem::Btrfs => run(vec!["btrfs", "check", "--readonly", path]).await,
        Filesystem::Swap => Ok(()),
    }
}

pub(super) fn make<'a>(order: &MakeOrder, paths: &'a [String], label: &'a str) -> Vec<&'a str> {
    let mut words = match order.filesystem {
        Filesystem::Ext4 => vec!["mkfs.ext4", "-q", "-E", "nodiscard", "-L", label],
        Filesystem::Xfs => vec!["mkfs.xfs", "-q", "-K", "-L", label],
        Filesystem::Btrfs if paths.len() > 1 => {
            vec!["mkfs.btrfs", "-q", "-K", "-d", "raid1", "-m", "raid1", "-L", label]
        }
        Filesystem::Btrfs => vec!["mkfs.btrfs", "-q", "-K", "-L", label],
        Filesystem::Swap => vec!["mkswap", "-L", label],
    };
    if order.quotas && order.filesystem == Filesystem::Ext4 {
        words.extend(["-O", "quota,project", "-E", "quotatype=prjquota"]);
    }
    words.extend(paths.iter().map(String::as_str));
    words
}

pub(super) fn label<'a>(order: &'a MakeOrder, path: &'a str) -> Vec<&'a str> {
    match order.filesystem {
        Filesystem::Ext4 => vec!["tune2fs", "-L", &order.label, path],
        Filesystem::Xfs => vec!["xfs_admin", "-L", &order.label, path],
        Filesystem::Btrfs => vec!["btrfs", "filesystem", "label", path, &order.label],
        Filesystem::Swap => vec!["swaplabel", "-L", &order.label, path],
    }
}

pub(super) async fn run(words: Vec<&str>) -> Result<(), HostError> {
    let Some((name, arguments)) = words.split_first() else { return Ok(()) };
    program::run(name, arguments, PATIENCE).await.map(drop)
}

pub(super) fn failed(error: &std::io::Error) -> HostError {
    HostError::new(Reason::Failed, format!("The disk can't be written to ({error})"))
}

//! The live system of a stick, and how it comes onto a disk: by the programs of systemd and util-linux, each for a while
//! only. What is set up for that is in memory, and taken back by whoever comes next if it was left behind.

mod compare;
mod copied;
mod halves;
mod held;
pub(super) mod keys;
mod live;
mod parts;
mod replace;
pub(super) mod state;

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use piccolo_schema::install::Keep;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

pub use self::live::{Running, running};
use self::{
    compare::{Piece, compare},
    held::Held,
    keys::{recovery, show, write_key},
    live::{MAPPED, block_of, mapped, size, slots, version, written},
    parts::{Part, State},
};
use super::{
    Drives,
    program::{fed, run},
    volumes::blocking,
};
use crate::host::{
    DiskSeen, Disks as _, Halved, HostError, INSTALLING, Installs, Pace, Reason, RunsFrom, STATE, Target, Ticket,
    UNFINISHED,
};

/// How long a program may take that looks or changes little.
const SHORT: Duration = Duration::from_secs(120);
/// How long one may take that writes much, to a slow disk.
const LONG: Duration = Duration::from_secs(3600);
/// How often it is looked how far it is.
const GLANCE: Duration = Duration::from_millis(500);
/// How long it is waited for another one to come to its end.
const TURN: Duration = Duration::from_secs(10);
/// How the target is laid out.
const LAYOUT: &str = "/usr/lib/piccolo/target.d";
/// What of it is otherwise where the state lies on two disks.
const HALVES: &str = "/usr/lib/piccolo/halves.d";
/// The live system of this stick, or a system that runs from two disks.
pub struct Stick {
    /// Keys and mount points, in memory.
    dir: PathBuf,
    drives: Arc<Drives>,
    held: Held,
    /// Held while this lives, so that there is one installation at a time.
    _turn: Option<fs::File>,
}

impl Stick {
    /// Returns it to look at disks alone, which is no hindrance to an installation, with what it needs for itself in this
    /// directory, which has to lie in memory.
    pub fn look(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), drives: Drives::open(dir), held: Held::default(), _turn: None }
    }

    /// Returns it, for one alone.
    ///
    /// # Errors
    /// When another installation is under way, or the directory can't be used.
    pub async fn open(dir: &Path) -> Result<Self, HostError> {
        Self::open_within(dir, TURN).await
    }

    async fn open_within(dir: &Path, patience: Duration) -> Result<Self, HostError> {
        let trouble =
            |error: io::Error| HostError::new(Reason::Failed, format!("{} can't be used ({error})", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(trouble)?;
        let turn = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"));
        let turn = turn.map_err(trouble)?;
        let free = async {
            while flock(&turn, FlockOperation::NonBlockingLockExclusive).is_err() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        let busy = |_| HostError::new(Reason::InUse, "An installation is under way; wait for its end");
        tokio::time::timeout(patience, free).await.map_err(busy)?;
        Ok(Self { _turn: Some(turn), ..Self::look(dir) })
    }

    fn key(&self) -> String {
        self.dir.join("key").display().to_string()
    }

    /// Returns the partition of this name.
    async fn part(&self, disk: &DiskSeen, name: &str) -> Result<Part, HostError> {
        let found = parts::await_named(name, || parts::of(&disk.device)).await?;
        found.ok_or_else(|| HostError::new(Reason::Failed, format!("{} has no partition `{name}`", disk.name())))
    }

    /// Mounts something below our directory, and returns where.
    async fn mount(&self, what: &str, name: &str, options: &str) -> Result<PathBuf, HostError> {
        let at = self.dir.join(name);
        fs::create_dir_all(&at)
            .map_err(|error| HostError::new(Reason::Failed, format!("{} ({error})", at.display())))?;
        run("mount", ["-o", options, what, &at.display().to_string()], SHORT).await?;
        Ok(at)
    }

    /// Takes back what was set up, also by one that did not come to its end.
    pub async fn clear(&self) {
        self.close().await;
        halves::part().await;
    }

    /// Ends the work on the state. Fails where it lies on two disks, and one of them took no part to the end.
    async fn leave(&self, disks: &[DiskSeen]) -> Result<(), HostError> {
        self.close().await;
        let both = if disks.len() > 1 { halves::are_both() } else { Ok(()) };
        halves::part().await;
        both
    }

    /// Closes what stands on the state.
    async fn close(&self) {
        for name in ["state", "esp"] {
            let at = self.dir.join(name);
            // Nothing may be there.
            drop(run("umount", ["--recursive", &at.display().to_string()], SHORT).await);
        }
        // What was cut off while it encrypted would still write to the disk.
        for name in mapped(Path::new("/dev/mapper")) {
            drop(run("cryptsetup", ["close", &name], SHORT).await);
        }
    }

    /// Returns the partitions in which the unfinished state lies, one of each disk.
    async fn states(&self, disks: &[DiskSeen]) -> Result<Vec<String>, HostError> {
        let mut states = Vec::new();
        for disk in disks {
            states.push(self.part(disk, UNFINISHED).await?.path);
        }
        Ok(states)
    }

    /// Returns where the unfinished state is. One that lies on two disks is joined for that until somebody clears up.
    async fn state(&self, disks: &[DiskSeen]) -> Result<String, HostError> {
        let states = self.states(disks).await?;
        match states.as_slice() {
            [alone] => Ok(alone.clone()),
            both => {
                let both: Vec<&str> = both.iter().map(String::as_str).collect();
                halves::join(&both).await?;
                halves::are_both()?;
                Ok(halves::JOINED.to_owned())
            }
        }
    }

    /// Writes all to one disk, but for a state that lies on two.
    async fn write_one(&self, disk: &DiskSeen, layout: &[&str], pace: Pace<'_>, total: u64) -> Result<(), HostError> {
        let path = format!("/dev/{}", disk.device);
        // One that can't do it has lost nothing but speed. What lies before keeps our mark, until partitions take its place.
        drop(run("blkdiscard", ["--offset", "1M", &path], LONG).await);
        let begun = written(&disk.device);
        let mut words = ["--dry-run=no", "--empty=force", "--discard=no"].map(str::to_owned).to_vec();
        words.extend(layout.iter().map(|it| format!("--definitions={it}")));
        // Two disks that one machine is installed on are told apart by the UUIDs of their partitions.
        words.push("--seed=random".to_owned());
        // What lies on two disks is encrypted once.
        if !layout.contains(&HALVES) {
            words.extend(["--tpm2-device=auto".to_owned(), "--tpm2-pcrs=7".to_owned()]);
            words.push(format!("--key-file={}", self.key()));
        }
        self.held.is_still(disk)?;
        let work = run("systemd-repart", words.into_iter().chain([path.clone()]), LONG);
        with_pace(work, || pace(written(&disk.device).saturating_sub(begun).min(total), total)).await?;
        pace(total, total);
        // As we hold the disk nobody was the last to close it, by which the kernel would have done this.
        run("blockdev", ["--flushbufs", &path], SHORT).await?;
        run("udevadm", ["settle", "--timeout=60"], SHORT).await.map(drop)
    }

    /// Compares the files of the start, which a firmware reads.
    async fn compare_start(&self, disk: &DiskSeen) -> Result<(), HostError> {
        let esp = self.part(disk, "esp").await?;
        let at = self.mount(&esp.path, "esp", "ro").await?;
        run("diff", ["--recursive", "--brief", "/boot/EFI", &at.join("EFI").display().to_string()], LONG)
            .await
            .map(drop)
            .map_err(|error| HostError::new(Reason::Failed, format!("The start does not read back: {}", error.message)))
    }
}

impl Installs for Stick {
    fn obstacle(&self) -> Option<String> {
        if running().from != RunsFrom::Stick {
            return Some("this system does not run from a stick; start from one".to_owned());
        }
        let chip = Path::new("/dev/tpmrm0").exists();
        (!chip)
            .then(|| "there is no TPM to keep the key of the disk; switch it on in the firmware's settings".to_owned())
    }

    async fn targets(&self) -> Result<Vec<Target>, HostError> {
        let mut targets = Vec::new();
        for disk in self.drives.disks().await?.disks {
            let names = parts::of(&disk.device).await?.into_iter().map(|it| it.name).collect();
            let block = block_of(&disk.device);
            targets.push(Target { disk, names, block });
        }
        Ok(targets)
    }

    async fn tickets(&self) -> Result<Vec<Ticket>, HostError> {
        Ok(self.drives.disks().await?.tickets)
    }

    async fn use_up(&self, ticket: &str, disk: &DiskSeen) -> Result<(), HostError> {
        self.drives.use_up(ticket, disk).await
    }

    async fn mark(&self, disk: &DiskSeen) -> Result<(), HostError> {
        self.clear().await;
        self.held.hold(&disk.device, self.drives.mark(disk, INSTALLING).await?);
        // What partitions there were lay behind what is the mark now. Where the kernel had none there is nothing to forget.
        drop(run("blockdev", ["--rereadpt", &format!("/dev/{}", disk.device)], SHORT).await);
        run("udevadm", ["settle", "--timeout=60"], SHORT).await.map(drop)
    }

    async fn write(&self, disks: &[DiskSeen], pace: Pace<'_>) -> Result<(), HostError> {
        self.held.are_still(disks)?;
        write_key(&self.dir.join("key"))?;
        let (whole, hashes) = slots().await?;
        let (one, count) = (size(&whole)? + size(&hashes)?, disks.len() as u64);
        // Of two files of the same name the first one counts.
        let layout: &[&str] = if count > 1 { &[HALVES, LAYOUT] } else { &[LAYOUT] };
        for (at, disk) in (0..).zip(disks) {
            let pace = |done, total| pace(at * one + done, total * count);
            self.write_one(disk, layout, &pace, one).await?;
        }
        let states = self.states(disks).await?;
        let [first, second] = states.as_slice() else { return Ok(()) };
        self.held.are_still(disks)?;
        halves::make(&[first, second]).await?;
        let made = halves::encrypt(&self.key()).await;
        let both = self.leave(disks).await;
        made.and(both)
    }

    async fn read_back(&self, disks: &[DiskSeen], pace: Pace<'_>) -> Result<(), HostError> {
        self.held.are_still(disks)?;
        let (whole, hashes) = slots().await?;
        let version = version()?;
        let mut pieces = Vec::new();
        for disk in disks {
            for (from, name) in [(&whole, format!("piccolo_{version}")), (&hashes, format!("piccolo_{version}_v"))] {
                let part = self.part(disk, &name).await?;
                // Past all caches.
                run("blockdev", ["--flushbufs", &part.path], SHORT).await?;
                pieces.push(Piece { size: size(from)?, from: from.clone(), to: part.path });
            }
        }
        let total = pieces.iter().map(|it| it.size).sum();
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        let work = blocking(move || compare(&pieces, &counted));
        with_pace(work, || pace(done.load(Ordering::Relaxed), total)).await?;
        pace(total, total);
        for disk in disks {
            let compared = self.compare_start(disk).await;
            self.clear().await;
            compared?;
        }
        Ok(())
    }

    async fn keep(&self, disks: &[DiskSeen], keep: Keep) -> Result<(), HostError> {
        self.held.are_still(disks)?;
        let copied = self.copy(&self.state(disks).await?, keep).await;
        let both = self.leave(disks).await;
        copied.and(both)
    }

    async fn recovery(&self, disks: &[DiskSeen]) -> Result<Zeroizing<String>, HostError> {
        self.held.are_still(disks)?;
        let made = recovery(&self.dir, &self.state(disks).await?).await;
        // What the two halves say of themselves is to be the last word when they count.
        let both = self.leave(disks).await;
        made.and_then(|key| both.map(|()| key))
    }

    async fn finish(&self, disks: &[DiskSeen]) -> Result<(), HostError> {
        self.held.are_still(disks)?;
        run("sync", [""; 0], LONG).await?;
        let mut tables = Vec::new();
        for disk in disks {
            let path = format!("/dev/{}", disk.device);
            let table = run("sfdisk", ["--dump", &path], SHORT).await?;
            let Some(State(table)) = parts::finished(&table) else {
                return Err(HostError::new(Reason::Failed, format!("{} has no unfinished state", disk.name())));
            };
            tables.push((path, table));
        }
        self.held.are_still(disks)?;
        // Nothing is waited for between the two: after a cut there the first counts alone.
        for (path, table) in &tables {
            fed("sfdisk", ["--quiet", "--no-reread", "--force", path], table, SHORT).await?;
        }
        for disk in disks {
            run("blockdev", ["--flushbufs", &format!("/dev/{}", disk.device)], SHORT).await?;
            // It is not said to count before whoever looks next sees it so.
            self.part(disk, STATE).await?;
        }
        disks.iter().for_each(|it| self.held.let_go(&it.device));
        // Who looks for it by its name goes by what udev remembers. It counts, whether that comes to its end or not.
        drop(run("udevadm", ["settle", "--timeout=60"], SHORT).await);
        // In memory nothing of it stays.
        drop(fs::remove_file(self.dir.join("key")));
        Ok(())
    }

    async fn halved(&self) -> Result<Option<Halved>, HostError> {
        replace::halved()
    }

    async fn write_half(&self, disk: &DiskSeen, pace: Pace<'_>) -> Result<(), HostError> {
        self.write_beside(disk, pace).await
    }

    async fn take_in(&self, disk: &DiskSeen) -> Result<(), HostError> {
        self.join_half(disk).await
    }

    fn show(&self, text: &str) {
        show("install", text);
    }
}

impl Stick {
    /// Makes leave to erase a disk, whose serial number a person has typed.
    ///
    /// # Errors
    /// When not one disk alone is meant, it is in use, or the number is another one.
    pub async fn ticket(&self, disk: &str, typed: &str) -> Result<(DiskSeen, Ticket), HostError> {
        self.drives.wipe_ticket(disk, typed).await
    }
}

/// Waits for some work, and glances at it meanwhile.
async fn with_pace<T>(work: impl Future<Output = T> + Send, glance: impl Fn() + Send + Sync) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(GLANCE) => glance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_installs_and_all_may_look() {
        let dir = tempfile::tempdir().unwrap();
        let first = Stick::open(dir.path()).await.unwrap();
        let why = Stick::open_within(dir.path(), Duration::from_millis(1)).await.err().unwrap();
        assert!(why.message.contains("wait for its end"), "{}", why.message);
        drop(Stick::look(dir.path()));
        // One who waits gets the turn when it is free.
        let (second, ()) = tokio::join!(Stick::open(dir.path()), async move { drop(first) });
        assert!(second.is_ok());
    }
}

//! The start that resets its machine, by the programs of systemd and util-linux. It runs from memory; the state is closed.

mod left;
mod mark;

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use self::left::{DONE, ORDERED, is_started_as};
pub use self::left::{forget_order, is_rescue, keep_order, reset_done, reset_pending, reset_word, show_of_reset};
pub(super) use self::mark::Mark;
use super::{
    Drives, Slots,
    installs::{
        keys::{bind, format, recovery, show, write_key},
        running,
        state::state,
    },
    partition::place,
    program::run,
    volumes::blocking,
};
use crate::{
    file,
    host::{
        DiskSeen, Disks as _, Erase, HostError, LUKS, OpenedBy, Reason, ResetDone, ResetOrder, ResetProgress, Resets,
        RunsFrom, Voucher,
    },
};

/// Where the first partition of the disk is mounted.
pub(super) const ESP: &str = "/boot";
/// What the new state is called while it is made.
const MAPPED: &str = "piccolo-reset";
/// What the machine remembers, below its state.
const MEMORY: &str = "var/lib/piccolo";
/// How long a program may take that looks or changes little.
const SHORT: Duration = Duration::from_secs(120);
/// How long one may take that writes much, to a slow disk.
const LONG: Duration = Duration::from_secs(3600);
/// How long disks have from the begin of the start to be there.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How often it is looked for them.
const LOOKS: Duration = Duration::from_secs(2);

/// The start that resets its machine.
pub struct Renewal {
    /// Keys and mount points, in memory.
    dir: PathBuf,
    drives: Arc<Drives>,
    began: Instant,
}

impl Renewal {
    /// Returns it, with what it needs for itself in this directory, which has to lie in memory.
    ///
    /// # Errors
    /// When this start is another one, or the directory can't be used.
    pub fn open(dir: &Path) -> Result<Self, HostError> {
        if !is_started_as("piccolo.reset") || running().from != RunsFrom::Disk {
            let message = "Only the start that the loader calls `reset` does this; `piccolo reset` orders it";
            return Err(HostError::new(Reason::Refused, message));
        }
        let trouble =
            |error: io::Error| HostError::new(Reason::Failed, format!("{} can't be used ({error})", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(trouble)?;
        Ok(Self { dir: dir.to_owned(), drives: Drives::open(dir), began: Instant::now() })
    }

    /// Takes back what was set up by one that did not come to its end.
    async fn clear(&self) {
        // Nothing may be there.
        drop(run("umount", [self.at().display().to_string()], SHORT).await);
        drop(run("cryptsetup", ["close", MAPPED], SHORT).await);
    }

    /// Finds a disk that is to be erased. One that is plugged in by USB may come late.
    async fn find(&self, erase: &Erase) -> Result<DiskSeen, HostError> {
        loop {
            drop(run("udevadm", ["settle", "--timeout=10"], SHORT).await);
            let seen = self.drives.disks().await?.disks;
            let is_there = seen.iter().any(|it| it.identity == erase.identity && it.trouble.is_none());
            if is_there || self.began.elapsed() >= ARRIVAL {
                return meant(erase, &seen).cloned();
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    fn at(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Mounts the state that is open.
    async fn mount(&self, options: &str) -> Result<PathBuf, HostError> {
        let at = self.at();
        fs::create_dir_all(&at)
            .map_err(|error| HostError::new(Reason::Failed, format!("{} can't be made ({error})", at.display())))?;
        let device = format!("/dev/mapper/{MAPPED}");
        run("mount", ["-o", options, &device, &at.display().to_string()], SHORT).await?;
        Ok(at)
    }

    /// Returns the digest of the order that the machine gave when the state was open.
    async fn ordered(&self) -> Result<Option<String>, HostError> {
        // What was not written back before the power went is by the mount.
        let path = self.mount("ro").await?.join(MEMORY).join(ORDERED);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HostError::new(Reason::Failed, format!("{} can't be read ({error})", path.display()))),
        }
    }

    async fn fill(&self, order: &ResetOrder, done: &ResetDone) -> Result<(), HostError> {
        run("mkfs.ext4", ["-q", "-F", "-L", "piccolo-state", &format!("/dev/mapper/{MAPPED}")], LONG).await?;
        let at = self.mount("rw").await?;
        let trouble = |error: &dyn std::fmt::Display| {
            HostError::new(Reason::Failed, format!("The state can't be filled ({error})"))
        };
        // What lies above it is for everybody on the machine.
        let lib = at.join("var/lib").display().to_string();
        run("mkdir", ["-p", "-m", "755", &lib], SHORT).await?;
        let text = serde_json::to_vec(done).map_err(|error| trouble(&error))?;
        let memory = at.join(MEMORY);
        file::replace(&memory.join(DONE), &text).map_err(|error| trouble(&error))?;
        keep_order(&memory, order).map_err(|error| trouble(&error))?;
        run("sync", ["--file-system", &at.display().to_string()], LONG).await.map(drop)
    }
}

impl Resets for Renewal {
    async fn order(&self) -> Result<Option<ResetOrder>, HostError> {
        blocking(|| Mark::on(Path::new(ESP)).read()).await
    }

    async fn state(&self) -> Result<String, HostError> {
        Ok(state().await?.id)
    }

    async fn progress(&self) -> Result<ResetProgress, HostError> {
        blocking(|| Mark::on(Path::new(ESP)).progress()).await
    }

    async fn note(&self, progress: &ResetProgress) -> Result<(), HostError> {
        let progress = progress.clone();
        blocking(move || Mark::on(Path::new(ESP)).note(&progress)).await
    }

    async fn ready(&self) -> Result<(), HostError> {
        let (secret, sealed) = (self.dir.join("secret"), self.dir.join("sealed"));
        write_key(&secret)?;
        let [from, to, back] = [&secret, &sealed, &self.dir.join("back")].map(|it| it.display().to_string());
        drop(fs::remove_file(&back));
        let seal = ["--with-key=tpm2", "--tpm2-pcrs=7", "--name=piccolo-reset", "encrypt", &from, &to];
        run("systemd-creds", seal, SHORT).await?;
        run("systemd-creds", ["--name=piccolo-reset", "decrypt", &to, &back], SHORT).await?;
        let is_same = fs::read(&from).ok().zip(fs::read(&back).ok()).is_some_and(|(one, other)| one == other);
        [from, to, back].iter().for_each(|it| drop(fs::remove_file(it)));
        if is_same { Ok(()) } else { Err(HostError::new(Reason::Failed, "It gave back something else")) }
    }

    async fn voucher(&self, order: &ResetOrder) -> Result<Voucher, HostError> {
        self.clear().await;
        let path = state().await?.path;
        if run("cryptsetup", ["isLuks", &path], SHORT).await.is_err() {
            return Ok(Voucher::Nobody);
        }
        let keys = Slots::new(path.clone().into(), self.dir.clone()).keys().await?;
        if !keys.iter().any(|it| it.by == OpenedBy::Tpm2) {
            return Ok(Voucher::Nobody);
        }
        run("cryptsetup", ["open", "--token-only", "--token-type", "systemd-tpm2", &path, MAPPED], SHORT).await?;
        let ordered = self.ordered().await;
        self.clear().await;
        Ok(if ordered? == Some(order.digest()) { Voucher::Machine } else { Voucher::Stranger })
    }

    async fn leave_word(&self, why: &str) -> Result<(), HostError> {
        let why = why.to_owned();
        blocking(move || Mark::on(Path::new(ESP)).leave_word(&why)).await
    }

    async fn erase(&self, disk: &Erase) -> Result<(), HostError> {
        let disk = self.find(disk).await?;
        // What it can't do is told, and holds nothing up: without its header hardly anybody finds the keys.
        let mut kept = Ok(());
        for device in encrypted(&disk) {
            let erased = run("cryptsetup", ["erase", "--batch-mode", &format!("/dev/{device}")], LONG).await;
            kept = kept.and(erased.map(drop));
        }
        // The partitions first: they are found by the table of the whole.
        let whole = disk.device.as_str();
        for device in disk.partitions.iter().map(|it| it.device.as_str()).chain([whole]) {
            run("wipefs", ["--all", "--force", &format!("/dev/{device}")], LONG).await?;
        }
        let path = format!("/dev/{whole}");
        // One that can't do it has lost what tells of its content, and the keys of what was encrypted.
        drop(run("blkdiscard", ["--force", &path], LONG).await);
        run("blockdev", ["--flushbufs", &path], SHORT).await?;
        drop(run("blockdev", ["--rereadpt", &path], SHORT).await);
        run("udevadm", ["settle", "--timeout=60"], SHORT).await?;
        kept
    }

    async fn destroy(&self) -> Result<(), HostError> {
        self.clear().await;
        let path = state().await?.path;
        // One that was cut off here may have left nothing of it.
        if run("cryptsetup", ["isLuks", &path], SHORT).await.is_ok() {
            run("cryptsetup", ["erase", "--batch-mode", &path], LONG).await?;
        }
        // What was encrypted goes too, where the disk can do it.
        drop(run("blkdiscard", [&path], LONG).await);
        run("blockdev", ["--flushbufs", &path], SHORT).await.map(drop)
    }

    async fn make(&self, order: &ResetOrder, done: &ResetDone) -> Result<(), HostError> {
        self.clear().await;
        let (path, key) = (state().await?.path, self.dir.join("key"));
        write_key(&key)?;
        let key = key.display().to_string();
        format(&path, &key).await?;
        run("cryptsetup", ["open", "--key-file", &key, &path, MAPPED], SHORT).await?;
        let filled = self.fill(order, done).await;
        self.clear().await;
        filled
    }

    async fn bind(&self) -> Result<(), HostError> {
        bind(&state().await?.path, &self.dir.join("key").display().to_string()).await
    }

    async fn recovery(&self) -> Result<Zeroizing<String>, HostError> {
        recovery(&self.dir, &state().await?.path).await
    }

    async fn rename(&self) -> Result<(), HostError> {
        // The machine is as new without it too: an old order would have to be put beside the loader by somebody's hands.
        if let Err(error) = renamed().await {
            self.show(&format!("the partition of the state keeps its UUID: {}", error.message));
        }
        Ok(())
    }

    async fn finish(&self) -> Result<(), HostError> {
        run("sync", [""; 0], LONG).await?;
        blocking(|| Mark::on(Path::new(ESP)).clear()).await?;
        // In memory nothing of it stays.
        drop(fs::remove_file(self.dir.join("key")));
        run("sync", [""; 0], LONG).await.map(drop)
    }

    fn show(&self, text: &str) {
        show("reset", text);
    }
}

/// Gives the partition of the state another UUID, so that an order for the old one is for no machine any more.
async fn renamed() -> Result<(), HostError> {
    let path = state().await?.part;
    let strange = || HostError::new(Reason::Failed, format!("The disk of {path} is not known to the kernel"));
    let place = place(Path::new(&path)).ok_or_else(strange)?;
    let (whole, number) = (format!("/dev/{}", place.disk), place.number.to_string());
    let new = fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map_err(|error| HostError::new(Reason::Failed, format!("The kernel gives no chance ({error})")))?;
    // The system runs from this very disk, so the kernel keeps its table until it starts anew.
    let words = ["--quiet", "--no-tell-kernel", "--part-uuid", &whole, &number, new.trim()];
    run("sfdisk", words, SHORT).await.map(drop)
}

/// Finds the one disk that is meant, if nothing uses it.
fn meant<'a>(erase: &Erase, seen: &'a [DiskSeen]) -> Result<&'a DiskSeen, HostError> {
    let refuse = |message: String| Err(HostError::new(Reason::Refused, message));
    let found: Vec<_> = seen.iter().filter(|it| it.identity == erase.identity).collect();
    let [disk] = found.as_slice() else {
        return refuse(format!("{} disks with its serial number are there", found.len()));
    };
    if disk.system {
        return refuse("the machine itself runs from it".to_owned());
    }
    if let Some(why) = &disk.trouble {
        return refuse(why.clone());
    }
    if !erase.covers(disk) {
        return refuse("something else is on it than when that was ordered".to_owned());
    }
    match disk.holders.iter().chain(&disk.mounted).next() {
        Some(user) => refuse(format!("`{user}` uses it")),
        None => Ok(disk),
    }
}

/// Returns what of a disk is encrypted, whether its header can be understood or not.
fn encrypted(disk: &DiskSeen) -> Vec<&str> {
    let whole = std::iter::once((disk.device.as_str(), &disk.signatures));
    let all = whole.chain(disk.partitions.iter().map(|it| (it.device.as_str(), &it.signatures)));
    all.filter(|(_, signatures)| signatures.iter().any(|it| it.kind == LUKS)).map(|(device, _)| device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Identity, Partition, Signature};

    #[test]
    fn only_the_disk_that_was_named_is_erased_and_only_unused() {
        let identity = Identity { serial: "A".to_owned(), size: 7, ..Identity::default() };
        let erase = Erase { name: "A".to_owned(), identity: identity.clone(), ..Erase::default() };
        let disk = DiskSeen { identity, ..DiskSeen::default() };
        let larger = DiskSeen { identity: Identity { size: 8, ..disk.identity.clone() }, ..disk.clone() };
        assert_eq!(meant(&erase, &[larger.clone(), disk.clone()]).unwrap(), &disk);
        assert!(meant(&erase, &[larger]).is_err());
        assert!(meant(&erase, &[disk.clone(), disk.clone()]).is_err());
        assert!(meant(&erase, &[DiskSeen { system: true, ..disk.clone() }]).is_err());
        let unseen = DiskSeen { trouble: Some("/dev/sda does not answer".to_owned()), ..disk.clone() };
        assert!(meant(&erase, &[unseen]).unwrap_err().message.contains("does not answer"));
        assert!(meant(&erase, &[DiskSeen { mounted: vec!["/srv".to_owned()], ..disk }]).is_err());
    }

    #[test]
    fn what_came_onto_a_disk_later_is_not_erased_and_every_key_is_found() {
        let on = |kind: &str, uuid: &str| {
            vec![Signature { kind: kind.to_owned(), uuid: Some(uuid.to_owned()), ..Signature::default() }]
        };
        let part =
            |device: &str, signatures| Partition { device: device.to_owned(), signatures, ..Partition::default() };
        let identity = Identity { serial: "A".to_owned(), size: 7, ..Identity::default() };
        let partitions = vec![part("sda1", on(LUKS, "1")), part("sda2", on("ext4", "2"))];
        let device = "sda".to_owned();
        let disk = DiskSeen { identity, device, signatures: on("gpt", "0"), partitions, ..DiskSeen::default() };
        let erase = Erase::new(&disk);
        // No header was understood, and the keys are there.
        assert!(disk.luks.is_empty());
        assert_eq!(encrypted(&disk), ["sda1"]);
        assert!(meant(&erase, std::slice::from_ref(&disk)).is_ok());
        // Half erased it is gone on with, under whatever name.
        let half = DiskSeen { partitions: vec![part("sdb2", on("ext4", "2"))], ..disk.clone() };
        assert!(meant(&erase, &[half]).is_ok());
        let other = DiskSeen { partitions: vec![part("sda1", on("ext4", "3"))], ..disk.clone() };
        assert!(meant(&erase, &[other]).unwrap_err().message.contains("something else"));
        assert!(meant(&erase, &[DiskSeen { signatures: on(LUKS, "4"), ..disk }]).is_err());
    }

    #[test]
    fn another_start_than_that_of_the_reset_does_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let why = Renewal::open(dir.path()).err().unwrap();
        assert!(why.message.contains("`piccolo reset` orders it"), "{}", why.message);
        assert_eq!(reset_pending().unwrap(), None);
    }
}

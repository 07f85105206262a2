//! A room for disks that are files of this machine, and what is done with them.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use piccolo_agent::{
    host::{
        Disks as _,
        linux::{Drives, Outside},
    },
    reconcile::{
        Plan, Reconciler,
        disk::{DiskStep, Disks},
    },
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Filesystem, Selector},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::loops::forget_partitions;
use crate::parted;
use crate::skip::skipped;

/// A directory with disks, mount points and what is remembered.
pub(crate) struct Room {
    pub(crate) dir: TempDir,
    pub(crate) loops: Vec<String>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::with_prefix("piccolo-disks-").unwrap(), loops: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Plugs a disk in, blank but for what `fill` puts on it.
    pub(crate) fn plug(&mut self, name: &str, fill: impl FnOnce(&str)) -> String {
        let file = self.path(name);
        fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
        let device = done(&["losetup", "--find", "--show", file.to_str().unwrap()]);
        // What was a disk of that name before may have left some.
        forget_partitions(&device);
        fill(&device);
        done(&["blockdev", "--flushbufs", &device]);
        self.loops.push(device.clone());
        device
    }

    pub(crate) fn sum(&self, name: &str) -> String {
        format!("{:?}", Sha256::digest(fs::read(self.path(name)).unwrap()))
    }

    pub(crate) fn drives(&self) -> Arc<Drives> {
        Drives::open(&self.path("state"))
    }

    /// A daemon that is kept from devices; a program stands in for systemd.
    pub(crate) fn drives_outside(&self) -> Arc<Drives> {
        let systemd_run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/systemd-run");
        let outside =
            Outside { systemd_run, piccolod: env!("CARGO_BIN_EXE_piccolod").into(), state: self.path("state") };
        Drives::open_outside(&self.path("state"), outside, None)
    }

    pub(crate) fn spec(&self, disk: &str, filesystem: Filesystem) -> DiskSpec {
        DiskSpec {
            select: Selector { serial: Some(self.path(disk).display().to_string()), ..Selector::default() },
            filesystem,
            mount: (filesystem != Filesystem::Swap).then(|| self.path(&format!("mnt-{disk}")).display().to_string()),
            ..DiskSpec::default()
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for device in &self.loops {
            parted::leave(device);
            run(&["umount", device]);
            run(&["swapoff", device]);
            run(&["losetup", "--detach", device]);
        }
        for entry in fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            run(&["chattr", "-i", entry.path().to_str().unwrap_or_default()]);
        }
    }
}

impl Room {
    /// Plugs a disk in that is as large as btrfs likes it.
    pub(crate) fn plug_large(&mut self, name: &str) -> String {
        let device = self.plug(name, |_| {});
        fs::OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(4 * SIZE).unwrap();
        done(&["losetup", "--set-capacity", &device]);
        device
    }

    /// Pulls a disk out, and returns what plugs it in again.
    pub(crate) fn pull(&mut self, device: &str) {
        done(&["losetup", "--detach", device]);
        self.loops.retain(|it| it != device);
        // Whoever looks at it just now keeps it for that long.
        let backing = format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
        let begun = Instant::now();
        while Path::new(&backing).exists() && begun.elapsed().as_secs() < 20 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn plug_again(&mut self, name: &str) -> String {
        let device = done(&["losetup", "--find", "--show", self.path(name).to_str().unwrap()]);
        self.loops.push(device.clone());
        device
    }

    /// Mounts one half alone, as another machine does, and does something with it.
    pub(crate) fn elsewhere(&self, device: &str, options: &str, work: impl FnOnce(&Path)) {
        let at = self.path("elsewhere");
        fs::create_dir_all(&at).unwrap();
        done(&["btrfs", "device", "scan", "--forget"]);
        done(&["mount", "-t", "btrfs", "-o", options, device, at.to_str().unwrap()]);
        work(&at);
        done(&["umount", at.to_str().unwrap()]);
    }
}

/// The size of a disk.
pub(crate) const SIZE: u64 = 96 << 20;

pub(crate) fn run(words: &[&str]) -> Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

pub(crate) fn done(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Says what keeps these tests from anything real, if something does.
pub(crate) fn can_not() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    probe.as_file().set_len(1 << 20).unwrap();
    let Ok(output) = Command::new("losetup").args(["--find", "--show"]).arg(probe.path()).output() else {
        skipped("there is no losetup");
        return true;
    };
    if !output.status.success() {
        skipped(String::from_utf8_lossy(&output.stderr));
        return true;
    }
    done(&["losetup", "--detach", String::from_utf8_lossy(&output.stdout).trim()]);
    false
}

pub(crate) fn wanted(specs: &[(&str, &DiskSpec)]) -> Desired<Disk> {
    Desired::complete(specs.iter().map(|(name, spec)| Disk::new(name, (*spec).clone())).collect())
}

pub(crate) async fn plan(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Plan<DiskStep> {
    let observed = drives.disks().await.unwrap();
    Disks::<Drives>::plan(desired, &observed)
}

/// Plans and applies until nothing is left to do; returns why something waits, if it does.
pub(crate) async fn settle(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Option<String> {
    let reconciler = Disks(Arc::clone(drives));
    for _ in 0..6 {
        let plan = plan(drives, desired).await;
        if plan.steps.is_empty() {
            return plan.waiting.first().map(|it| it.reason.clone());
        }
        for step in &plan.steps {
            reconciler.apply(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }
    panic!("it does not settle");
}

/// Returns true if this process has the capability of this number.
pub(crate) fn may(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let has = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(has.trim(), 16).unwrap() >> capability & 1 == 1
}

pub(crate) fn exists(program: &str) -> bool {
    ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].iter().any(|home| Path::new(home).join(program).exists())
}

/// Returns true if this machine has all that btrfs needs.
pub(crate) fn knows_btrfs() -> bool {
    let kernel = fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("btrfs"));
    let knows = kernel && exists("mkfs.btrfs");
    if !knows {
        skipped("there is no btrfs");
    }
    knows
}

/// Waits until a program that was killed holds a disk no longer.
pub(crate) fn let_go(device: &str) {
    const EXCLUSIVE: i32 = 0o200;
    let opens = || fs::OpenOptions::new().read(true).custom_flags(EXCLUSIVE).open(device).is_ok();
    let held_for = Instant::now();
    while !opens() && held_for.elapsed().as_secs() < 20 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Breaks the making that is planned off after so many milliseconds, and has another daemon come. Returns whether it goes on,
/// and not that it is refused.
pub(crate) async fn broken_off(room: &Room, desired: &Desired<Disk>, milliseconds: u64, devices: &[String]) -> bool {
    let (mut drives, begun) = (room.drives(), Instant::now());
    let mut planned = plan(&drives, desired).await;
    // On a machine that is busy a look at a disk may take too long, and another daemon makes it again.
    while planned.steps.is_empty() {
        assert!(begun.elapsed().as_secs() < 120, "there is nothing to break off: {:?}", planned.waiting);
        drives = room.drives();
        planned = plan(&drives, desired).await;
    }
    let reconciler = Disks(drives);
    drop(timeout(Duration::from_millis(milliseconds), reconciler.apply(&planned.steps[0])).await);
    devices.iter().for_each(|device| let_go(device));
    // What the old one was about to write is written or not.
    let drives = room.drives();
    let goes_on = match settle(&drives, desired).await.as_deref() {
        None => true,
        Some("HalfMade" | "DiskNotBlank") => false,
        Some(other) => panic!("after {milliseconds} ms: {other}"),
    };
    assert_eq!(settle(&drives, &wanted(&[])).await, None, "after {milliseconds} ms");
    goes_on
}

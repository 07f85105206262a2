//! The guard on real disks: files of this machine as loop devices. Needs root, `losetup` and the programs that make file
//! systems; where one is missing it says so and looks at nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "disks/parted.rs"]
mod parted;

use std::{
    fs,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use piccolo_agent::{
    host::{
        Disks as _, GroundPlaces, Grounds as _,
        linux::{Drives, Footing, Outside},
    },
    reconcile::{
        Plan, Reconciler,
        disk::{DiskStep, Disks},
    },
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Filesystem, Mirror, Selector},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The size of a disk.
const SIZE: u64 = 96 << 20;

/// A directory with disks, mount points and what is remembered.
struct Room {
    dir: TempDir,
    loops: Vec<String>,
}

fn run(words: &[&str]) -> Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn done(words: &[&str]) -> String {
    let output = run(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Says what keeps these tests from anything real, if something does.
fn can_not() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    probe.as_file().set_len(1 << 20).unwrap();
    let Ok(output) = Command::new("losetup").args(["--find", "--show"]).arg(probe.path()).output() else {
        eprintln!("skipped: there is no losetup");
        return true;
    };
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return true;
    }
    done(&["losetup", "--detach", String::from_utf8_lossy(&output.stdout).trim()]);
    false
}

impl Room {
    fn new() -> Self {
        Self { dir: TempDir::with_prefix("piccolo-disks-").unwrap(), loops: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Plugs a disk in, blank but for what `fill` puts on it.
    fn plug(&mut self, name: &str, fill: impl FnOnce(&str)) -> String {
        let file = self.path(name);
        fs::File::create(&file).unwrap().set_len(SIZE).unwrap();
        let device = done(&["losetup", "--find", "--show", file.to_str().unwrap()]);
        fill(&device);
        done(&["blockdev", "--flushbufs", &device]);
        self.loops.push(device.clone());
        device
    }

    fn sum(&self, name: &str) -> String {
        format!("{:?}", Sha256::digest(fs::read(self.path(name)).unwrap()))
    }

    fn drives(&self) -> Arc<Drives> {
        Drives::open(&self.path("state"))
    }

    /// A daemon that is kept from devices; a program stands in for systemd.
    fn drives_outside(&self) -> Arc<Drives> {
        let systemd_run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/systemd-run");
        let outside =
            Outside { systemd_run, piccolod: env!("CARGO_BIN_EXE_piccolod").into(), state: self.path("state") };
        Drives::open_outside(&self.path("state"), outside)
    }

    fn spec(&self, disk: &str, filesystem: Filesystem) -> DiskSpec {
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

fn wanted(specs: &[(&str, &DiskSpec)]) -> Desired<Disk> {
    Desired::complete(specs.iter().map(|(name, spec)| Disk::new(name, (*spec).clone())).collect())
}

async fn plan(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Plan<DiskStep> {
    let observed = drives.disks().await.unwrap();
    Disks::<Drives>::plan(desired, &observed)
}

/// Plans and applies until nothing is left to do; returns why something waits, if it does.
async fn settle(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Option<String> {
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
fn may(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let has = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(has.trim(), 16).unwrap() >> capability & 1 == 1
}

fn exists(program: &str) -> bool {
    ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].iter().any(|home| Path::new(home).join(program).exists())
}

#[tokio::test]
async fn a_blank_disk_is_formatted_mounted_and_let_go() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    room.plug("blank", |_| {});
    let drives = room.drives();
    let spec = room.spec("blank", Filesystem::Ext4);
    let at = spec.mount.clone().unwrap();
    assert_eq!(settle(&drives, &wanted(&[("films", &spec)])).await, None);
    fs::write(format!("{at}/film"), "a film").unwrap();
    let options = done(&["findmnt", "--noheadings", "--output", "OPTIONS", &at]);
    assert!(options.contains("nosuid") && options.contains("nodev"), "{options}");
    let told = drives.disks().await.unwrap().mounts[0].trimmed.unwrap();
    drives.trim_disk("films").await.unwrap();
    assert!(drives.disks().await.unwrap().mounts[0].trimmed.unwrap() > told);
    let changed = DiskSpec { options: vec![piccolo_schema::disk::MountOption::NoAtime], ..spec.clone() };
    assert_eq!(settle(&drives, &wanted(&[("films", &changed)])).await, None);
    assert!(done(&["findmnt", "--noheadings", "--output", "OPTIONS", &at]).contains("noatime"));
    // What was remembered is lost: the label tells whose it is.
    fs::remove_dir_all(room.path("state")).unwrap();
    assert_eq!(settle(&room.drives(), &wanted(&[("films", &changed)])).await, None);
    let drives = room.drives();
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert!(!run(&["findmnt", &at]).status.success(), "it is still mounted");
    assert!(!Path::new(&at).join("film").exists());
    assert_eq!(settle(&drives, &wanted(&[("films", &spec)])).await, None);
    assert_eq!(fs::read_to_string(format!("{at}/film")).unwrap(), "a film");
}

#[tokio::test]
async fn the_bare_mount_point_takes_nothing() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("away", |_| {});
    let drives = room.drives();
    let spec = room.spec("away", Filesystem::Ext4);
    let at = spec.mount.clone().unwrap();
    settle(&drives, &wanted(&[("films", &spec)])).await;
    done(&["umount", &device]);
    if done(&["lsattr", "-d", &at]).split(' ').next().is_some_and(|it| it.contains('i')) {
        assert!(fs::write(format!("{at}/lost"), "").is_err(), "something was written beneath the disk");
    }
    assert_eq!(settle(&drives, &wanted(&[("films", &spec)])).await, None);
    fs::write(format!("{at}/kept"), "").unwrap();
    assert_eq!(fs::metadata(&at).unwrap().permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn each_file_system_is_made() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let all = [
        (Filesystem::Ext4, "mkfs.ext4"),
        (Filesystem::Swap, "mkswap"),
        (Filesystem::Xfs, "mkfs.xfs"),
        (Filesystem::Btrfs, "mkfs.btrfs"),
    ];
    for (filesystem, program) in all {
        if !exists(program) {
            eprintln!("skipped: there is no {program}");
            continue;
        }
        let name = filesystem.as_str();
        let device = room.plug(name, |_| {});
        // Larger than the others: xfs wants it so.
        fs::OpenOptions::new().write(true).open(room.path(name)).unwrap().set_len(filesystem.least() + SIZE).unwrap();
        done(&["losetup", "--set-capacity", &device]);
        assert_eq!(settle(&room.drives(), &wanted(&[(name, &room.spec(name, filesystem))])).await, None, "{name}");
        assert_eq!(settle(&room.drives(), &wanted(&[])).await, None, "{name}");
    }
}

/// All that may be on a disk: it is refused, and not one byte changes, until a ticket gives it away.
#[tokio::test]
async fn what_is_foreign_stays_byte_for_byte_until_a_ticket_gives_it_away() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let fills = [
        ("ext4", "mkfs.ext4", "mkfs.ext4 -q -L photos DISK"),
        ("swap", "mkswap", "mkswap DISK"),
        ("luks", "cryptsetup", "echo x | cryptsetup luksFormat -q --pbkdf pbkdf2 --iter-time 10 DISK -"),
        ("gpt", "sfdisk", "printf 'label: gpt\\n,20M\\n' | sfdisk -q DISK"),
        ("random", "dd", "dd if=/dev/urandom of=DISK bs=1M count=4 status=none"),
        ("unknown", "dd", "yes piccolo | dd of=DISK bs=4096 count=9 seek=1 status=none iflag=fullblock"),
        ("end", "dd", "yes end | dd of=DISK bs=4096 count=1 seek=24000 status=none iflag=fullblock"),
    ];
    let mut rows = 0;
    for (name, program, fill) in fills {
        if !exists(program) {
            eprintln!("skipped: there is no {program}");
            continue;
        }
        let device = room.plug(name, |it| drop(done(&["sh", "-c", &fill.replace("DISK", it)])));
        let before = room.sum(name);
        let spec = room.spec(name, Filesystem::Ext4);
        let drives = room.drives();
        let serial = spec.select.serial.clone().unwrap();
        let with = |wipe: &str| DiskSpec { wipe: Some(wipe.to_owned()), ..spec.clone() };
        let adopting = DiskSpec { adopt: Some("00000000-1111-2222-3333-444444444444".to_owned()), ..spec.clone() };
        for (spec, reason) in [
            (spec.clone(), "DiskNotBlank"),
            (adopting, "NothingToAdopt"),
            (with("wipe-0123456789abcdef01234567"), "DiskNotBlank"),
        ] {
            assert_eq!(settle(&drives, &wanted(&[("it", &spec)])).await.as_deref(), Some(reason), "{name}");
            assert_eq!(room.sum(name), before, "{name}: bytes changed");
            rows += 1;
        }
        assert!(drives.wipe_ticket(&serial, "another").await.is_err());
        let (_, old) = drives.wipe_ticket(&serial, &serial).await.unwrap();
        // Another thing comes onto the disk: the ticket is worth nothing.
        done(&[
            "sh",
            "-c",
            &format!(
                "printf x | dd of={device} bs=1 seek=50000000 status=none; mkswap -q {device} 2>/dev/null || mkswap {device}"
            ),
        ]);
        if name != "swap" {
            let changed = room.sum(name);
            let reason = settle(&drives, &wanted(&[("it", &with(&old.ticket))])).await;
            assert_eq!(reason.as_deref(), Some("DiskNotBlank"), "{name}");
            assert_eq!(room.sum(name), changed, "{name}: bytes changed");
            rows += 1;
        }
        let (_, ticket) = drives.wipe_ticket(&serial, &serial).await.unwrap();
        let planned = plan(&drives, &wanted(&[("it", &with(&ticket.ticket))])).await;
        assert!(planned.steps[0].to_string().contains(&ticket.ticket), "{name}");
        assert_eq!(settle(&drives, &wanted(&[("it", &with(&ticket.ticket))])).await, None, "{name}");
        assert!(fs::write(format!("{}/new", spec.mount.clone().unwrap()), "").is_ok(), "{name}");
        settle(&drives, &wanted(&[])).await;
        // The ticket stands in the manifest for ever, and does nothing any more.
        assert_eq!(settle(&drives, &wanted(&[("it", &with(&ticket.ticket))])).await, None, "{name}");
        assert!(Path::new(&spec.mount.clone().unwrap()).join("new").exists(), "{name}: formatted once more");
        settle(&drives, &wanted(&[])).await;
    }
    eprintln!("{rows} rows without a ticket that holds, not one byte changed");
}

#[tokio::test]
async fn what_is_adopted_is_used_as_it_is() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let uuid = "6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21";
    room.plug("old", |it| drop(done(&["mkfs.ext4", "-q", "-U", uuid, "-L", "photos", it])));
    let drives = room.drives();
    let spec = DiskSpec { adopt: Some(uuid.to_owned()), ..room.spec("old", Filesystem::Ext4) };
    assert_eq!(settle(&drives, &wanted(&[("old", &spec)])).await, None);
    assert!(Path::new(&spec.mount.clone().unwrap()).join("lost+found").exists());
    let label = done(&["blkid", "-p", "-o", "value", "-s", "LABEL", &room.loops[0]]);
    assert_eq!(label, "photos");
}

#[tokio::test]
async fn a_disk_in_use_is_left_alone_whatever_a_ticket_says() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("busy", |it| drop(done(&["mkfs.ext4", "-q", it])));
    let drives = room.drives();
    let spec = room.spec("busy", Filesystem::Ext4);
    let serial = spec.select.serial.clone().unwrap();
    let (_, ticket) = drives.wipe_ticket(&serial, &serial).await.unwrap();
    let with = DiskSpec { wipe: Some(ticket.ticket), ..spec };
    let planned = plan(&drives, &wanted(&[("it", &with)])).await;
    // It is mounted between the plan and the step.
    let other = room.path("other");
    fs::create_dir(&other).unwrap();
    done(&["mount", &device, other.to_str().unwrap()]);
    let error = Disks(Arc::clone(&drives)).apply(&planned.steps[0]).await.unwrap_err();
    assert_eq!(error.reason.as_str(), "InUse", "{error}");
    assert_eq!(settle(&drives, &wanted(&[("it", &with)])).await.as_deref(), Some("DiskInUse"));
    assert!(other.join("lost+found").exists());
    assert!(drives.wipe_ticket(&serial, &serial).await.is_err());
}

/// Broken off at any moment, a making goes on or is refused; the disk beside it keeps every byte.
#[tokio::test]
async fn a_making_that_is_broken_off_goes_on_or_is_refused() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = room.sum("neighbour");
    let (mut gone_on, mut refused) = (0, 0);
    for (number, milliseconds) in [0, 20, 40, 60, 80, 100, 120, 140, 170, 200, 250, 300].into_iter().enumerate() {
        for has_ticket in [false, true] {
            let name = format!("disk-{number}-{has_ticket}");
            room.plug(&name, |it| {
                if has_ticket {
                    done(&["mkfs.ext4", "-q", "-L", "old", it]);
                }
            });
            let (drives, mut spec) = (room.drives(), room.spec(&name, Filesystem::Ext4));
            let serial = spec.select.serial.clone().unwrap();
            if has_ticket {
                spec.wipe = Some(drives.wipe_ticket(&serial, &serial).await.unwrap().1.ticket);
            }
            let planned = plan(&drives, &wanted(&[("it", &spec)])).await;
            let reconciler = Disks(Arc::clone(&drives));
            let time = std::time::Duration::from_millis(milliseconds);
            drop(tokio::time::timeout(time, reconciler.apply(&planned.steps[0])).await);
            // A new daemon; what the old one was about to write is written or not.
            let drives = room.drives();
            match settle(&drives, &wanted(&[("it", &spec)])).await.as_deref() {
                None => gone_on += 1,
                Some("HalfMade" | "DiskNotBlank") => refused += 1,
                Some(other) => panic!("{name}: {other}"),
            }
            assert_eq!(settle(&drives, &wanted(&[])).await, None, "{name}");
            assert_eq!(room.sum("neighbour"), neighbour, "{name}");
        }
    }
    eprintln!("{gone_on} makings went on, {refused} were refused");
}

/// A daemon that is kept from devices has others touch them, and all is as if it did so itself.
#[tokio::test]
async fn a_daemon_in_bounds_keeps_disks_by_others_hands() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    room.plug("blank", |_| {});
    room.plug("old", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let (drives, before) = (room.drives_outside(), room.sum("old"));
    let (blank, old) = (room.spec("blank", Filesystem::Ext4), room.spec("old", Filesystem::Ext4));
    let both = wanted(&[("blank", &blank), ("old", &old)]);
    assert_eq!(settle(&drives, &both).await.as_deref(), Some("DiskNotBlank"));
    assert_eq!(room.sum("old"), before, "bytes changed");
    let at = blank.mount.clone().unwrap();
    fs::write(format!("{at}/film"), "a film").unwrap();
    // An error comes back as it was, with its reason.
    let serial = old.select.serial.clone().unwrap();
    let error = drives.wipe_ticket(&serial, "another").await.unwrap_err();
    assert!(error.message.contains("is not the serial number"), "{error}");
    let (_, ticket) = drives.wipe_ticket(&serial, &serial).await.unwrap();
    let with = DiskSpec { wipe: Some(ticket.ticket), ..old };
    assert_eq!(settle(&drives, &wanted(&[("blank", &blank), ("old", &with)])).await, None);
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert!(!run(&["findmnt", &at]).status.success(), "it is still mounted");
    // The next daemon has no bounds, and finds what the other one left.
    assert_eq!(settle(&room.drives(), &wanted(&[("blank", &blank)])).await, None);
    assert_eq!(fs::read_to_string(format!("{at}/film")).unwrap(), "a film");
}

#[tokio::test]
async fn who_looks_after_disks_elsewhere_and_fails_is_told() {
    let room = Room::new();
    let with = |systemd_run: &str, piccolod: &str| {
        let outside = Outside { systemd_run: systemd_run.into(), piccolod: piccolod.into(), state: room.path("state") };
        Drives::open_outside(&room.path("state"), outside)
    };
    let stand_in = format!("{}/tests/support/systemd-run", env!("CARGO_MANIFEST_DIR"));
    for (drives, words) in [
        (with("/no/such/program", "/bin/true"), "is not installed"),
        (with(&stand_in, "/bin/false"), "failed"),
        (with(&stand_in, "/bin/true"), "failed"),
        (with(&stand_in, "/bin/echo"), "can't be understood"),
    ] {
        let error = drives.disks().await.unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_file_system_fills_a_disk_that_has_grown() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    for (filesystem, program) in [(Filesystem::Ext4, "resize2fs"), (Filesystem::Xfs, "xfs_growfs")] {
        if !exists(program) {
            eprintln!("skipped: there is no {program}");
            continue;
        }
        if filesystem == Filesystem::Ext4 && !may(24) {
            eprintln!("skipped: ext4 grows only for who may take more than its share (CAP_SYS_RESOURCE)");
            continue;
        }
        let name = filesystem.as_str();
        let device = room.plug(name, |_| {});
        let size = filesystem.least() + SIZE;
        let resize = |size: u64| {
            fs::OpenOptions::new().write(true).open(room.path(name)).unwrap().set_len(size).unwrap();
            done(&["losetup", "--set-capacity", &device]);
        };
        resize(size);
        let (drives, spec) = (room.drives(), room.spec(name, filesystem));
        let at = spec.mount.clone().unwrap();
        assert_eq!(settle(&drives, &wanted(&[(name, &spec)])).await, None, "{name}");
        fs::write(format!("{at}/film"), "a film").unwrap();
        let has = || done(&["findmnt", "--noheadings", "--bytes", "--output", "SIZE", &at]).parse::<u64>().unwrap();
        let before = has();
        resize(size + SIZE);
        let planned = plan(&drives, &wanted(&[(name, &spec)])).await;
        assert!(planned.steps[0].to_string().starts_with(&format!("grow disk {name} to")), "{}", planned.steps[0]);
        assert_eq!(settle(&drives, &wanted(&[(name, &spec)])).await, None, "{name}");
        assert!(has() > before + SIZE / 2, "{name}: {} after {before}", has());
        assert_eq!(fs::read_to_string(format!("{at}/film")).unwrap(), "a film");
        assert_eq!(settle(&drives, &wanted(&[])).await, None, "{name}");
        assert_eq!(settle(&drives, &wanted(&[(name, &spec)])).await, None, "{name}: it is not found again");
        settle(&drives, &wanted(&[])).await;
    }
}

/// Returns true if this machine has all that btrfs needs.
fn knows_btrfs() -> bool {
    let kernel = fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("btrfs"));
    let knows = kernel && exists("mkfs.btrfs");
    if !knows {
        eprintln!("skipped: there is no btrfs");
    }
    knows
}

#[tokio::test]
async fn a_scrub_finds_what_went_bad_and_is_not_begun_twice() {
    if can_not() || !knows_btrfs() {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("album", |_| {});
    let image = room.path("album");
    fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(4 * SIZE).unwrap();
    done(&["losetup", "--set-capacity", &device]);
    let (drives, spec) = (room.drives(), room.spec("album", Filesystem::Btrfs));
    let wanted_now = wanted(&[("album", &spec)]);
    assert_eq!(settle(&drives, &wanted_now).await, None);
    fs::write(format!("{}/film", spec.mount.clone().unwrap()), "a film ".repeat(100_000)).unwrap();
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    // The disk forgets some of it.
    let bytes = fs::read(&image).unwrap();
    let at = bytes.windows(14).position(|it| it == b"a film a film ").unwrap();
    fs::OpenOptions::new().write(true).open(&image).unwrap().write_all_at(&[0; 4096], at as u64).unwrap();
    done(&["blockdev", "--flushbufs", &device]);
    assert_eq!(settle(&drives, &wanted_now).await, None);
    // The month is over.
    let book = room.path("state").join("disks/book.json");
    let mut page: serde_json::Value = serde_json::from_slice(&fs::read(&book).unwrap()).unwrap();
    page["scrubbed"]["album"] = "2020-01-01T00:00:00Z".into();
    fs::write(&book, page.to_string()).unwrap();
    let planned = plan(&drives, &wanted_now).await;
    assert!(planned.steps[0].to_string().starts_with("scrub disk album at"), "{}", planned.steps[0]);
    assert_eq!(settle(&drives, &wanted_now).await, None);
    let ended = async {
        loop {
            let seen = drives.disks().await.unwrap();
            if seen.mounts[0].scrub.as_ref().is_some_and(|it| it.ended) {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(30), ended).await.unwrap();
    assert!(seen.mounts[0].scrub.as_ref().unwrap().lost > 0, "{:?}", seen.mounts[0].scrub);
    let notes = Disks::<Drives>::notes(&wanted_now.manifests, &seen);
    assert!(notes[0].iter().any(|it| it.name == "DiskDamaged" && it.reason == "Unmended"), "{notes:?}");
    assert!(plan(&drives, &wanted_now).await.steps.is_empty(), "it is scrubbed once more");
    settle(&drives, &wanted(&[])).await;
}

impl Room {
    /// Plugs a disk in that is as large as btrfs likes it.
    fn plug_large(&mut self, name: &str) -> String {
        let device = self.plug(name, |_| {});
        fs::OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(4 * SIZE).unwrap();
        done(&["losetup", "--set-capacity", &device]);
        device
    }

    /// Pulls a disk out, and returns what plugs it in again.
    fn pull(&mut self, device: &str) {
        done(&["losetup", "--detach", device]);
        self.loops.retain(|it| it != device);
        // Whoever looks at it just now keeps it for that long.
        let backing = format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
        let begun = std::time::Instant::now();
        while Path::new(&backing).exists() && begun.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn plug_again(&mut self, name: &str) -> String {
        let device = done(&["losetup", "--find", "--show", self.path(name).to_str().unwrap()]);
        self.loops.push(device.clone());
        device
    }

    /// Mounts one half alone, as another machine does, and does something with it.
    fn elsewhere(&self, device: &str, options: &str, work: impl FnOnce(&Path)) {
        let at = self.path("elsewhere");
        fs::create_dir_all(&at).unwrap();
        done(&["btrfs", "device", "scan", "--forget"]);
        done(&["mount", "-t", "btrfs", "-o", options, device, at.to_str().unwrap()]);
        work(&at);
        done(&["umount", at.to_str().unwrap()]);
    }
}

/// Plans and applies until both halves are whole and hold everything.
async fn whole(drives: &Arc<Drives>, desired: &Desired<Disk>) {
    let both = async {
        loop {
            assert_eq!(settle(drives, desired).await, None);
            let pair = drives.disks().await.unwrap().mounts[0].pair.clone().unwrap();
            if pair.lacks.is_none() && pair.rebuilt.is_none() && !pair.uneven && !pair.moves {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.unwrap();
    assert_eq!(settle(drives, desired).await, None);
}

#[tokio::test]
async fn two_disks_hold_the_same_and_a_lost_half_is_filled_anew() {
    if can_not() || !knows_btrfs() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = room.sum("neighbour");
    let (one, two) = (room.plug_large("one"), room.plug_large("two"));
    let drives = room.drives();
    let second = room.spec("two", Filesystem::Btrfs).select;
    let mirror = |wipe: Option<String>, degraded| Some(Mirror { select: second.clone(), wipe, degraded });
    let spec = DiskSpec { mirror: mirror(None, false), ..room.spec("one", Filesystem::Btrfs) };
    let (careful, bold) =
        (wanted(&[("album", &spec)]), wanted(&[("album", &DiskSpec { mirror: mirror(None, true), ..spec.clone() })]));
    let (by_ticket, at) =
        (|ticket| DiskSpec { mirror: mirror(ticket, false), ..spec.clone() }, spec.mount.clone().unwrap());
    let serial = second.serial.clone().unwrap();
    let by_ticket = |ticket: &str| wanted(&[("album", &by_ticket(Some(ticket.to_owned())))]);
    whole(&drives, &careful).await;
    assert!(done(&["btrfs", "filesystem", "df", &at]).contains("Data, RAID1"));
    fs::write(format!("{at}/film"), "a film").unwrap();
    // The second is in use though the kernel names the first alone.
    assert!(drives.wipe_ticket(&serial, &serial).await.is_err());
    // The machine is started with one of them.
    done(&["umount", &at]);
    room.pull(&two);
    assert_eq!(settle(&drives, &careful).await.as_deref(), Some("HalfMissing"));
    assert_eq!(settle(&drives, &bold).await, None);
    let seen = drives.disks().await.unwrap();
    let notes = Disks::<Drives>::notes(&bold.manifests, &seen).remove(0);
    assert!(notes.iter().any(|it| it.name == "DiskDegraded" && it.message.contains(&serial)), "{notes:?}");
    fs::write(format!("{at}/later"), "another ".repeat(300_000)).unwrap();
    // The other one is back, and is out of date.
    let two = room.plug_again("two");
    assert!(plan(&drives, &careful).await.steps[0].to_string().starts_with("fill a half of disk album anew"));
    whole(&drives, &careful).await;
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    room.elsewhere(&two, "ro,degraded", |at| {
        assert_eq!(fs::read_to_string(at.join("film")).unwrap(), "a film");
        assert_eq!(fs::read_to_string(at.join("later")).unwrap().len(), 2_400_000);
    });
    // Each is written to without the other.
    for (device, times) in [(&one, 3), (&two, 1)] {
        room.elsewhere(device, "degraded", |at| {
            for number in 0..times {
                fs::write(at.join("apart"), format!("{device} {number}")).unwrap();
                done(&["btrfs", "filesystem", "sync", at.to_str().unwrap()]);
            }
        });
    }
    done(&["btrfs", "device", "scan", "--forget"]);
    let before = (room.sum("one"), room.sum("two"));
    for desired in [&careful, &bold] {
        assert_eq!(settle(&drives, desired).await.as_deref(), Some("HalvesApart"));
    }
    assert_eq!((room.sum("one"), room.sum("two")), before, "bytes changed");
    // Their owner gives one away.
    let (_, ticket) = drives.wipe_ticket(&serial, &serial).await.unwrap();
    whole(&drives, &by_ticket(&ticket.ticket)).await;
    assert!(fs::read_to_string(format!("{at}/apart")).unwrap().starts_with(&one));
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert_eq!(room.sum("neighbour"), neighbour, "bytes of the disk beside them changed");
}

/// Waits until a program that was killed holds a disk no longer.
fn let_go(device: &str) {
    const EXCLUSIVE: i32 = 0o200;
    let opens = || fs::OpenOptions::new().read(true).custom_flags(EXCLUSIVE).open(device).is_ok();
    let held_for = std::time::Instant::now();
    while !opens() && held_for.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Broken off at any moment, the making of two goes on or is refused; the disk beside them keeps every byte.
#[tokio::test]
async fn a_making_on_two_disks_that_is_broken_off_goes_on_or_is_refused() {
    if can_not() || !knows_btrfs() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = room.sum("neighbour");
    let (mut gone_on, mut refused) = (0, 0);
    for (number, milliseconds) in [0, 60, 150].into_iter().enumerate() {
        let names = [format!("one-{number}"), format!("two-{number}")];
        let devices = [room.plug_large(&names[0]), room.plug_large(&names[1])];
        let mirror = Mirror { select: room.spec(&names[1], Filesystem::Btrfs).select, ..Mirror::default() };
        let spec = DiskSpec { mirror: Some(mirror), ..room.spec(&names[0], Filesystem::Btrfs) };
        let (drives, desired) = (room.drives(), wanted(&[("it", &spec)]));
        let planned = plan(&drives, &desired).await;
        let reconciler = Disks(Arc::clone(&drives));
        let time = std::time::Duration::from_millis(milliseconds);
        drop(tokio::time::timeout(time, reconciler.apply(&planned.steps[0])).await);
        devices.iter().for_each(|device| let_go(device));
        let drives = room.drives();
        match settle(&drives, &desired).await.as_deref() {
            None => gone_on += 1,
            Some("HalfMade" | "DiskNotBlank") => refused += 1,
            Some(other) => panic!("after {milliseconds} ms: {other}"),
        }
        assert_eq!(settle(&drives, &wanted(&[])).await, None);
        assert_eq!(room.sum("neighbour"), neighbour);
        devices.iter().for_each(|device| room.pull(device));
    }
    eprintln!("{gone_on} makings went on, {refused} were refused");
}

#[tokio::test]
async fn containers_are_told_whether_their_disk_is_there() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("films", |_| {});
    let (drives, spec) = (room.drives(), room.spec("films", Filesystem::Ext4));
    let at = spec.mount.clone().unwrap();
    let places = GroundPlaces { disks: [("films".to_owned(), at.clone())].into(), ..GroundPlaces::default() };
    let (tell, told) = tokio::sync::watch::channel(places);
    let footing = Footing::open(&room.path("state"), told);
    let is_there = || footing.grounds().iter().map(|it| it.mounted).collect::<Vec<_>>();
    assert_eq!(is_there(), [false]);
    settle(&drives, &wanted(&[("films", &spec)])).await;
    assert_eq!(is_there(), [true]);
    done(&["umount", &device]);
    assert_eq!(is_there(), [false]);
    settle(&drives, &wanted(&[("films", &spec)])).await;
    assert_eq!(is_there(), [true]);
    // The kernel called it otherwise when it was written down.
    let book = room.path("state").join("disks/book.json");
    let named = format!("\"{}\"", device.trim_start_matches("/dev/"));
    let text = fs::read_to_string(&book).unwrap();
    assert!(text.contains(&named));
    fs::write(&book, text.replace(&named, "\"sdz\"")).unwrap();
    assert_eq!(is_there(), [false]);
    settle(&drives, &wanted(&[("films", &spec)])).await;
    assert_eq!(is_there(), [true]);
    // Its manifest is broken, or gone, and it is still there.
    tell.send_replace(GroundPlaces::default());
    assert_eq!(is_there(), [true]);
    settle(&drives, &wanted(&[])).await;
    assert_eq!(is_there(), Vec::<bool>::new());
}

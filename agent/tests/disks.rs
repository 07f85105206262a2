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

#[path = "disks/foreign.rs"]
mod foreign;
#[path = "disks/killed.rs"]
mod killed;
#[path = "support/loops.rs"]
mod loops;
#[path = "disks/mirrored.rs"]
mod mirrored;
#[path = "disks/parted.rs"]
mod parted;
#[path = "disks/room.rs"]
mod room;
#[path = "disks/scrubbed.rs"]
mod scrubbed;
#[path = "support/skip.rs"]
mod skip;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use piccolo_agent::{
    host::{
        Disks as _, GroundPlaces, Grounds as _,
        linux::{Drives, Footing, Outside},
    },
    reconcile::{Reconciler, disk::Disks},
};
use piccolo_schema::{DiskSpec, disk::Filesystem};
use room::{Room, SIZE, broken_off, can_not, done, exists, may, plan, run, settle, wanted};
use skip::skipped;

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
            skipped(format_args!("there is no {program}"));
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
    let (mut disks, mut rows) = (0, 0);
    // Another disk may be erased. That ticket is for no disk but that.
    room.plug("another", |it| drop(done(&["mkswap", it])));
    let another = room.spec("another", Filesystem::Ext4).select.serial.unwrap();
    let (_, given) = room.drives().wipe_ticket(&another, &another).await.unwrap();
    let mut refused = async |room: &Room, name: &str, spec: &DiskSpec, reason: &str| {
        let before = room.sum(name);
        assert_eq!(settle(&room.drives(), &wanted(&[("it", spec)])).await.as_deref(), Some(reason), "{name}");
        assert_eq!(room.sum(name), before, "{name}: bytes changed");
        rows += 1;
    };
    for (name, program, fill) in fills {
        if !exists(program) {
            skipped(format_args!("there is no {program}"));
            continue;
        }
        let device = room.plug(name, |it| drop(done(&["sh", "-c", &fill.replace("DISK", it)])));
        let spec = room.spec(name, Filesystem::Ext4);
        let drives = room.drives();
        let serial = spec.select.serial.clone().unwrap();
        let with = |wipe: &str| DiskSpec { wipe: Some(wipe.to_owned()), ..spec.clone() };
        let adopting = DiskSpec { adopt: Some("00000000-1111-2222-3333-444444444444".to_owned()), ..spec.clone() };
        refused(&room, name, &spec, "DiskNotBlank").await;
        refused(&room, name, &adopting, "NothingToAdopt").await;
        refused(&room, name, &with("wipe-0123456789abcdef01234567"), "DiskNotBlank").await;
        refused(&room, name, &with(&given.ticket), "DiskNotBlank").await;
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
            refused(&room, name, &with(&old.ticket), "DiskNotBlank").await;
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
        // Not for what comes there later either.
        done(&["mkswap", "--force", &device]);
        refused(&room, name, &with(&ticket.ticket), "DiskNotBlank").await;
        disks += 1;
    }
    assert!(rows >= 5 * disks && disks > 0, "{rows} rows on {disks} disks");
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
            let device = room.plug(&name, |it| {
                if has_ticket {
                    done(&["mkfs.ext4", "-q", "-L", "old", it]);
                }
            });
            let (drives, mut spec) = (room.drives(), room.spec(&name, Filesystem::Ext4));
            let serial = spec.select.serial.clone().unwrap();
            if has_ticket {
                spec.wipe = Some(drives.wipe_ticket(&serial, &serial).await.unwrap().1.ticket);
            }
            match broken_off(&room, &wanted(&[("it", &spec)]), milliseconds, std::slice::from_ref(&device)).await {
                true => gone_on += 1,
                false => refused += 1,
            }
            assert_eq!(room.sum("neighbour"), neighbour, "{name}");
            room.pull(&device);
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
        Drives::open_outside(&room.path("state"), outside, None)
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
            skipped(format_args!("there is no {program}"));
            continue;
        }
        if filesystem == Filesystem::Ext4 && !may(24) {
            skipped("ext4 grows only for who may take more than its share (CAP_SYS_RESOURCE)");
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

//! Disks that hold the same.

use std::{fs, sync::Arc};

use piccolo_agent::{
    host::{Disks as _, linux::Drives},
    reconcile::{Reconciler as _, disk::Disks},
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Filesystem, Mirror},
};

use crate::room::{Room, broken_off, can_not, done, knows_btrfs, plan, settle, wanted};

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
        match broken_off(&room, &wanted(&[("it", &spec)]), milliseconds, &devices).await {
            true => gone_on += 1,
            false => refused += 1,
        }
        assert_eq!(room.sum("neighbour"), neighbour);
        devices.iter().for_each(|device| room.pull(device));
    }
    eprintln!("{gone_on} makings went on, {refused} were refused");
}

//! Disks with partitions of their own.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use piccolo_agent::{
    host::{Disks as _, parted::table_id},
    reconcile::{Reconciler as _, disk::Disks},
};
use piccolo_schema::{
    DiskSpec,
    disk::{Filesystem, Partition},
    quantity::Bytes,
};

use crate::loops::forget_partitions;
use crate::room::{Room, SIZE, broken_off, can_not, done, exists, may, plan, run, settle, wanted};
use crate::skip::skipped;

const MEBIBYTE: u64 = 1 << 20;

/// Lets go of the partitions of a disk.
pub(super) fn leave(device: &str) {
    for number in 1..4 {
        let part = format!("{device}p{number}");
        if Path::new(&part).exists() {
            run(&["umount", &part]);
            run(&["swapoff", &part]);
        }
    }
    forget_partitions(device);
}

fn part(name: &str, size: Option<u64>, filesystem: Filesystem, mount: Option<String>) -> Partition {
    let size = size.map(|it| Bytes::new(it * MEBIBYTE));
    Partition { name: name.to_owned(), size, filesystem: Some(filesystem), mount, ..Partition::default() }
}

/// Films, swap, and the rest.
fn spec(room: &Room, disk: &str) -> DiskSpec {
    let at = |place: &str| Some(room.path(&format!("{disk}-{place}")).display().to_string());
    let partitions = vec![
        part("films", Some(30), Filesystem::Ext4, at("films")),
        part("room", Some(8), Filesystem::Swap, None),
        part("rest", None, Filesystem::Ext4, at("rest")),
    ];
    DiskSpec { mount: None, partitions, ..room.spec(disk, Filesystem::Ext4) }
}

/// A name that no other test has: a table is known by the name of its manifest, and disks are seen by all.
fn manifest(room: &Room) -> String {
    let random = room.dir.path().file_name().unwrap().to_string_lossy().into_owned();
    random.trim_start_matches("piccolo-disks-").to_lowercase().replace('_', "-")
}

fn can_not_part() -> bool {
    let lacks = can_not() || !["sfdisk", "partx", "mkswap"].into_iter().all(exists);
    if lacks {
        skipped("something is missing that partitions are made with");
    }
    lacks
}

/// As the kernel finds it once the disk is plugged in anew. Not every one looks for partitions of files.
fn plug_again(room: &mut Room, disk: &str, device: &str) -> String {
    leave(device);
    room.pull(device);
    let device = room.plug_again(disk);
    run(&["partx", "--add", &device]);
    device
}

#[tokio::test]
async fn a_blank_disk_is_parted_mounted_and_let_go() {
    if can_not_part() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = room.sum("neighbour");
    let device = room.plug("it", |_| {});
    let (drives, spec) = (room.drives(), spec(&room, "it"));
    let desired = wanted(&[(&*manifest(&room), &spec)]);
    let planned = plan(&drives, &desired).await;
    let words = "into films (ext4, 31.4 MB), room (swap, 8.3 MB), rest (ext4, 58.7 MB)";
    assert!(planned.steps[0].to_string().contains(words), "{}", planned.steps[0]);
    assert_eq!(settle(&drives, &desired).await, None);
    let [films, rest] = [0, 2].map(|number| spec.partitions[number].mount.clone().unwrap());
    fs::write(format!("{films}/film"), "a film").unwrap();
    fs::write(format!("{rest}/other"), "another").unwrap();
    assert!(fs::read_to_string("/proc/swaps").unwrap().contains(&format!("{device}p2")));
    let told = Disks::<piccolo_agent::host::linux::Drives>::report(&desired.manifests, &drives.disks().await.unwrap());
    assert!(told[0].ready, "{told:?}");
    assert_eq!(told[0].fields["partitions"][1]["size"], "8Mi");
    // The name and the GUID stand where other programs see them.
    let table = done(&["sfdisk", "--json", &device]).to_lowercase();
    assert!(table.contains(&table_id(&manifest(&room))) && table.contains("\"name\": \"films\""), "{table}");
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert!(!run(&["findmnt", &films]).status.success(), "it is still mounted");
    // Another machine, that remembers nothing: the table tells whose it is.
    fs::remove_dir_all(room.path("state")).unwrap();
    plug_again(&mut room, "it", &device);
    let before = room.sum("it");
    let drives = room.drives();
    let other = DiskSpec { partitions: spec.partitions[..1].to_vec(), ..spec.clone() };
    for (name, spec, reason) in
        [("other", &spec, "DiskNotBlank"), (&*manifest(&room), &room.spec("it", Filesystem::Ext4), "DiskNotBlank")]
    {
        assert_eq!(settle(&drives, &wanted(&[(name, spec)])).await.as_deref(), Some(reason));
        assert_eq!(room.sum("it"), before, "bytes changed");
    }
    assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &other)])).await.as_deref(), Some("LayoutDiffers"));
    assert!(Path::new(&films).join("film").exists(), "what fits is not mounted");
    assert_eq!(settle(&drives, &desired).await, None);
    assert_eq!(fs::read_to_string(format!("{rest}/other")).unwrap(), "another");
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert_eq!(room.sum("neighbour"), neighbour);
}

#[tokio::test]
async fn a_table_of_others_is_kept_adopted_or_given_away() {
    if can_not_part() {
        return;
    }
    let mut room = Room::new();
    let id = "aaaaaaaa-2222-4333-8444-555555555501";
    let script = format!(
        "label: gpt\\nlabel-id: {id}\\nsize=30MiB, name=films\\nsize=8MiB, name=room\\nsize=40MiB, name=rest\\n"
    );
    let device = room.plug("it", |it| {
        done(&["sh", "-c", &format!("printf '{script}' | sfdisk -q --no-tell-kernel {it}")]);
        done(&["partx", "--update", it]);
        done(&["mkfs.ext4", "-q", &format!("{it}p1")]);
        done(&["mkswap", &format!("{it}p2")]);
        done(&["mkfs.ext4", "-q", &format!("{it}p3")]);
        (1..4).for_each(|number| drop(done(&["blockdev", "--flushbufs", &format!("{it}p{number}")])));
    });
    let (drives, spec) = (room.drives(), spec(&room, "it"));
    let serial = spec.select.serial.clone().unwrap();
    let before = room.sum("it");
    let adopting = |id: &str| DiskSpec { adopt: Some(id.to_owned()), ..spec.clone() };
    let none = "bbbbbbbb-2222-4333-8444-555555555501";
    for (spec, reason) in [(spec.clone(), "DiskNotBlank"), (adopting(none), "NothingToAdopt")] {
        assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &spec)])).await.as_deref(), Some(reason));
        assert_eq!(room.sum("it"), before, "bytes changed");
    }
    assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &adopting(id))])).await, None);
    assert!(Path::new(&spec.partitions[0].mount.clone().unwrap()).join("lost+found").exists());
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    assert!(done(&["sfdisk", "--json", &device]).to_lowercase().contains(id), "the table was written");
    let (_, ticket) = drives.wipe_ticket(&serial, &serial).await.unwrap();
    let with = DiskSpec { wipe: Some(ticket.ticket), ..spec.clone() };
    assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &with)])).await, None);
    fs::write(Path::new(&spec.partitions[0].mount.clone().unwrap()).join("new"), "").unwrap();
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    // The ticket stands in the manifest for ever, and does nothing any more.
    assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &with)])).await, None);
    assert!(Path::new(&spec.partitions[0].mount.clone().unwrap()).join("new").exists(), "parted once more");
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
}

#[tokio::test]
async fn the_last_partition_grows_with_its_disk() {
    // Growing while mounted wants CAP_SYS_RESOURCE.
    if can_not_part() || !may(24) {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("it", |_| {});
    let (drives, spec) = (room.drives(), spec(&room, "it"));
    let desired = wanted(&[(&*manifest(&room), &spec)]);
    assert_eq!(settle(&drives, &desired).await, None);
    let rest = spec.partitions[2].mount.clone().unwrap();
    fs::write(format!("{rest}/other"), "another").unwrap();
    let size = || done(&["findmnt", "--noheadings", "--bytes", "--output", "SIZE", &rest]).parse::<u64>().unwrap();
    let before = size();
    fs::OpenOptions::new().write(true).open(room.path("it")).unwrap().set_len(2 * SIZE).unwrap();
    done(&["losetup", "--set-capacity", &device]);
    assert_eq!(settle(&drives, &desired).await, None);
    assert!(size() > before + SIZE * 3 / 4, "{before} became {}", size());
    assert_eq!(fs::read_to_string(format!("{rest}/other")).unwrap(), "another");
    assert!(run(&["sfdisk", "--verify", &device]).status.success(), "the table is not sound");
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
    done(&["e2fsck", "-f", "-n", &format!("{device}p3")]);
}

/// Broken off at any moment, a parting goes on or is refused; the disk beside it keeps every byte.
#[tokio::test]
async fn a_parting_that_is_broken_off_goes_on_or_is_refused() {
    if can_not_part() {
        return;
    }
    let mut room = Room::new();
    room.plug("neighbour", |it| drop(done(&["mkfs.ext4", "-q", "-L", "photos", it])));
    let neighbour = room.sum("neighbour");
    let (mut gone_on, mut refused) = (0, 0);
    for (number, milliseconds) in [0, 30, 60, 90, 120, 160, 200, 300].into_iter().enumerate() {
        let name = format!("disk-{number}");
        let device = room.plug(&name, |_| {});
        let spec = spec(&room, &name);
        let desired = wanted(&[(&*manifest(&room), &spec)]);
        match broken_off(&room, &desired, milliseconds, std::slice::from_ref(&device)).await {
            true => gone_on += 1,
            false => refused += 1,
        }
        assert_eq!(room.sum("neighbour"), neighbour);
        leave(&device);
        room.pull(&device);
    }
    eprintln!("{gone_on} partings went on, {refused} were refused");
}

/// A partition of another size, and one that is not there: nothing is written, and what fits is used.
#[tokio::test]
async fn a_layout_that_differs_is_told_and_never_written() {
    if can_not_part() {
        return;
    }
    let mut room = Room::new();
    let device = room.plug("it", |_| {});
    let (drives, spec) = (room.drives(), spec(&room, "it"));
    assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &spec)])).await, None);
    let head = |room: &Room| {
        let mut head = vec![0; 1 << 20];
        fs::File::open(room.path("it")).unwrap().read_exact_at(&mut head, 0).unwrap();
        head
    };
    done(&["blockdev", "--flushbufs", &device]);
    let before = head(&room);
    let mut larger = spec.clone();
    larger.partitions[0].size = Some(Bytes::new(40 * MEBIBYTE));
    let mut more = spec.clone();
    more.partitions.insert(2, part("more", Some(8), Filesystem::Swap, None));
    for spec in [larger, more] {
        assert_eq!(settle(&drives, &wanted(&[(&*manifest(&room), &spec)])).await.as_deref(), Some("LayoutDiffers"));
        done(&["blockdev", "--flushbufs", &device]);
        assert_eq!(head(&room), before, "the table was written");
    }
    assert_eq!(settle(&drives, &wanted(&[])).await, None);
}

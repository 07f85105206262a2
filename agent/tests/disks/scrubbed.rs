//! Disks that are read from one end to the other.

use std::{fs, os::unix::fs::FileExt};

use piccolo_agent::{
    host::{Disks as _, linux::Drives},
    reconcile::{Reconciler as _, disk::Disks},
};
use piccolo_schema::disk::Filesystem;

use crate::room::{Room, SIZE, can_not, done, knows_btrfs, plan, settle, wanted};

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

//! A disk of which each partition is encrypted for itself, from its making to the day when it is let go.
#![allow(clippy::panic, reason = "a test that can't go on has failed")]

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{Disks as _, DisksView, fake::FakeEngine},
    reconcile::disk::Disks,
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem, Selector, Tpm2},
};

use crate::{
    DISK, SERIALS,
    happenings::blank_disk,
    support::{self, disks::parted},
};

/// Passes after which everything has to be in place.
const PATIENCE: usize = 12;

fn spec() -> DiskSpec {
    let encryption = Encryption { tpm2: Some(Tpm2::default()), recovery: false, ..Encryption::default() };
    let select = Selector { serial: Some(SERIALS[0].to_owned()), ..Selector::default() };
    let whole = DiskSpec { select, filesystem: Filesystem::Ext4, encryption: Some(encryption), ..DiskSpec::default() };
    parted(whole, "/srv/shelf", Vec::new())
}

fn machine() -> Arc<FakeEngine> {
    let engine = Arc::new(FakeEngine::new());
    engine.plug_in(blank_disk(0), "");
    engine
}

fn shelf(spec: &DiskSpec) -> Desired<Disk> {
    Desired::complete(vec![Disk::new("shelf", spec.clone())])
}

fn pass(engine: &Arc<FakeEngine>, desired: &Desired<Disk>) -> bool {
    support::pass(&Disks(Arc::clone(engine)), desired)
}

/// Passes until nothing is to be done, and returns all that was, with what is waited for.
fn settle(engine: &Arc<FakeEngine>, desired: &Desired<Disk>) -> Vec<String> {
    let mut words = Vec::new();
    for _ in 0..PATIENCE {
        let plan = support::plan(&Disks(Arc::clone(engine)), desired).unwrap();
        words.extend(plan.steps.iter().map(ToString::to_string));
        if pass(engine, desired) {
            words.extend(plan.waiting.into_iter().map(|it| it.reason));
            return words;
        }
    }
    panic!("does not settle: {words:?}");
}

fn seen(engine: &Arc<FakeEngine>) -> DisksView {
    engine.disks().now_or_never().unwrap().unwrap()
}

fn open_ones(engine: &Arc<FakeEngine>) -> usize {
    seen(engine).disks[0].open_parts().count()
}

#[test]
fn encrypted_partitions_are_made_opened_locked_grown_and_let_go() {
    let (engine, spec) = (machine(), spec());
    let made =
        "part disk shelf into room (encrypted swap, 1 MB), data (encrypted ext4, 7.9 GB) (A1, 8 GB, with nothing)";
    let opened = ["open disk shelf/room with a new key, and make swap inside", "open disk shelf/data"];
    let used = ["use disk shelf/room as swap", "mount disk shelf/data at /srv/shelf (nodev,nosuid)"];
    let words = settle(&engine, &shelf(&spec));
    assert_eq!(words, [&[made][..], &opened, &used].concat());
    // Nothing opens the one that keeps something, and the other is used all the same.
    engine.lose_mounts();
    engine.jam_locks(true);
    let words = settle(&engine, &shelf(&spec));
    assert_eq!(words, [opened[0], opened[1], used[0], "DiskLocked"]);
    engine.jam_locks(false);
    assert_eq!(settle(&engine, &shelf(&spec)), [opened[1], used[1]]);
    // The last one fills what the disk has more, and its neighbour stays where it is.
    engine.change_disk(0, |it| it.identity.size = 3 * DISK);
    assert_eq!(settle(&engine, &shelf(&spec)), ["grow disk shelf/data to 11.9 GB"]);
    // Another way in is asked for, and the one before goes.
    let mut other = spec.clone();
    other.encryption.as_mut().unwrap().tpm2.as_mut().unwrap().pcrs = vec![4];
    let keys = ["let the TPM (registers 4) open", "let the TPM (registers 7) in slot 0 open"];
    let words = settle(&engine, &shelf(&other));
    assert_eq!(words, [format!("{} disk shelf/data", keys[0]), format!("{} disk shelf/data no longer", keys[1])]);
    // One less is closed, and stays on the disk; so do all when the manifest goes.
    let mut less = other.clone();
    less.partitions.remove(0);
    let left = ["use disk shelf/room as swap no longer", "close disk shelf/room", "LayoutDiffers"];
    assert_eq!(settle(&engine, &shelf(&less)), left);
    assert_eq!(settle(&engine, &shelf(&other)), [opened[0], used[0]]);
    settle(&engine, &Desired::complete(Vec::new()));
    assert_eq!((open_ones(&engine), seen(&engine).unlocked.len(), seen(&engine).mounts.len()), (0, 0, 0));
    assert_eq!(settle(&engine, &shelf(&other)), [opened, used].concat());
    assert_eq!(engine.trespasses(), Vec::<String>::new());
}

#[test]
fn a_making_of_encrypted_partitions_that_is_cut_is_gone_on_with() {
    for last in 1..6 {
        let (engine, desired) = (machine(), shelf(&spec()));
        engine.break_makings_off(Some(last));
        assert!(!pass(&engine, &desired), "it broke off");
        engine.break_makings_off(None);
        // It may be the daemon alone that ended, so that what was half made is still open.
        let is_open = open_ones(&engine) > 0;
        assert_eq!(is_open, last == 4, "broken after {last}");
        let words = settle(&engine, &desired);
        assert_eq!(words[0] == "close disk shelf/data", is_open, "{words:?}");
        assert_eq!(open_ones(&engine), 2, "broken after {last}: {words:?}");
        assert_eq!(engine.trespasses(), Vec::<String>::new());
    }
}

#[test]
fn partitions_that_were_half_made_and_stayed_open_give_way_to_one_file_system() {
    let (engine, parts) = (machine(), spec());
    engine.break_makings_off(Some(4));
    assert!(!pass(&engine, &shelf(&parts)) && open_ones(&engine) == 1, "it broke off while one was open");
    engine.break_makings_off(None);
    let whole = DiskSpec { partitions: Vec::new(), mount: Some("/srv/shelf".to_owned()), ..parts };
    let words = settle(&engine, &shelf(&whole));
    assert_eq!(words[0], "close disk shelf (partition `data` of A1, 8 GB)");
    assert!(words[1].starts_with("go on to format disk shelf as encrypted ext4"), "{words:?}");
    assert_eq!(words[2..], ["open disk shelf", "mount disk shelf at /srv/shelf (nodev,nosuid)"]);
    assert_eq!(engine.trespasses(), Vec::<String>::new());
}

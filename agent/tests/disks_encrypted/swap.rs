//! Encrypted swap. Where the kernel opens nothing, what lies on the disk is looked at.

use std::{fs, io::Read as _};

use piccolo_agent::host::{DiskSeen, Disks as _, swap_label};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem},
};

use crate::{
    Room,
    mirrored::{open_ones, settle},
    plan, run,
};

/// What says on the disk what it is for.
const HEADER: usize = 16 << 20;

fn header(device: &str) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    fs::File::open(device).unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

fn swaps() -> usize {
    fs::read_to_string("/proc/swaps").unwrap_or_default().matches("/dm-").count()
}

#[tokio::test]
async fn swap_is_known_by_a_header_that_nothing_opens_and_that_no_start_writes() {
    let Some(room) = Room::open() else { return };
    let (drives, _) = room.drives();
    let kept = room.wanted().0;
    let encryption = Some(Encryption::default());
    let spec = DiskSpec { filesystem: Filesystem::Swap, mount: None, encryption, ..kept.clone() };
    let desired = |spec: &DiskSpec| Desired::complete(vec![Disk::new("room", spec.clone())]);
    let first = plan(&drives, &desired(&spec)).await;
    assert!(first.steps[0].to_string().starts_with("format disk room as encrypted swap"), "{}", first.steps[0]);
    let settled = settle(&drives, &desired(&spec)).await;
    let disk = async || -> DiskSeen {
        let seen = drives.disks().await.unwrap();
        seen.disks.into_iter().find(|it| room.device.ends_with(&it.device)).unwrap()
    };
    let seen = disk().await;
    assert_eq!(seen.whole().unwrap().label, Some(swap_label("room")));
    assert!(seen.luks[0].keys.is_empty(), "something opens it: {:?}", seen.luks[0].keys);
    let before = header(&room.device);
    if settled.is_ok() {
        // Each start makes another key, and the same swap.
        assert_eq!((swaps(), disk().await.mounted), (1, vec!["swap".to_owned()]));
        let inside = format!("/dev/mapper/{}", open_ones()[0]);
        assert!(run(&["swapoff", &inside]).status.success());
        let mut old = vec![0; 8192];
        fs::File::open(&inside).unwrap().read_exact(&mut old).unwrap();
        assert!(run(&["cryptsetup", "close", &open_ones()[0]]).status.success());
        let steps: Vec<String> = plan(&drives, &desired(&spec)).await.steps.iter().map(ToString::to_string).collect();
        assert_eq!(steps, ["open disk room with a new key, and make swap inside"]);
        assert_eq!(settle(&drives, &desired(&spec)).await, Ok(()));
        assert_eq!(swaps(), 1);
        assert_eq!(settle(&drives, &Desired::complete(Vec::new())).await, Ok(()));
        assert_eq!((swaps(), open_ones().len()), (0, 0));
    } else {
        eprintln!("as far as it goes: {settled:?}");
    }
    assert!(header(&room.device) == before, "a start wrote to the header");
    // What is kept is never taken for it, nor the other way round.
    let refused = settle(&drives, &desired(&kept)).await;
    assert_eq!(refused, Err("DiskNotBlank".to_owned()));
    assert!(header(&room.device) == before);
}

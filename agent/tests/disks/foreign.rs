//! What others leave on disks, byte for byte, where their programs are not here to make it.

use std::{fs, os::unix::fs::FileExt as _};

use piccolo_schema::{DiskSpec, disk::Filesystem};

use super::room::{Room, SIZE, can_not, settle, wanted};

/// LVM, md, ZFS, LUKS and swap are known for what they are, whatever a manifest says, and keep every byte.
#[tokio::test]
async fn the_marks_of_others_are_known_and_stay_byte_for_byte() {
    if can_not() {
        return;
    }
    let mut room = Room::new();
    let rows: [(&str, u64, Vec<u8>); 5] = [
        ("LVM2_member", 512, lvm()),
        ("linux_raid_member", 4096, md()),
        ("zfs_member", 128 << 10, zfs()),
        ("crypto_LUKS", 0, luks()),
        ("swap", 0, swap()),
    ];
    for (kind, at, bytes) in rows {
        let device = room.plug(kind, |device| {
            let disk = fs::OpenOptions::new().write(true).open(device).unwrap();
            disk.write_all_at(&bytes, at).unwrap();
            disk.sync_all().unwrap();
        });
        let before = fs::read(room.path(kind)).unwrap();
        let (drives, spec) = (room.drives(), room.spec(kind, Filesystem::Ext4));
        let view = piccolo_agent::host::Disks::disks(&*drives).await.unwrap();
        let disk = view.disks.iter().find(|it| device.ends_with(&it.device)).unwrap();
        assert!(disk.signatures.iter().any(|it| it.kind == kind), "{kind}: {:?}", disk.signatures);
        let stale = DiskSpec { wipe: Some("wipe-0123456789abcdef01234567".to_owned()), ..spec.clone() };
        let adopting = DiskSpec { adopt: Some("00000000-1111-2222-3333-444444444444".to_owned()), ..spec.clone() };
        for (spec, reason) in [(&spec, "DiskNotBlank"), (&stale, "DiskNotBlank"), (&adopting, "NothingToAdopt")] {
            assert_eq!(settle(&drives, &wanted(&[("it", spec)])).await.as_deref(), Some(reason), "{kind}");
        }
        assert!(fs::read(room.path(kind)).unwrap() == before, "{kind}: bytes changed");
        room.pull(&device);
    }
}

/// The label of a physical volume of LVM, which lies at the second sector.
fn lvm() -> Vec<u8> {
    let mut label = [0; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8..16].copy_from_slice(&1_u64.to_le_bytes());
    label[20..24].copy_from_slice(&32_u32.to_le_bytes());
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].fill(b'A');
    label[64..72].copy_from_slice(&SIZE.to_le_bytes());
    let sum = label[20..].iter().fold(0xf597_a6cf_u32, |sum, byte| {
        let turned = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        (0..8).fold(sum ^ u32::from(*byte), turned)
    });
    label[16..20].copy_from_slice(&sum.to_le_bytes());
    label.to_vec()
}

/// The superblock of a half of an md array (1.2), which lies at the second block of 4 KiB.
fn md() -> Vec<u8> {
    let mut block = [0; 4096];
    block[..4].copy_from_slice(&0xa92b_4efc_u32.to_le_bytes());
    block[4..8].copy_from_slice(&1_u32.to_le_bytes());
    block[16..32].fill(7);
    block[32..38].copy_from_slice(b"home:0");
    block[144..152].copy_from_slice(&8_u64.to_le_bytes());
    block.to_vec()
}

/// Uberblocks of a ZFS pool, which lie from 128 KiB on.
fn zfs() -> Vec<u8> {
    let mut ring = vec![0; 128 << 10];
    for (number, block) in (0_u64..).zip(ring.chunks_mut(1024).take(16)) {
        for (at, word) in [0x00ba_b10c, 5000, number].into_iter().enumerate() {
            block[at * 8..at * 8 + 8].copy_from_slice(&u64::to_le_bytes(word));
        }
    }
    ring
}

/// The head of a LUKS2 header.
fn luks() -> Vec<u8> {
    let mut head = [0; 4096];
    head[..6].copy_from_slice(b"LUKS\xba\xbe");
    head[6..8].copy_from_slice(&2_u16.to_be_bytes());
    head[8..16].copy_from_slice(&16384_u64.to_be_bytes());
    head[168..204].copy_from_slice(b"6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21");
    head.to_vec()
}

/// The head of swap, whose mark ends its first page.
fn swap() -> Vec<u8> {
    let mut head = [0; 4096];
    head[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    head[1028..1032].copy_from_slice(&u32::try_from(SIZE / 4096 - 1).unwrap().to_le_bytes());
    head[4086..].copy_from_slice(b"SWAPSPACE2");
    head.to_vec()
}

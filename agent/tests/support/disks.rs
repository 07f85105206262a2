//! Rooms of disks made up at random, and manifests for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use piccolo_agent::{
    host::{
        DiskSeen, Ends, HALF_MADE, Identity, KeySeen, LUKS, LuksSeen, Marker, OpenedBy, Partition, Pcrs, Signature,
        disk_label,
        fake::{FakeEngine, When},
        parted::{HALF_TABLE, table_id},
    },
    reconcile::disk::Disks,
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem, Mirror, MountOption, Partition as PartSpec, Passphrase, Selector, Tang, Tpm2},
    quantity::Bytes,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

const NAMES: [&str; 3] = ["films", "music", "spare"];
const SERIALS: [&str; 3] = ["A1", "B2", ""];
const PLACES: [&str; 3] = ["/srv/a", "/srv/a/b", "/srv/c"];
const UUIDS: [&str; 3] = ["11111111-aaaa", "22222222-bbbb", "33333333-cccc"];
const TICKETS: [&str; 2] = ["wipe-000000000000000000000001", "wipe-000000000000000000000002"];
const GIGABYTE: u64 = 1_000_000_000;

/// What is on a disk.
#[derive(Clone, Debug)]
pub enum Holds {
    Nothing,
    Known(&'static str, &'static str, Option<&'static str>),
    Ours(&'static str, &'static str),
    Partitions(&'static str),
    Unknown(Ends),
    HalfMade,
    HalfParted,
    Parted(&'static str),
    LockedParts(&'static str),
    Marked,
}

/// A disk, with what a hand did to it.
#[derive(Clone, Debug)]
pub struct Made {
    serial: &'static str,
    size: u64,
    holds: Holds,
    read_only: bool,
    system: bool,
    held: bool,
    mounted: Option<&'static str>,
    failing: bool,
}

/// All disks, tickets for some of them, and where makings break off at first.
#[derive(Clone, Debug)]
pub struct Room {
    disks: Vec<Made>,
    tickets: Vec<(&'static str, u64)>,
    breaks_at: Option<u8>,
    /// Nothing opens encrypted disks today.
    jammed: bool,
    /// Whose signatures come with the system on the earlier day, and today.
    signers: [Option<&'static str>; 2],
    /// The secrets of disks have other values today.
    renewed: bool,
    earlier: BTreeMap<&'static str, DiskSpec>,
}

pub fn rooms() -> impl Strategy<Value = Room> {
    let tickets = vec((select(&TICKETS), 0..3u64), 0..3);
    let jammed = prop::bool::weighted(0.2);
    let signer = || option::weighted(0.8, select(&["5e1f6a7b8c9d0e1f", "0a0a0a0a0a0a0a0a"]));
    let signers = (signer(), signer()).prop_map(|(before, now)| [before, now]);
    (vec(disk(), 0..4), tickets, option::of(1..6u8), jammed, (signers, any::<bool>()), wanted()).prop_map(
        |(disks, tickets, breaks_at, jammed, (signers, renewed), earlier)| Room {
            renewed,
            disks,
            tickets,
            breaks_at,
            jammed,
            signers,
            earlier,
        },
    )
}

fn disk() -> impl Strategy<Value = Made> {
    let kind = || select(&["ext4", "xfs", "crypto_LUKS", "LVM2_member", "zfs_member"]);
    let holds = prop_oneof![
        4 => Just(Holds::Nothing),
        2 => (kind(), select(&UUIDS), option::of(select(&NAMES))).prop_map(|(kind, uuid, label)| Holds::Known(kind, uuid, label)),
        2 => (select(&NAMES), select(&UUIDS)).prop_map(|(name, uuid)| Holds::Ours(name, uuid)),
        1 => select(&UUIDS).prop_map(Holds::Partitions),
        1 => select(&[Ends::Data, Ends::Random]).prop_map(Holds::Unknown),
        1 => Just(Holds::HalfMade),
        1 => Just(Holds::HalfParted),
        1 => select(&NAMES).prop_map(Holds::Parted),
        1 => select(&NAMES).prop_map(Holds::LockedParts),
        1 => Just(Holds::Marked),
    ];
    let rarely = || prop::bool::weighted(0.1);
    let mounted = option::weighted(0.15, select(&PLACES));
    (select(&SERIALS), 1..3u64, holds, rarely(), rarely(), rarely(), mounted, rarely()).prop_map(
        |(serial, size, holds, read_only, system, held, mounted, failing)| {
            let size = size * 4000 * GIGABYTE;
            Made { serial, size, holds, read_only, system, held, mounted, failing }
        },
    )
}

/// Returns manifests that may mean any of the disks.
pub fn wanted() -> impl Strategy<Value = BTreeMap<&'static str, DiskSpec>> {
    let selector = prop_oneof![
        3 => select(&SERIALS[..2]).prop_map(|it| Selector { serial: Some(it.to_owned()), ..Selector::default() }),
        1 => (1..3u64).prop_map(|it| Selector { min_size: Some(Bytes::new(it * 4000 * GIGABYTE)), ..Selector::default() }),
    ];
    let filesystem = select(&[Filesystem::Ext4, Filesystem::Xfs, Filesystem::Swap]);
    let options = vec(select(&[MountOption::NoAtime, MountOption::ReadOnly]), 0..2);
    let adopt = option::weighted(0.2, select(&UUIDS));
    let wipe = option::weighted(0.3, select(&TICKETS));
    let mirror = option::weighted(0.3, (any::<bool>(), option::weighted(0.3, select(&TICKETS))));
    let parts = prop::bool::weighted(0.25);
    let one = (selector, filesystem, select(&PLACES), options, adopt, wipe, encryption(), mirror, parts).prop_map(
        |(select, filesystem, place, options, adopt, wipe, encryption, mirror, parts)| {
            if parts {
                let wipe = wipe.filter(|_| adopt.is_none()).map(str::to_owned);
                let adopt = adopt.map(str::to_owned);
                let one = DiskSpec { select, filesystem, wipe, adopt, encryption, ..DiskSpec::default() };
                return parted(one, place, options);
            }
            if let Some((degraded, second)) = mirror {
                let on_two = on_two(place, options, wipe, degraded, second.filter(|it| wipe != Some(it)));
                return DiskSpec { encryption, ..on_two };
            }
            let is_swap = filesystem == Filesystem::Swap;
            DiskSpec {
                select,
                filesystem,
                mount: (!is_swap).then(|| place.to_owned()),
                options: if is_swap { Vec::new() } else { options },
                // Of swap nobody keeps the key.
                encryption: encryption.map(|it| if is_swap { Encryption::default() } else { it }),
                wipe: wipe.filter(|_| adopt.is_none()).map(str::to_owned),
                adopt: adopt.map(str::to_owned),
                ..DiskSpec::default()
            }
        },
    );
    prop::collection::btree_map(select(&NAMES), one, 0..3)
}

/// Returns ways to open a disk, none for most.
pub fn encryption() -> impl Strategy<Value = Option<Encryption>> {
    let tpm2 =
        (select(&[7_u8, 4]), any::<bool>()).prop_map(|(pcr, signed_pcr11)| Tpm2 { pcrs: vec![pcr], signed_pcr11 });
    let tpm2 = option::weighted(0.7, tpm2);
    let secret = || Passphrase { secret: "disks".to_owned(), ..Passphrase::default() };
    let tang = (select(&["http://tang.lan", "http://tang.attic.lan:7500"]), Just("a".repeat(43)));
    let tang = option::weighted(0.3, tang.prop_map(|(url, thumbprint)| Tang { url: url.to_owned(), thumbprint }));
    let ways = (tpm2, tang, any::<bool>(), any::<bool>()).prop_map(move |(tpm2, tang, by_secret, recovery)| {
        let passphrase = (by_secret || tpm2.is_none() && tang.is_none()).then(secret);
        Encryption { recovery: recovery || passphrase.is_none(), tpm2, passphrase, tang }
    });
    option::weighted(0.4, ways)
}

/// Returns what is asked of the first two disks together.
fn on_two(
    place: &str,
    options: Vec<MountOption>,
    wipe: Option<&str>,
    degraded: bool,
    second: Option<&str>,
) -> DiskSpec {
    let by = |serial: &str| Selector { serial: Some(serial.to_owned()), ..Selector::default() };
    let mirror = Mirror { select: by(SERIALS[1]), degraded, wipe: second.map(str::to_owned) };
    DiskSpec {
        select: by(SERIALS[0]),
        mirror: Some(mirror),
        filesystem: Filesystem::Btrfs,
        mount: Some(place.to_owned()),
        options,
        wipe: wipe.map(str::to_owned),
        ..DiskSpec::default()
    }
}

/// Returns a disk as one with swap and the rest in partitions, encrypted if the disk is.
pub fn parted(whole: DiskSpec, place: &str, options: Vec<MountOption>) -> DiskSpec {
    let swap = PartSpec {
        name: "room".to_owned(),
        size: Some(Bytes::new(1 << 20)),
        filesystem: Some(Filesystem::Swap),
        ..PartSpec::default()
    };
    let filesystem = Some(whole.filesystem).filter(|it| *it != Filesystem::Swap).or(Some(Filesystem::Ext4));
    let data =
        PartSpec { name: "data".to_owned(), filesystem, mount: Some(place.to_owned()), options, ..PartSpec::default() };
    DiskSpec { partitions: vec![swap, data], ..whole }
}

pub fn desired(wanted: &BTreeMap<&'static str, DiskSpec>) -> Desired<Disk> {
    Desired::complete(wanted.iter().map(|(name, spec)| Disk::new(name, spec.clone())).collect())
}

/// Lets a disk be mounted at a place, or be gone from it, in turns, with something done in between.
pub fn comes_and_goes(engine: &Arc<FakeEngine>, at: &str, turns: &[bool], between: impl Fn()) {
    let identity = Identity { serial: "Z9".to_owned(), wwn: String::new(), size: GIGABYTE };
    let disk = DiskSeen { device: "sdz".to_owned(), seq: 90, identity, ends: Ends::Zero, ..DiskSeen::default() };
    let select = Selector { serial: Some("Z9".to_owned()), ..Selector::default() };
    let spec = DiskSpec { select, mount: Some(at.to_owned()), ..DiskSpec::default() };
    let wanted = Desired::complete(vec![Disk::new("media", spec)]);
    engine.plug_in(disk, "");
    for comes in turns {
        if *comes {
            // It is made first, then mounted.
            super::pass(&Disks(Arc::clone(engine)), &wanted);
            super::pass(&Disks(Arc::clone(engine)), &wanted);
        } else {
            engine.lose_mounts();
        }
        engine.let_time_pass();
        between();
    }
}

impl Made {
    fn seen(&self, seq: u64) -> DiskSeen {
        let one = |kind: &str, uuid: &str, label: Option<String>| Signature {
            offset: 1080,
            kind: kind.to_owned(),
            uuid: Some(uuid.to_owned()),
            label,
        };
        let mut disk = DiskSeen {
            device: format!("sd{seq}"),
            seq,
            identity: Identity { serial: self.serial.to_owned(), wwn: String::new(), size: self.size },
            read_only: self.read_only,
            system: self.system,
            ends: Ends::Data,
            holders: self.held.then(|| "md0".to_owned()).into_iter().collect(),
            mounted: self.mounted.map(str::to_owned).into_iter().collect(),
            failing: self.failing.then(|| "It counts sectors that it can't read".to_owned()),
            ..DiskSeen::default()
        };
        match &self.holds {
            Holds::Nothing => disk.ends = Ends::Zero,
            Holds::Known(kind, uuid, label) => disk.signatures = vec![one(kind, uuid, label.map(str::to_owned))],
            Holds::Ours(name, uuid) => disk.signatures = vec![one("ext4", uuid, Some(disk_label(name)))],
            Holds::Partitions(uuid) => {
                let signatures = vec![one("ext4", uuid, None)];
                let part = Partition { device: format!("sd{seq}p1"), size: 5, signatures, ..Partition::default() };
                disk.signatures = vec![Signature { offset: 512, kind: "gpt".to_owned(), ..Signature::default() }];
                disk.partitions = vec![part];
            }
            Holds::HalfParted | Holds::Parted(_) | Holds::LockedParts(_) => {
                let (table, name) = match self.holds {
                    Holds::Parted(name) | Holds::LockedParts(name) => (table_id(name), name),
                    _ => (HALF_TABLE.to_owned(), "films"),
                };
                let is_locked = matches!(self.holds, Holds::LockedParts(_));
                let (kind, uuid) = (if is_locked { LUKS } else { "ext4" }, format!("{seq}-data"));
                let key = KeySeen { by: OpenedBy::Tpm2, pcrs: Pcrs::of([7]), ..KeySeen::default() };
                let device = format!("sd{seq}p1");
                let header = LuksSeen { device, uuid: uuid.clone(), keys: vec![key], ..LuksSeen::default() };
                disk.luks = is_locked.then_some(header).into_iter().collect();
                let label = disk_label(&format!("{name}/data"));
                disk.table = Some(table);
                disk.signatures = vec![Signature { offset: 512, kind: "gpt".to_owned(), ..Signature::default() }];
                disk.partitions = vec![Partition {
                    device: format!("sd{seq}p1"),
                    name: "data".to_owned(),
                    start: 1 << 20,
                    size: 1 << 30,
                    signatures: vec![one(kind, &uuid, Some(label))],
                    ..Partition::default()
                }];
            }
            Holds::Unknown(ends) => disk.ends = *ends,
            Holds::HalfMade => disk.signatures = vec![one("ext4", UUIDS[0], Some(HALF_MADE.to_owned()))],
            Holds::Marked => disk.marker = Some(Marker { nonce: "another".to_owned(), first: true }),
        }
        disk
    }
}

/// Returns the tickets that a manifest names.
fn named(spec: &DiskSpec) -> impl Iterator<Item = &str> {
    let second = spec.mirror.as_ref().and_then(|it| it.wipe.as_deref());
    [spec.wipe.as_deref(), second].into_iter().flatten()
}

impl Room {
    /// Returns the room as a machine on which the manifests of an earlier day have begun to be kept.
    pub fn machine(&self) -> Arc<FakeEngine> {
        let engine = Arc::new(FakeEngine::new());
        for (seq, made) in (0..).zip(&self.disks) {
            engine.plug_in(made.seen(seq), &format!("data of {seq}"));
        }
        for (ticket, seq) in &self.tickets {
            engine.write_ticket(*seq, ticket);
        }
        engine.sign_images(self.signers[0]);
        engine.break_makings_off(self.breaks_at);
        for _ in 0..5 {
            super::pass(&Disks(Arc::clone(&engine)), &desired(&self.earlier));
        }
        engine.break_makings_off(None);
        engine.lose_mounts();
        engine.jam_locks(self.jammed);
        engine.sign_images(self.signers[1]);
        if self.renewed {
            engine.change_passphrases();
        }
        engine
    }

    /// Whatever goes wrong: what people stored goes only where a ticket gives it away that a manifest names, and nothing
    /// in use is written to at all.
    pub fn keeps_what_no_ticket_gives_away(&self, today: &BTreeMap<&'static str, DiskSpec>) {
        let engine = self.machine();
        for nth in 0..6 {
            engine.fail(
                None,
                nth,
                When::After,
                piccolo_agent::host::HostError::new(piccolo_agent::host::Reason::Failed, "x"),
            );
            super::pass(&Disks(Arc::clone(&engine)), &desired(today));
        }
        assert_eq!(engine.trespasses(), Vec::<String>::new());
        let named: BTreeSet<&str> = self.earlier.values().chain(today.values()).flat_map(named).collect();
        let given: BTreeSet<u64> =
            self.tickets.iter().filter(|(ticket, _)| named.contains(ticket)).map(|(_, seq)| *seq).collect();
        for (seq, data) in engine.on_disks() {
            let made = &self.disks[usize::try_from(seq).unwrap()];
            let was_empty = matches!(made.holds, Holds::Nothing);
            let kept = data == format!("data of {seq}");
            assert!(kept || was_empty || given.contains(&seq), "disk {seq} was erased: {made:?}");
        }
    }
}

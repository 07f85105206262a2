//! Two disks that hold the same vanish and come back, are written to elsewhere and are replaced, in any order. Nothing that
//! was stored is lost, and no half is taken for another one that it is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::FutureExt;
use piccolo_agent::{
    host::{
        DiskSeen, Disks as _, Ends, HostError, Identity, Reason,
        fake::{FakeEngine, When},
    },
    reconcile::{Reconciler, disk::Disks},
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem, Mirror, Selector, Tpm2},
};
use proptest::{collection::vec, option, prelude::*};

const SERIALS: [&str; 3] = ["A1", "B2", "C3"];
/// Passes after which everything has to be in place.
const PATIENCE: usize = 16;

#[derive(Clone, Debug)]
enum Happening {
    Plug(u64),
    PullOut(u64),
    Reboot,
    /// Somebody stores something.
    Store,
    /// Another machine stores something on one half.
    StoreElsewhere(u64),
    /// The TPM is another one, or the right one again.
    Jam(bool),
    /// The manifest asks for other disks, or for one alone to be used.
    Ask(usize, usize, bool),
    BreakMakings(Option<u8>),
    Fail(u32, bool),
    Pass,
}

fn happening(elsewhere: bool) -> impl Strategy<Value = Happening> {
    let disk = || 0..3_u64;
    prop_oneof![
        4 => disk().prop_map(Happening::Plug),
        3 => disk().prop_map(Happening::PullOut),
        2 => Just(Happening::Reboot),
        4 => Just(Happening::Store),
        u32::from(elsewhere) => disk().prop_map(Happening::StoreElsewhere),
        2 => (0..3_usize, 0..3_usize, any::<bool>()).prop_map(|(one, other, alone)| Happening::Ask(one, other, alone)),
        1 => any::<bool>().prop_map(Happening::Jam),
        1 => option::of(1..6_u8).prop_map(Happening::BreakMakings),
        1 => (0..3_u32, any::<bool>()).prop_map(|(nth, after)| Happening::Fail(nth, after)),
        6 => Just(Happening::Pass),
    ]
}

/// A machine with three disks, of which two are to hold the same.
struct House {
    engine: Arc<FakeEngine>,
    drawer: BTreeMap<u64, (DiskSeen, String)>,
    asked: (usize, usize, bool),
    stored: String,
    /// Each half is encrypted for itself.
    encrypted: bool,
}

impl House {
    fn new(encrypted: bool) -> Self {
        let drawer = (0..3).map(|number| (number, (blank(number), String::new()))).collect();
        let (engine, stored) = (Arc::new(FakeEngine::new()), String::new());
        let mut house = Self { engine, drawer, asked: (0, 1, true), stored, encrypted };
        (0..2).for_each(|disk| house.plug(disk));
        house
    }

    fn plug(&mut self, disk: u64) {
        if let Some((seen, data)) = self.drawer.remove(&disk) {
            self.engine.plug_in(seen, &data);
        }
    }

    fn pass(&self) -> bool {
        support::pass(&Disks(Arc::clone(&self.engine)), &self.desired())
    }

    fn desired(&self) -> Desired<Disk> {
        let select = |number: usize| Selector { serial: Some(SERIALS[number].to_owned()), ..Selector::default() };
        let (one, other, degraded) = self.asked;
        let spec = DiskSpec {
            select: select(one),
            mirror: Some(Mirror { select: select(other), degraded, wipe: None }),
            filesystem: Filesystem::Btrfs,
            mount: Some("/srv/album".to_owned()),
            encryption: self.encrypted.then(|| Encryption {
                tpm2: Some(Tpm2::default()),
                recovery: false,
                ..Encryption::default()
            }),
            ..DiskSpec::default()
        };
        Desired::complete(vec![Disk::new("album", spec)])
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Plug(disk) => self.plug(disk),
            Happening::PullOut(disk) => {
                drop(self.engine.pull_out(disk).map(|it| self.drawer.insert(disk, it)));
                // It is heard of within seconds. What is written before is not known to be on one half alone.
                self.engine.calm();
                let _ = self.pass();
            }
            Happening::Reboot => self.engine.lose_mounts(),
            Happening::Store if self.is_mounted() => {
                self.engine.store_on("album", "x");
                self.stored.push('x');
            }
            Happening::Store => {}
            Happening::StoreElsewhere(disk) => self.engine.store_elsewhere(disk, "y"),
            Happening::Ask(one, other, degraded) if one != other => self.asked = (one, other, degraded),
            Happening::Ask(..) => {}
            Happening::Jam(jammed) => self.engine.jam_locks(jammed),
            Happening::BreakMakings(at) => self.engine.break_makings_off(at),
            Happening::Fail(nth, after) => {
                let when = if after { When::After } else { When::Before };
                self.engine.fail(None, nth, when, HostError::new(Reason::Failed, "a fault"));
            }
            Happening::Pass => {
                let _ = self.pass();
            }
        }
    }

    fn is_mounted(&self) -> bool {
        let seen = self.engine.disks().now_or_never().unwrap();
        seen.is_ok_and(|seen| seen.mounts.iter().any(|it| it.present))
    }

    /// All becomes quiet, and all disks are there.
    fn settles(&mut self) -> Result<(), TestCaseError> {
        self.engine.calm();
        self.engine.break_makings_off(None);
        self.engine.jam_locks(false);
        (0..3).for_each(|disk| self.plug(disk));
        for _ in 0..PATIENCE {
            if self.pass() {
                return Ok(());
            }
        }
        let plan = support::plan(&Disks(Arc::clone(&self.engine)), &self.desired()).unwrap();
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        Err(TestCaseError::fail(format!("does not settle: {steps:?}")))
    }
}

fn blank(number: u64) -> DiskSeen {
    let serial = SERIALS[usize::try_from(number).unwrap()].to_owned();
    DiskSeen {
        device: format!("sd{number}"),
        seq: number,
        identity: Identity { serial, wwn: String::new(), size: 4_000_000_000 + number },
        ends: Ends::Zero,
        ..DiskSeen::default()
    }
}

proptest! {
    #![proptest_config(support::cases(200))]

    #[test]
    fn no_half_is_taken_for_what_it_is_not(days in vec(happening(true), 1..40), encrypted in any::<bool>()) {
        let mut house = House::new(encrypted);
        for happening in &days {
            house.happen(happening);
            prop_assert_eq!(house.engine.trespasses(), Vec::<String>::new());
        }
        house.settles()?;
        prop_assert_eq!(house.engine.trespasses(), Vec::<String>::new());
    }

    #[test]
    fn what_was_stored_is_there_or_waited_for(days in vec(happening(false), 1..40), encrypted in any::<bool>()) {
        let mut house = House::new(encrypted);
        for happening in &days {
            house.happen(happening);
            if house.is_mounted() {
                let all = house.engine.on_disks();
                let seen = house.engine.disks().now_or_never().unwrap().unwrap();
                for device in seen.mounts.iter().filter_map(|it| it.pair.as_ref()).flat_map(|it| &it.devices) {
                    let disk = seen.disks.iter().find(|it| it.device == *device).unwrap();
                    prop_assert_eq!(&all[&disk.seq], &house.stored, "on {}", device);
                }
            }
        }
        house.settles()?;
        prop_assert_eq!(house.engine.trespasses(), Vec::<String>::new());
        if house.is_mounted() {
            let longest = house.engine.on_disks().into_values().max_by_key(String::len);
            prop_assert_eq!(longest.unwrap_or_default(), house.stored);
        }
    }
}

fn words(house: &House) -> Vec<String> {
    let plan = support::plan(&Disks(Arc::clone(&house.engine)), &house.desired()).unwrap();
    let waiting = plan.waiting.iter().map(|it| it.reason.clone());
    plan.steps.iter().map(ToString::to_string).chain(waiting).collect()
}

#[test]
fn two_encrypted_halves_are_each_locked_and_a_lost_one_is_filled_anew() {
    let mut house = House::new(true);
    let made = ["A1, 4 GB", "B2, 4 GB"].map(|it| format!("encrypt a half of disk album ({it}, with nothing)"));
    assert_eq!(words(&house), made);
    house.pass();
    assert_eq!(words(&house), ["open disk album (A1, 4 GB)", "open disk album (B2, 4 GB)"]);
    house.pass();
    assert_eq!(words(&house), ["format disk album as btrfs on its two encrypted halves"]);
    house.pass();
    assert_eq!(words(&house), ["mount disk album at /srv/album (nodev,nosuid)"]);
    house.settles().unwrap();
    house.happen(&Happening::Store);
    // Nothing opens either after a start, and then both are opened again.
    house.happen(&Happening::Reboot);
    house.happen(&Happening::Jam(true));
    house.pass();
    house.pass();
    assert_eq!(words(&house), ["DiskLocked"]);
    house.happen(&Happening::Jam(false));
    house.settles().unwrap();
    assert!(house.is_mounted());
    // Another disk takes the place of one that is lost: first it is encrypted too.
    house.happen(&Happening::PullOut(0));
    house.happen(&Happening::Store);
    house.happen(&Happening::Plug(2));
    house.happen(&Happening::Ask(2, 1, false));
    assert_eq!(words(&house), ["encrypt a half of disk album (C3, 4 GB, with nothing)"]);
    house.pass();
    assert_eq!(words(&house), ["open disk album (C3, 4 GB)"]);
    house.pass();
    assert_eq!(words(&house), ["fill a half of disk album anew (C3, 4 GB, with nothing yet)"]);
    house.settles().unwrap();
    assert_eq!(house.engine.on_disks()[&2], "xx");
    let seen = house.engine.disks().now_or_never().unwrap().unwrap();
    assert_eq!(Disks::<FakeEngine>::notes(&house.desired().manifests, &seen), [Vec::new()]);
    // When it is let go, both are closed.
    let none = Desired::complete(Vec::new());
    for _ in 0..3 {
        let _ = support::pass(&Disks(Arc::clone(&house.engine)), &none);
    }
    let seen = house.engine.disks().now_or_never().unwrap().unwrap();
    assert!(seen.unlocked.is_empty() && seen.disks.iter().flat_map(|it| &it.luks).all(|it| it.opened.is_none()));
}

#[test]
fn two_blank_disks_become_one_and_a_lost_half_is_filled_anew() {
    let mut house = House::new(false);
    assert_eq!(words(&house), ["format disk album as btrfs (A1, 4 GB and B2, 4 GB, with nothing and nothing)"]);
    house.settles().unwrap();
    house.happen(&Happening::Store);
    // It goes on without one of them, and is told.
    house.happen(&Happening::PullOut(0));
    house.pass();
    house.happen(&Happening::Store);
    assert!(house.is_mounted());
    let notes = |house: &House| {
        let seen = house.engine.disks().now_or_never().unwrap().unwrap();
        let notes = Disks::<FakeEngine>::notes(&house.desired().manifests, &seen).remove(0);
        notes.into_iter().map(|it| format!("{} {}: {}", it.name, it.reason, it.message)).collect::<Vec<_>>()
    };
    assert!(notes(&house)[0].starts_with("DiskDegraded HalfMissing: The half on the disk with the serial number `A1`"));
    // Another disk takes its place.
    house.happen(&Happening::Ask(2, 1, false));
    assert_eq!(words(&house), ["fill a half of disk album anew (C3, 4 GB, with nothing)"]);
    house.settles().unwrap();
    assert_eq!(notes(&house), Vec::<String>::new());
    assert_eq!(house.engine.on_disks()[&2], "xx");
    // The one that was lost is not taken for it when all else is away.
    house.happen(&Happening::Reboot);
    house.happen(&Happening::PullOut(2));
    house.happen(&Happening::PullOut(1));
    house.happen(&Happening::Ask(0, 1, true));
    assert_eq!(words(&house), ["HalfOutdated"]);
}

#[test]
fn a_filling_that_is_cut_is_begun_anew_and_nothing_inside_is_no_leave() {
    for last in 1..6 {
        let mut house = House::new(true);
        (0..2).for_each(|_| house.happen(&Happening::Pass));
        house.happen(&Happening::BreakMakings(Some(last)));
        assert!(!house.pass(), "it broke off");
        house.happen(&Happening::BreakMakings(None));
        house.happen(&Happening::Reboot);
        house.settles().unwrap();
        assert!(house.is_mounted(), "broken after {last}");
        house.happen(&Happening::Store);
        // So is one in the place of a lost half, and that one when it comes back.
        for lost in [1, 2] {
            house.happen(&Happening::PullOut(lost));
            house.happen(&Happening::Store);
            house.happen(&Happening::Ask(2, 0, true));
            house.happen(&Happening::Plug(lost));
            // Encrypting is one thing, filling what is open another.
            (0..if lost == 1 { 2 } else { 0 }).for_each(|_| house.happen(&Happening::Pass));
            house.happen(&Happening::BreakMakings(Some(last)));
            (0..4).for_each(|_| house.happen(&Happening::Pass));
            let seen = house.engine.disks().now_or_never().unwrap().unwrap();
            assert!(seen.disks.iter().flat_map(|it| &it.luks).any(|it| it.filling), "nothing was cut");
            house.happen(&Happening::BreakMakings(None));
            house.happen(&Happening::Reboot);
            house.settles().unwrap();
            assert!(house.is_mounted(), "broken after {last}");
            assert_eq!(house.engine.on_disks()[&2], house.stored);
        }
        assert_eq!(house.engine.trespasses(), Vec::<String>::new());
    }
}

#[test]
fn a_new_first_half_whose_making_is_cut_is_gone_on_with() {
    for encrypted in [false, true] {
        for last in 1..6 {
            let mut house = House::new(encrypted);
            house.settles().unwrap();
            house.happen(&Happening::Store);
            house.happen(&Happening::PullOut(0));
            house.happen(&Happening::Ask(2, 1, true));
            house.happen(&Happening::Plug(2));
            house.happen(&Happening::BreakMakings(Some(last)));
            (0..2).for_each(|_| house.happen(&Happening::Pass));
            // After a start the other half is mounted alone, and that is not the end of the making.
            house.happen(&Happening::Reboot);
            house.happen(&Happening::Jam(false));
            (0..3).for_each(|_| house.happen(&Happening::Pass));
            house.settles().unwrap();
            assert_eq!(house.engine.on_disks()[&2], "x", "{encrypted}, broken after {last}");
            assert_eq!(house.engine.trespasses(), Vec::<String>::new());
        }
    }
}

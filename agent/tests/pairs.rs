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
    disk::{Filesystem, Mirror, Selector},
};
use proptest::{collection::vec, option, prelude::*};

const SERIALS: [&str; 3] = ["A1", "B2", "C3"];
/// Passes after which everything has to be in place.
const PATIENCE: usize = 12;

#[derive(Clone, Debug)]
enum Happening {
    Plug(u64),
    PullOut(u64),
    Reboot,
    /// Somebody stores something.
    Store,
    /// Another machine stores something on one half.
    StoreElsewhere(u64),
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
}

impl House {
    fn new() -> Self {
        let drawer = (0..3).map(|number| (number, (blank(number), String::new()))).collect();
        let mut house =
            Self { engine: Arc::new(FakeEngine::new()), drawer, asked: (0, 1, true), stored: String::new() };
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
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_half_is_taken_for_what_it_is_not(days in vec(happening(true), 1..40)) {
        let mut house = House::new();
        for happening in &days {
            house.happen(happening);
            prop_assert_eq!(house.engine.trespasses(), Vec::<String>::new());
        }
        house.settles()?;
        prop_assert_eq!(house.engine.trespasses(), Vec::<String>::new());
    }

    #[test]
    fn what_was_stored_is_there_or_waited_for(days in vec(happening(false), 1..40)) {
        let mut house = House::new();
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

#[test]
fn two_blank_disks_become_one_and_a_lost_half_is_filled_anew() {
    let mut house = House::new();
    let words = |house: &House| -> Vec<String> {
        let plan = support::plan(&Disks(Arc::clone(&house.engine)), &house.desired()).unwrap();
        let waiting = plan.waiting.iter().map(|it| it.reason.clone());
        plan.steps.iter().map(ToString::to_string).chain(waiting).collect()
    };
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

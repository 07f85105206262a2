//! Installations of the system of a stick.

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{DiskSeen, Ends, Signature, Ticket, fake::FakeStick},
    reconcile::{Reconciler, install::Installations},
};
use piccolo_schema::{
    Desired, Install, InstallSpec,
    disk::Selector,
    install::{Keep, Mirror},
};
use proptest::prelude::*;

use crate::{World, laws, support};

/// A stick in memory, and the disk beside it.
struct Beside(Arc<FakeStick>);

impl World for Beside {
    type Reconciler = Installations<FakeStick>;

    fn reconciler(&self) -> Installations<FakeStick> {
        Installations(Arc::clone(&self.0))
    }

    fn picture(&self) -> String {
        format!("{:?}", self.reconciler().observe().now_or_never().unwrap().unwrap())
    }

    fn mutations(&self) -> u64 {
        self.0.mutations()
    }

    fn lose_the_next_answer(&self) {
        self.0.lose_the_next_answer();
    }

    fn wait(&self) {
        self.0.calm();
    }
}

const TICKET: &str = "wipe-000000000000000000000001";

const SERIALS: [&str; 2] = ["S4EVNX0N123456", "S4EVNX0N123457"];
const TICKETS: [&str; 2] = [TICKET, "wipe-000000000000000000000002"];

/// Two disks, with or without something on each, with or without a ticket for each, and an installation of before on both that the
/// power cut off.
fn beside_both(holds: [bool; 2], tickets: [bool; 2], earlier: Option<usize>) -> Arc<FakeStick> {
    let disk = |at: usize| {
        let mut disk = if holds[at] { with_photos() } else { FakeStick::blank(1 << 34) };
        SERIALS[at].clone_into(&mut disk.identity.serial);
        (disk.device, disk.seq) = (format!("vd{at}"), at as u64 + 2);
        disk
    };
    let stick = Arc::new(FakeStick::beside_all([disk(0), disk(1)]));
    if let Some(moment) = earlier {
        stick.cut_at(Some(moment));
        support::pass(&Installations(Arc::clone(&stick)), &onto_both([false; 2]));
        stick.cut_at(None);
    }
    for (at, _) in tickets.iter().enumerate().filter(|(_, given)| **given) {
        let disk = &stick.all_targets()[at].disk;
        stick.give(Ticket::new(TICKETS[at].to_owned(), disk, jiff::Timestamp::UNIX_EPOCH));
    }
    stick
}

fn onto_both(wipes: [bool; 2]) -> Desired<Install> {
    let select = |at: usize| Selector { serial: Some(SERIALS[at].to_owned()), ..Selector::default() };
    let wipe = |at: usize| wipes[at].then(|| TICKETS[at].to_owned());
    let mirror = Some(Mirror { select: select(1), wipe: wipe(1) });
    let spec = InstallSpec { select: select(0), mirror, wipe: wipe(0), ..InstallSpec::default() };
    Desired::complete(vec![Install::new(Install::NAME, spec)])
}

fn with_photos() -> DiskSeen {
    let photos = Signature { offset: 1080, kind: "ext4".to_owned(), uuid: None, label: Some("photos".to_owned()) };
    DiskSeen { signatures: vec![photos], ends: Ends::Data, ..FakeStick::blank(1 << 34) }
}

/// A disk with or without something on it, with or without a ticket, and an installation of before that the power cut off.
fn beside(holds: bool, ticket: bool, earlier: Option<usize>) -> Arc<FakeStick> {
    let disk = if holds { with_photos() } else { FakeStick::blank(1 << 34) };
    let stick = Arc::new(FakeStick::beside(disk.clone()));
    if let Some(moment) = earlier {
        stick.cut_at(Some(moment));
        support::pass(&Installations(Arc::clone(&stick)), &onto(Some(("S4EVNX0N123456", false, true))));
        stick.cut_at(None);
    }
    if ticket {
        stick.give(Ticket::new(TICKET.to_owned(), &stick.target().disk, jiff::Timestamp::UNIX_EPOCH));
    }
    stick
}

fn onto(asked: Option<(&str, bool, bool)>) -> Desired<Install> {
    let manifest = asked.map(|(serial, wipe, keeps)| {
        let select = Selector { serial: Some(serial.to_owned()), ..Selector::default() };
        let wipe = wipe.then(|| TICKET.to_owned());
        Install::new(
            Install::NAME,
            InstallSpec { select, wipe, keep: Keep { manifests: keeps, access: keeps }, ..InstallSpec::default() },
        )
    });
    Desired::complete(manifest.into_iter().collect())
}

proptest! {
    #![proptest_config(support::cases(300))]

    #[test]
    fn installations_keep_the_laws(
        holds in any::<bool>(),
        ticket in any::<bool>(),
        earlier in proptest::option::of(0..24_usize),
        asked in proptest::option::of((proptest::sample::select(&["S4EVNX0N123456", "S5"]), any::<bool>(), any::<bool>())),
    ) {
        let desired = onto(asked);
        // Without a ticket in the manifest nothing that is on the disk is lost.
        if !asked.is_some_and(|(_, wipe, _)| wipe) && holds && earlier.is_none() {
            let stick = beside(holds, ticket, earlier);
            let before = stick.target();
            support::pass(&Installations(Arc::clone(&stick)), &desired);
            prop_assert_eq!(stick.target(), before);
        }
        // What the manifest says comes along, and nothing else.
        let stick = beside(false, false, None);
        if let Some(("S4EVNX0N123456", _, keeps)) = asked {
            support::pass(&Installations(Arc::clone(&stick)), &desired);
            prop_assert_eq!(stick.kept(), Some(Keep { manifests: keeps, access: keeps }));
        }
        laws(|| Beside(beside(holds, ticket, earlier)), &desired);
    }

    #[test]
    fn installations_on_two_disks_keep_the_laws(
        holds in any::<[bool; 2]>(),
        tickets in any::<[bool; 2]>(),
        wipes in any::<[bool; 2]>(),
        earlier in proptest::option::of(0..40_usize),
    ) {
        let desired = onto_both(wipes);
        // Where one may not be written to, nothing is written to either.
        let refuses = |at: usize| holds[at] && !(wipes[at] && tickets[at]);
        if earlier.is_none() && (refuses(0) || refuses(1)) {
            let stick = beside_both(holds, tickets, None);
            let before = stick.all_targets();
            support::pass(&Installations(Arc::clone(&stick)), &desired);
            prop_assert_eq!(stick.all_targets(), before);
        }
        // What opens the one opens the other.
        if earlier.is_none() && !refuses(0) && !refuses(1) {
            let stick = beside_both(holds, tickets, None);
            support::pass(&Installations(Arc::clone(&stick)), &desired);
            prop_assert!(stick.whole_on(0).is_some());
            prop_assert_eq!(stick.whole_on(0), stick.whole_on(1));
        }
        laws(|| Beside(beside_both(holds, tickets, earlier)), &desired);
    }
}

//! Installations of the system of a stick.

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{DiskSeen, Ends, Signature, Ticket, fake::FakeStick},
    reconcile::{Reconciler, install::Installations},
};
use piccolo_schema::{Desired, Install, InstallSpec, disk::Selector, install::Keep};
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

/// A disk with or without something on it, with or without a ticket, and an installation of before that the power cut off.
fn beside(holds: bool, ticket: bool, earlier: Option<usize>) -> Arc<FakeStick> {
    let blank = FakeStick::blank(1 << 34);
    let photos = Signature { offset: 1080, kind: "ext4".to_owned(), uuid: None, label: Some("photos".to_owned()) };
    let disk = if holds { DiskSeen { signatures: vec![photos], ends: Ends::Data, ..blank } } else { blank };
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
        Install::new(Install::NAME, InstallSpec { select, wipe, keep: Keep { manifests: keeps, access: keeps } })
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
}

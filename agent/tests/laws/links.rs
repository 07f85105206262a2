//! Links, whose changes go back where nobody confirms them.

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{DeviceSeen, Links as _, fake::FakeLinks},
    reconcile::{Reconciler, link::Links},
};
use piccolo_schema::{Desired, Link, LinkSpec};
use proptest::prelude::*;

use crate::{
    World, converges, laws, support,
    support::links::{HANDS, air, by_hand},
};

/// Links in memory.
struct Wires(Arc<FakeLinks>);

impl World for Wires {
    type Reconciler = Links<FakeLinks>;

    fn reconciler(&self) -> Links<FakeLinks> {
        Links(Arc::clone(&self.0))
    }

    fn picture(&self) -> String {
        let observed = self.reconciler().observe().now_or_never().unwrap().unwrap();
        // What a link has that nobody asks for any more, it may keep.
        let asked = |it: &DeviceSeen| it.unit.as_ref().map(|_| (it.addresses.clone(), it.master.clone()));
        let shown = |it: &DeviceSeen| (it.name.clone(), it.unit.clone(), asked(it));
        let all: Vec<_> = observed.devices.iter().map(shown).collect();
        format!("{:?} {all:?} {:?}", observed.units, observed.wifi)
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

/// Specs that get in each other's way now and then.
fn link_specs() -> impl Strategy<Value = Vec<(&'static str, LinkSpec)>> {
    use support::links::{bridge, dummy, network, plain, port, vlan};
    let some = proptest::option::of::<BoxedStrategy<LinkSpec>>;
    (
        some(port(0).boxed()),
        some(port(1).boxed()),
        some(vlan().boxed()),
        some(bridge().boxed()),
        some(plain().boxed()),
        some(dummy().boxed()),
        some(network().boxed()),
    )
        .prop_map(|(a, b, guests, bridge, plain, local, air)| {
            let all = [
                ("a", a),
                ("air", air),
                ("b", b),
                ("guests", guests),
                ("lan", bridge),
                ("local", local),
                ("plain", plain),
            ];
            all.into_iter().filter_map(|(name, spec)| Some((name, spec?))).collect()
        })
}

fn wires(earlier: &[(&'static str, LinkSpec)], hands: &[u8]) -> Arc<FakeLinks> {
    let machine = Arc::new(support::links::machine());
    for _ in 0..3 {
        support::pass(&Links(Arc::clone(&machine)), &wanted(earlier));
    }
    hands.iter().for_each(|what| by_hand(&machine, *what));
    machine
}

fn wanted(specs: &[(&'static str, LinkSpec)]) -> Desired<Link> {
    Desired::complete(specs.iter().map(|(name, spec)| Link::new(name, spec.clone())).collect())
}

proptest! {
    #![proptest_config(support::cases(300))]

    #[test]
    fn links_keep_the_laws(earlier in link_specs(), hands in proptest::collection::vec(0..HANDS, 0..4), today in link_specs()) {
        laws(|| Wires(wires(&earlier, &hands)), &wanted(&today));
        let machine = wires(&earlier, &hands);
        converges(&Wires(Arc::clone(&machine)), &wanted(&today));
        assert!(machine.trespasses().is_empty());
    }

    /// The daemon may end after any step of a change on trial, and in it: what nobody confirms is put back, and is not
    /// tried again.
    #[test]
    fn a_change_of_the_way_in_goes_back(address in 2..5_u8, stop in 0..5_usize, lost in any::<bool>()) {
        let before = LinkSpec { dhcp4: true, ..serde_json::from_value(serde_json::json!({ "match": { "name": "eth0" } })).unwrap() };
        let after = LinkSpec { dhcp4: false, addresses: vec![format!("10.0.0.{address}/24")], ..before.clone() };
        let machine = wires(&[("a", before.clone())], &[]);
        machine.by_hand(|view| { view.reached_by.insert("eth0".to_owned()); });
        let (world, old) = (Wires(Arc::clone(&machine)), Wires(Arc::clone(&machine)).picture());
        let changed = wanted(&[("a", after)]);
        let steps = support::plan(&world.reconciler(), &changed).unwrap().steps;
        assert!(steps[0].to_string().starts_with("try link a"), "{}", steps[0]);
        let stop = stop.min(steps.len());
        support::apply(&world.reconciler(), &steps[..stop]);
        if lost && stop < steps.len() {
            machine.lose_the_next_answer();
            support::apply(&world.reconciler(), &steps[stop..=stop]);
        }
        let began = stop > 0 || lost;
        machine.run_out();
        if began {
            assert_eq!(world.picture(), old);
            let plan = support::plan(&world.reconciler(), &changed).unwrap();
            assert!(plan.steps.is_empty(), "{:?}", plan.steps);
            assert_eq!(plan.waiting[0].reason, "NotConfirmed");
            assert!(support::plan(&world.reconciler(), &wanted(&[("a", before)])).unwrap().waiting.is_empty());
        }
        machine.by_hand(|view| view.refused.clear());
        converges(&world, &changed);
        machine.confirm();
        machine.run_out();
        assert!(support::pass(&world.reconciler(), &changed));
    }
}

proptest! {
    #![proptest_config(support::cases(60))]

    /// So is a network by which the machine is reached, with the password that it had.
    #[test]
    fn a_change_of_the_network_goes_back(secret in any::<bool>(), stop in 0..6_usize, lost in any::<bool>()) {
        let old = wanted(&[("air", air("old", Some("one")))]);
        let machine = wires(&[("air", air("old", Some("one")))], &[]);
        machine.by_hand(|view| {
            view.reached_by.insert("wlan0".to_owned());
            view.secrets.entry("wifi".to_owned()).or_default().insert("one".to_owned(), if secret { "d9" } else { "d1" }.to_owned());
        });
        let new = if secret { old } else { wanted(&[("air", air("new", Some("one")))]) };
        let (world, before) = (Wires(Arc::clone(&machine)), Wires(Arc::clone(&machine)).picture());
        let steps = support::plan(&world.reconciler(), &new).unwrap().steps;
        assert!(steps[1].to_string().starts_with("try link air"), "{}", steps[1]);
        let stop = stop.min(steps.len());
        support::apply(&world.reconciler(), &steps[..stop]);
        if lost && stop < steps.len() {
            machine.lose_the_next_answer();
            support::apply(&world.reconciler(), &steps[stop..=stop]);
        }
        machine.run_out();
        if stop > 1 {
            assert_eq!(world.picture(), before);
            let plan = support::plan(&world.reconciler(), &new).unwrap();
            assert_eq!((plan.steps.len(), plan.waiting[0].reason.as_str()), (0, "NotConfirmed"));
        }
        machine.by_hand(|view| view.refused.clear());
        converges(&world, &new);
        machine.confirm();
        assert!(support::pass(&world.reconciler(), &new) && machine.trespasses().is_empty());
    }
}

/// A port that got another name while its file was there is let go of with the file, whoever has networkd read them.
#[test]
fn a_renamed_port_is_let_go_of_from_any_moment() {
    let a =
        serde_json::from_value(serde_json::json!({ "match": { "mac": "52:54:00:00:00:00" }, "dhcp4": true })).unwrap();
    let earlier = [("a", a), ("air", air("net0", Some("one")))];
    laws(|| Wires(wires(&earlier, &[13])), &wanted(&[]));
}

/// So is the key of an encrypted link, whatever began the change: the Secret may say the old value again, or a third.
#[test]
fn a_changed_key_goes_back_and_can_be_mended() {
    let link = serde_json::json!({ "addresses": ["10.8.0.1/24"], "wireguard": {
        "privateKey": { "secret": "wifi", "key": "one" },
        "peers": [{ "publicKey": format!("{}=", "A".repeat(43)), "allowedIPs": ["10.8.0.2/32"] }],
    } });
    let specs = [("vpn", serde_json::from_value::<LinkSpec>(link).unwrap())];
    for (stop, lost) in (0..4).flat_map(|stop| [(stop, false), (stop, true)]) {
        let machine = wires(&specs, &[]);
        let says = |value: &str| {
            machine.by_hand(|view| {
                view.reached_by.insert("vpn".to_owned());
                view.secrets.entry("wifi".to_owned()).or_default().insert("one".to_owned(), value.to_owned());
            });
        };
        let (world, wanted) = (Wires(Arc::clone(&machine)), wanted(&specs));
        let given = machine.links_now().keys;
        assert_eq!(given["vpn"], "d1");
        says("d9");
        let steps = support::plan(&world.reconciler(), &wanted).unwrap().steps;
        assert!(steps[0].to_string().starts_with("try link vpn"), "{}", steps[0]);
        support::apply(&world.reconciler(), &steps[..=stop.min(steps.len() - 1)]);
        if lost && stop + 1 < steps.len() {
            machine.lose_the_next_answer();
            support::apply(&world.reconciler(), &steps[stop + 1..=stop + 1]);
        }
        machine.run_out();
        assert_eq!(machine.links_now().keys, given);
        let plan = support::plan(&world.reconciler(), &wanted).unwrap();
        assert_eq!((plan.steps.len(), plan.waiting[0].reason.as_str()), (0, "NotConfirmed"));
        says("d1");
        let plan = support::plan(&world.reconciler(), &wanted).unwrap();
        assert!(plan.waiting.is_empty() && plan.steps.iter().all(|it| !it.to_string().starts_with("try")), "{plan:?}");
        says("d8");
        let plan = support::plan(&world.reconciler(), &wanted).unwrap();
        assert!(plan.waiting.is_empty() && plan.steps[0].to_string().starts_with("try link vpn"), "{plan:?}");
    }
}

/// What can't be a password is found before anything is tried or written.
#[test]
fn what_is_no_password_changes_nothing() {
    let machine = wires(&[("air", air("old", Some("one")))], &[]);
    machine.by_hand(|view| {
        view.reached_by.insert("wlan0".to_owned());
    });
    machine.spoil_password("d2");
    let (world, new) = (Wires(Arc::clone(&machine)), wanted(&[("air", air("old", Some("two")))]));
    let before = (world.picture(), machine.mutations());
    let steps = support::plan(&world.reconciler(), &new).unwrap().steps;
    assert!(world.reconciler().apply(&steps[0]).now_or_never().unwrap().is_err());
    assert_eq!((world.picture(), machine.mutations()), before);
    assert!(machine.links().now_or_never().unwrap().unwrap().trial.is_none());
}

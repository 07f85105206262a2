//! The laws that every reconciler passes, over a machine in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{
        DeviceSeen, DiskSeen, Ends, FileThere, GroundPlaces, Links as _, LinksView, OwnFile, RouteSeen, Service,
        SettingsView, Signature, Ticket, UnitSeen, WifiSeen,
        fake::{FakeEngine, FakeLinks, FakeSettings, FakeStick, When},
    },
    reconcile::{
        Disruption, Reconciler, Step, container::Containers, disk::Disks, firewall::Firewalls, host::Hosts,
        image::Images, install::Installations, link::Links, network::Networks, secret::Secrets, source::Sources,
        volume::Volumes,
    },
};
use piccolo_schema::{
    ConfigSource, Container, Desired, Host, HostSpec, Install, InstallSpec, Link, LinkSpec, disk::Selector,
    install::Keep,
};
use proptest::prelude::*;
use support::scenes::{CLOSED, Drift, Files, drifts, files, sources};
use support::{containers, disks};

/// Passes after which everything has to be in place.
const PATIENCE: usize = 12;

/// A machine that can be set up the same way again and again.
trait World {
    type Reconciler: Reconciler;

    /// Returns a reconciler that has just been started on the machine.
    fn reconciler(&self) -> Self::Reconciler;
    /// Returns all there is on the machine, but for identifiers.
    fn picture(&self) -> String;
    /// Returns how often it was changed.
    fn mutations(&self) -> u64;
    /// Makes the next change happen without an answer.
    fn lose_the_next_answer(&self);
    /// Lets some time pass.
    fn wait(&self);
}

/// A machine in memory, seen by the reconciler of one kind.
struct Fake<R> {
    engine: Arc<FakeEngine>,
    start: fn(Arc<FakeEngine>) -> R,
}

impl<R: Reconciler> World for Fake<R> {
    type Reconciler = R;

    fn reconciler(&self) -> R {
        (self.start)(Arc::clone(&self.engine))
    }

    fn picture(&self) -> String {
        let observed = self.reconciler().observe().now_or_never().unwrap().unwrap();
        let mut things = serde_json::to_value(observed).unwrap();
        forget_identifiers(&mut things);
        things.to_string()
    }

    fn mutations(&self) -> u64 {
        self.engine.mutations()
    }

    fn lose_the_next_answer(&self) {
        self.engine.hang(None, 0, When::After);
    }

    fn wait(&self) {
        self.engine.calm();
        self.engine.let_time_pass();
    }
}

fn laws<W: World>(world: impl Fn() -> W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) {
    let settled = converges(&world(), desired);
    rests(&settled_world(&world, desired), desired);
    repeats(&world, desired);
    survives(&world, desired, settled.as_deref());
    is_careful(&world(), desired);
    is_indifferent_to_order(&world(), desired);
}

/// 1: apply the plan, plan again: empty. Returns the picture of the settled machine, none if something still waits: then
/// it is not the files alone that say how the machine looks, but also who came first.
fn converges<W: World>(world: &W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) -> Option<String> {
    let reconciler = world.reconciler();
    let mut quiet = 0;
    for _ in 0..PATIENCE {
        quiet = if support::pass(&reconciler, desired) { quiet + 1 } else { 0 };
        world.wait();
        // What starts or gets healthy while nothing is done may be what others wait for.
        if quiet == 3 {
            let waits = !support::plan(&reconciler, desired).unwrap().waiting.is_empty();
            return (!waits).then(|| world.picture());
        }
    }
    let plan = support::plan(&reconciler, desired).unwrap();
    let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    panic!("does not converge: {steps:#?}");
}

fn settled_world<W: World>(world: &impl Fn() -> W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) -> W {
    let world = world();
    converges(&world, desired);
    world
}

/// 2: a settled machine yields no step, also when it is looked at by a daemon that has just been started, and also when
/// what was seen was written down and read back.
fn rests<W: World>(world: &W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) {
    let before = world.mutations();
    assert!(support::pass(&world.reconciler(), desired));
    assert_eq!(world.mutations(), before);
    let observed = world.reconciler().observe().now_or_never().unwrap().unwrap();
    let written = serde_json::to_string(&observed).unwrap();
    assert!(W::Reconciler::plan(desired, &serde_json::from_str(&written).unwrap()).steps.is_empty());
}

/// 3: every step applied twice ends in the same place. The second time may fail: what is gone can't be renamed.
fn repeats<W: World>(world: &impl Fn() -> W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) {
    let (once, twice) = (world(), world());
    let steps = support::plan(&once.reconciler(), desired).unwrap().steps;
    let (first, second) = (once.reconciler(), twice.reconciler());
    for step in steps {
        let done = first.apply(&step).now_or_never().unwrap();
        assert_eq!(second.apply(&step).now_or_never().unwrap(), done);
        let _ = second.apply(&step).now_or_never().unwrap();
    }
    assert_eq!(once.picture(), twice.picture());
}

/// 4: stop after, or in, any step, start over: still converges, to the same place.
fn survives<W: World>(
    world: &impl Fn() -> W,
    desired: &Desired<<W::Reconciler as Reconciler>::Manifest>,
    settled: Option<&str>,
) {
    let steps = support::plan(&world().reconciler(), desired).unwrap().steps;
    for stop in 0..steps.len() {
        for in_step in [false, true] {
            let world = world();
            support::apply(&world.reconciler(), &steps[..stop]);
            if in_step {
                world.lose_the_next_answer();
                support::apply(&world.reconciler(), &steps[stop..=stop]);
                world.wait();
            }
            if let (Some(place), Some(settled)) = (converges(&world, desired), settled) {
                assert_eq!(place, settled, "stopped {} `{}`", if in_step { "in" } else { "after" }, steps[stop]);
            }
        }
    }
}

/// 5: incomplete desire removes nothing, and nothing erases data without a ticket.
fn is_careful<W: World>(world: &W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) {
    let incomplete = Desired { complete: false, ..desired.clone() };
    let plan = support::plan(&world.reconciler(), &incomplete).unwrap();
    assert!(!plan.steps.iter().any(Step::is_removal));
    assert!(!plan.steps.iter().any(|step| matches!(step.disruption(), Disruption::Erases(_))));
    assert_eq!(support::plan(&world.reconciler(), &Desired::default()).unwrap().steps.len(), 0);
}

/// 6: files permuted, same plan.
fn is_indifferent_to_order<W: World>(world: &W, desired: &Desired<<W::Reconciler as Reconciler>::Manifest>) {
    let plan = support::plan(&world.reconciler(), desired).unwrap();
    let mut permuted = desired.clone();
    for _ in 0..desired.manifests.len() {
        permuted.manifests.rotate_left(1);
        assert!(support::plan(&world.reconciler(), &permuted).unwrap() == plan);
    }
    permuted.manifests.reverse();
    assert!(support::plan(&world.reconciler(), &permuted).unwrap() == plan);
}

/// Returns a machine on which the files of an earlier day are in place, and on which things have happened since.
fn machine(earlier: &Files, drifts: &[Drift]) -> Arc<FakeEngine> {
    let engine = Arc::new(FakeEngine::new());
    for _ in 0..3 {
        support::pass(&Secrets(Arc::clone(&engine)), &earlier.secrets());
        support::pass(&Images(Arc::clone(&engine)), &earlier.images());
        support::pass(&Networks(Arc::clone(&engine)), &earlier.networks());
        support::pass(&Volumes(Arc::clone(&engine), Arc::clone(&engine)), &earlier.volumes());
        support::pass(&Firewalls(Arc::clone(&engine)), &earlier.firewall());
        support::pass(&containers(&engine), &earlier.containers());
        engine.let_time_pass();
    }
    drifts.iter().for_each(|drift| drift.happen(&engine));
    engine.close(CLOSED);
    engine
}

fn forget_identifiers(things: &mut serde_json::Value) {
    match things {
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget_identifiers),
        serde_json::Value::Object(fields) => {
            for key in [
                "id",
                "label",
                "since",
                "now",
                "trimmed",
                "local",
                "wellSince",
                "firstSeen",
                "engineRestarts",
                "used",
                "half",
                "floor",
                "generation",
                "pair",
            ] {
                fields.remove(key);
            }
            if let Some(attached) = fields.get_mut("attached").filter(|it| it.is_object()) {
                let names: Vec<_> = attached.as_object().unwrap().values().cloned().collect();
                *attached = names.into();
            }
            fields.values_mut().for_each(forget_identifiers);
        }
        _ => {}
    }
}

#[test]
fn updates_keep_the_laws() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let spec = serde_json::json!({ "image": "db:1", "update": { "policy": "auto" } });
    let desired = Desired::complete(vec![Container::new("db", serde_json::from_value(spec).unwrap())]);
    // The image is good, then it is bad.
    for spoilt in ["b", "1"] {
        let world = || {
            let engine = Arc::new(FakeEngine::new());
            engine.spoil(&digest(spoilt));
            engine.move_tag("db", "db:1", &digest("a"));
            support::pass(&containers(&engine), &desired);
            engine.move_tag("db", "db:1", &digest("1"));
            Fake::<Containers<FakeEngine>> { engine, start: |engine| containers(&engine) }
        };
        laws(world, &desired);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn containers_keep_the_laws(earlier in files(), drifts in drifts(6), today in files()) {
        let world = || Fake::<Containers<FakeEngine>> { engine: machine(&earlier, &drifts), start: |engine| containers(&engine) };
        laws(world, &today.containers());
    }

    #[test]
    fn volumes_keep_the_laws(
        earlier in files(),
        drifts in drifts(6),
        today in files(),
        disk in proptest::option::of(proptest::sample::select(&["/srv/one", "/srv"])),
    ) {
        // A disk that is not mounted, on which some of them are to lie.
        let disks = disk.map(|at| ("media".to_owned(), at.to_owned())).into_iter().collect();
        let places = GroundPlaces { disks, ..today.places() };
        let world = || {
            let engine = machine(&earlier, &drifts);
            engine.declare_places(places.clone());
            Fake::<Volumes<FakeEngine>> { engine, start: |engine| Volumes(Arc::clone(&engine), engine) }
        };
        laws(world, &today.volumes());
        let world = world();
        for _ in 0..3 {
            support::pass(&world.reconciler(), &today.volumes());
        }
        let trespasses = world.engine.trespasses();
        prop_assert!(!trespasses.iter().any(|it| it.contains("on the bare")), "{:?}", trespasses);
    }

    /// A disk is mounted and goes again, before and while containers run on it.
    #[test]
    fn containers_on_disks_keep_the_laws(
        earlier in files(),
        drifts in drifts(4),
        today in files(),
        turns in proptest::collection::vec(any::<bool>(), 0..5),
    ) {
        let places = GroundPlaces { disks: [("media".to_owned(), "/srv/one".to_owned())].into(), ..today.places() };
        let world = || {
            let engine = machine(&earlier, &drifts);
            engine.declare_places(places.clone());
            disks::comes_and_goes(&engine, "/srv/one", &turns, || {
                support::pass(&containers(&engine), &today.containers());
            });
            Fake::<Containers<FakeEngine>> { engine, start: |engine| containers(&engine) }
        };
        laws(world, &today.containers());
        let world = world();
        converges(&world, &today.containers());
        let trespasses = world.engine.trespasses();
        prop_assert!(!trespasses.iter().any(|it| it.contains("on the bare")), "{:?}", trespasses);
    }

    #[test]
    fn disks_keep_the_laws(room in disks::rooms(), today in disks::wanted()) {
        let world = || Fake::<Disks<FakeEngine>> { engine: room.machine(), start: Disks };
        let desired = disks::desired(&today);
        laws(world, &desired);
        room.keeps_what_no_ticket_gives_away(&today);
    }

    #[test]
    fn networks_keep_the_laws(earlier in files(), drifts in drifts(6), today in files()) {
        let world = || Fake::<Networks<FakeEngine>> { engine: machine(&earlier, &drifts), start: Networks };
        laws(world, &today.networks());
    }

    #[test]
    fn firewalls_keep_the_laws(earlier in files(), drifts in drifts(6), today in files()) {
        let world = || Fake::<Firewalls<FakeEngine>> { engine: machine(&earlier, &drifts), start: Firewalls };
        laws(world, &today.firewall());
    }

    #[test]
    fn images_keep_the_laws(earlier in files(), drifts in drifts(6), today in files()) {
        let world = || Fake::<Images<FakeEngine>> { engine: machine(&earlier, &drifts), start: Images };
        laws(world, &today.images());
    }

    #[test]
    fn sources_keep_the_laws(sources in sources()) {
        let world = || {
            let engine = Arc::new(FakeEngine::new());
            sources.iter().for_each(|(name, seen)| engine.hear_of_source(name, seen.clone()));
            Fake::<Sources<FakeEngine>> { engine, start: Sources }
        };
        let manifests = sources.iter().map(|(name, seen)| ConfigSource::new(name, seen.asked.clone())).collect();
        laws(world, &Desired::complete(manifests));
    }

    #[test]
    fn secrets_keep_the_laws(earlier in files(), drifts in drifts(6), today in files()) {
        let world = || Fake::<Secrets<FakeEngine>> { engine: machine(&earlier, &drifts), start: Secrets };
        laws(world, &today.secrets());
    }
}

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

/// A port without a wire, that joins a network.
fn air(ssid: &str, key: Option<&str>) -> LinkSpec {
    let wifi = match key {
        Some(key) => serde_json::json!({ "ssid": ssid, "psk": { "secret": "wifi", "key": key } }),
        None => serde_json::json!({ "ssid": ssid, "security": "open" }),
    };
    let spec = serde_json::json!({ "match": { "mac": "52:54:00:00:00:09" }, "dhcp4": true, "wifi": wifi });
    serde_json::from_value(spec).unwrap()
}

/// Specs that get in each other's way now and then.
fn link_specs() -> impl Strategy<Value = Vec<(&'static str, LinkSpec)>> {
    let port = |number: u8| {
        move |(address, dhcp4, mtu): (u8, bool, Option<u32>)| {
            let spec = serde_json::json!({
                "match": { "mac": format!("52:54:00:00:00:0{number}") }, "addresses": [format!("10.{number}.0.{address}/24")],
                "dhcp4": dhcp4, "mtu": mtu, "routes": [{ "to": format!("10.9{number}.0.0/16"), "via": format!("10.{number}.0.1") }],
            });
            serde_json::from_value::<LinkSpec>(spec).unwrap()
        }
    };
    let about = || (2..5_u8, any::<bool>(), proptest::option::of(1400..1402_u32));
    let vlan = |id: u16| {
        serde_json::from_value::<LinkSpec>(serde_json::json!({ "vlan": { "parent": "a", "id": id } })).unwrap()
    };
    let bridge = || {
        serde_json::from_value::<LinkSpec>(
            serde_json::json!({ "bridge": { "members": ["plain"] }, "addresses": ["10.50.0.1/24"] }),
        )
        .unwrap()
    };
    let plain = || serde_json::from_value::<LinkSpec>(serde_json::json!({ "match": { "name": "eth2" } })).unwrap();
    let dummy = || {
        serde_json::from_value::<LinkSpec>(serde_json::json!({ "dummy": true, "addresses": ["10.1.0.9/32"] })).unwrap()
    };
    let some = |it: LinkSpec| proptest::option::of(Just(it));
    (
        proptest::option::of(about().prop_map(port(0))),
        proptest::option::of(about().prop_map(port(1))),
        proptest::option::of((20..22_u16).prop_map(vlan)),
        some(bridge()),
        some(plain()),
        some(dummy()),
        proptest::option::of(
            (0..2_u8, 0..3_u8)
                .prop_map(|(ssid, key)| air(&format!("net{ssid}"), [Some("one"), Some("two"), None][usize::from(key)])),
        ),
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

/// What a hand does to links.
fn by_hand(machine: &FakeLinks, what: u8) {
    machine.by_hand(|view| match what {
        0 => view.devices.iter_mut().for_each(|it| it.addresses.clear()),
        1 => view.devices.retain(|it| it.kind.is_none()),
        2 => view.devices.iter_mut().for_each(|it| {
            it.routes = vec![RouteSeen { to: "0.0.0.0/0".to_owned(), via: None, metric: 7, leased: false }];
        }),
        3 => view.devices.iter_mut().for_each(|it| it.up = false),
        4 => view.units.retain(|it| it.name.ends_with(".netdev")),
        5 => view.units.iter_mut().for_each(|it| it.text.push_str("# a hand\n")),
        6 => view.devices.iter_mut().for_each(|it| it.mtu = 1300),
        7 => view.devices.iter_mut().for_each(|it| it.master = None),
        8 => view.devices.reverse(),
        9 => view.units.push(UnitSeen {
            directory: "/etc/systemd/network".to_owned(),
            name: "05-others.network".to_owned(),
            subject: None,
            text: "[Match]\nName=eth1\n".to_owned(),
        }),
        10 => view.wifi.iter_mut().for_each(|it| it.serves = false),
        11 => view.wifi.iter_mut().for_each(|it| it.digest = None),
        12 => view.wifi.clear(),
        13 => {
            view.devices.iter_mut().filter(|it| it.wireless).for_each(|it| it.name = "wlan7".to_owned());
        }
        14 => view.wifi.push(WifiSeen { device: "wlan7".to_owned(), ..WifiSeen::default() }),
        15 => {
            view.secrets
                .insert("wifi".to_owned(), [("one", "d3"), ("two", "d2")].map(|(a, b)| (a.into(), b.into())).into());
        }
        _ => {}
    });
}

fn wires(earlier: &[(&'static str, LinkSpec)], hands: &[u8]) -> Arc<FakeLinks> {
    let port = |number: u8| DeviceSeen {
        name: format!("eth{number}"),
        mac: Some(format!("52:54:00:00:00:0{number}")),
        up: true,
        carrier: true,
        mtu: 1500,
        ..DeviceSeen::default()
    };
    let radio = DeviceSeen { name: "wlan0".to_owned(), wireless: true, ..port(9) };
    let view = LinksView {
        devices: vec![port(0), port(1), port(2), radio],
        secrets: [("wifi".to_owned(), [("one", "d1"), ("two", "d2")].map(|(a, b)| (a.into(), b.into())).into())].into(),
        ..LinksView::default()
    };
    let machine = Arc::new(FakeLinks::new(view));
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
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn links_keep_the_laws(earlier in link_specs(), hands in proptest::collection::vec(0..16_u8, 0..4), today in link_specs()) {
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
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

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

/// Settings in memory.
struct Own(Arc<FakeSettings>);

impl World for Own {
    type Reconciler = Hosts<FakeSettings>;

    fn reconciler(&self) -> Hosts<FakeSettings> {
        Hosts(Arc::clone(&self.0))
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

/// Any of the settings, each of two values.
fn host_spec() -> impl Strategy<Value = HostSpec> {
    use proptest::{bool::weighted, option::of, sample::select};
    let values = (
        of(select(&["attic", "cellar"])),
        of(select(&["Europe/Berlin", "Nowhere"])),
        of(select(&["C.UTF-8", "de_DE.UTF-8"])),
    );
    let files = (of(select(&["ptbtime1.ptb.de", "10.0.0.1"])), weighted(0.4), of(select(&["anna", "nobody-here"])));
    let rest = (of(select(&["10", "20"])), of(select(&["10.0.0.5", "10.0.0.6"])));
    (values, files, rest).prop_map(|((hostname, timezone, locale), (ntp, mdns, user), (swappiness, nas))| {
        let spec = serde_json::json!({
            "hostname": hostname, "timezone": timezone, "locale": locale, "mdns": mdns,
            "ntp": ntp.into_iter().collect::<Vec<_>>(),
            "ssh": user.map(|user| serde_json::json!({ "user": user, "keys": ["ssh-ed25519 AAAA"] })),
            "sysctls": swappiness.map(|it| serde_json::json!({ "vm.swappiness": it })).unwrap_or(serde_json::json!({})),
            "hosts": nas.map(|it| serde_json::json!({ "nas": it })).unwrap_or(serde_json::json!({})),
        });
        serde_json::from_value(spec).unwrap()
    })
}

/// What a hand does to settings.
fn by_a_hand(machine: &FakeSettings, what: u8) {
    machine.by_hand(|view| match what {
        0 => view.hostname = Some("by-hand".to_owned()),
        1 => view.kept_hostname = None,
        2 => view.timezone = Some("Etc/UTC".to_owned()),
        3 => view.files.values_mut().for_each(|it| it.text.push_str("# a hand\n")),
        4 => view.files.clear(),
        5 => drop(view.sysctls.insert("vm.swappiness".to_owned(), "99".to_owned())),
        6 => view.names.clear(),
        7 => drop(view.files.insert(OwnFile::Ntp, FileThere::default())),
        8 => drop(view.others_names.insert("nas".to_owned(), ["10.0.0.9".parse().unwrap()].into())),
        9 => drop(view.services.insert(Service::Ssh, false)),
        10 => drop(view.services.insert(Service::Timesyncd, false)),
        11 => drop(view.others_sysctls.insert("vm.swappiness".to_owned(), "/etc/sysctl.conf".to_owned())),
        // The machine is started anew: the kernel has its own values, but for those that our file sets.
        12 => {
            let file = view.files.get(&OwnFile::Sysctl).map(|it| it.text.clone()).unwrap_or_default();
            let value = file.lines().find_map(|line| line.strip_prefix("vm.swappiness = ")).unwrap_or("60");
            view.sysctls.insert("vm.swappiness".to_owned(), value.to_owned());
        }
        13 => drop(view.enabled.insert(Service::Ssh)),
        14 => view.ssh_unread = true,
        _ => drop(view.services.insert(Service::Avahi, true)),
    });
}

fn own(earlier: &Option<HostSpec>, hands: &[u8]) -> Arc<FakeSettings> {
    let services = [(Service::Timesyncd, true), (Service::Resolved, true), (Service::Ssh, false)];
    let words = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect();
    let machine = Arc::new(FakeSettings::new(SettingsView {
        hostname: Some("debian".to_owned()),
        kept_hostname: Some("debian".to_owned()),
        timezones: words(&["Etc/UTC", "Europe/Berlin"]),
        users: words(&["anna", "root"]),
        sysctls: [("vm.swappiness".to_owned(), "60".to_owned())].into(),
        services: services.into(),
        ..SettingsView::default()
    }));
    for _ in 0..3 {
        support::pass(&Hosts(Arc::clone(&machine)), &asked(earlier));
    }
    hands.iter().for_each(|what| by_a_hand(&machine, *what));
    machine
}

fn asked(spec: &Option<HostSpec>) -> Desired<Host> {
    Desired::complete(spec.iter().map(|spec| Host::new(Host::NAME, spec.clone())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn settings_keep_the_laws(
        earlier in proptest::option::of(host_spec()),
        hands in proptest::collection::vec(0..16_u8, 0..4),
        today in proptest::option::of(host_spec()),
    ) {
        laws(|| Own(own(&earlier, &hands)), &asked(&today));
    }

    /// Anything happens: files come and go, hands are at work, verbs fail. Once it is quiet all is as the last file says,
    /// what runs has read it, nothing of others was touched, and nothing of ours is left when no file asks for it.
    #[test]
    fn settings_converge_after_anything(
        days in proptest::collection::vec(
            (proptest::option::of(host_spec()), proptest::collection::vec(0..16_u8, 0..2), proptest::option::of(any::<bool>())),
            1..6,
        ),
    ) {
        let machine = own(&None, &[]);
        let world = Own(Arc::clone(&machine));
        for (spec, hands, fault) in &days {
            hands.iter().for_each(|what| by_a_hand(&machine, *what));
            if let Some(after) = fault {
                machine.fail(if *after { When::After } else { When::Before });
            }
            support::pass(&world.reconciler(), &asked(spec));
        }
        machine.calm();
        let last = &days.last().unwrap().0;
        converges(&world, &asked(last));
        prop_assert!(machine.trespasses().is_empty(), "{:?}", machine.trespasses());
        let view = world.reconciler().observe().now_or_never().unwrap().unwrap();
        for (file, there) in view.files.iter().filter(|(_, it)| it.ours) {
            if file.read_by().is_some_and(|it| view.services.get(&it) == Some(&true)) {
                prop_assert_eq!(machine.read_by_its_service(*file), Some(there.text.clone()));
            }
        }
        if last.is_none() {
            prop_assert!(view.files.values().all(|it| !it.ours) && view.names.is_empty() && view.before.is_empty());
            prop_assert!(!view.ssh_by_us);
        }
    }
}

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
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

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

//! The laws that every reconciler passes, over a machine in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

#[path = "laws/host.rs"]
mod host;
#[path = "laws/install.rs"]
mod install;
#[path = "laws/links.rs"]
mod links;
mod support;

use std::sync::Arc;

use futures_util::FutureExt;
use piccolo_agent::{
    host::{
        GroundPlaces,
        fake::{FakeEngine, When},
    },
    reconcile::{
        Disruption, Reconciler, Step, container::Containers, disk::Disks, firewall::Firewalls, image::Images,
        network::Networks, secret::Secrets, source::Sources, volume::Volumes,
    },
};
use piccolo_schema::{ConfigSource, Container, Desired};
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
    #![proptest_config(support::cases(300))]

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

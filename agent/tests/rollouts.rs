//! Updates: whatever goes wrong, a good image comes to run with its data, and a bad one leaves no trace.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;
#[path = "rollouts/ways_back.rs"]
mod ways_back;

use std::sync::Arc;

use piccolo_agent::{
    host::{ContainerSeen, HostError, Reason, Snapshots, State, fake::CORRUPT, fake::FakeEngine, fake::When},
    reconcile::{Reconciler, Step},
};
use piccolo_schema::{Container, ContainerSpec, Desired, Volume, VolumeSpec};
use proptest::{collection::vec, prelude::*};
use serde_json::json;
use support::{containers, pass};

const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const GOOD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const BAD: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const BETTER: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
/// More verbs than an update and the way back have.
const VERBS: u32 = 16;

struct Scene {
    engine: Arc<FakeEngine>,
    desired: Desired<Container>,
}

impl Scene {
    /// A database that runs the old image and has data.
    fn new(policy: &str, checked: bool) -> Self {
        Self::of(desired(&spec(policy, checked)))
    }

    /// The same, but it starts only after a cache, which the engine leaves to the daemon.
    fn dependent(policy: &str, checked: bool) -> Self {
        let mut spec = spec(policy, checked);
        spec.depends_on = serde_json::from_value(json!([{ "container": "cache" }])).unwrap();
        let mut desired = desired(&spec);
        let cache = serde_json::from_value(json!({ "image": "cache:1" })).unwrap();
        desired.manifests.insert(0, Container::new("cache", cache));
        Self::of(desired)
    }

    fn of(desired: Desired<Container>) -> Self {
        let engine = Arc::new(FakeEngine::new());
        engine.spoil(BAD);
        engine.keep_volume("data");
        engine.move_tag("db", "db:1", OLD);
        let volumes = Desired::complete(vec![Volume::new("data", VolumeSpec::default())]);
        pass(&piccolo_agent::reconcile::volume::Volumes(Arc::clone(&engine), Arc::clone(&engine)), &volumes);
        let mut scene = Self { engine, desired };
        scene.settle();
        scene.engine.write_volume("data", "precious");
        assert_eq!(scene.runs(), OLD);
        scene
    }

    fn offer(&self, digest: &str) {
        self.engine.move_tag("db", "db:1", digest);
    }

    fn pass(&self) -> bool {
        pass(&containers(&self.engine), &self.desired)
    }

    fn settle(&mut self) {
        self.engine.calm();
        let mut quiet = 0;
        for _ in 0..40 {
            quiet = if self.pass() { quiet + 1 } else { 0 };
            self.engine.let_time_pass();
            if quiet == 5 {
                return;
            }
        }
        let plan = support::plan(&containers(&self.engine), &self.desired).unwrap();
        let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
        assert_eq!(steps, Vec::<String>::new(), "does not converge");
    }

    /// Returns the digest of the one container that is there, which is running.
    fn runs(&self) -> String {
        let view = self.engine.truth();
        let ours: Vec<_> = view.containers.iter().filter(|it| it.subject() == Some("db")).collect();
        assert_eq!(ours.len(), 1, "{ours:?}");
        let seen = ours[0];
        assert_eq!((seen.name.as_str(), seen.state), ("db", State::Running));
        seen.image_digest.clone().unwrap()
    }

    /// Passes until this digest runs beside the old one.
    fn until_on_trial(&self, digest: &str) {
        for _ in 0..10 {
            self.pass();
            let tried = |it: &ContainerSeen| it.state == State::Running && it.image_digest.as_deref() == Some(digest);
            if self.engine.truth().containers.iter().any(tried) {
                return;
            }
        }
        unreachable!("{digest} is not tried");
    }

    fn data(&self) -> String {
        self.engine.read_volume("data").unwrap()
    }

    fn starts(&self, digest: &str) -> usize {
        self.engine.started_digests().iter().filter(|it| *it == digest).count()
    }

    fn labels(&self) -> Vec<String> {
        use futures_util::FutureExt;
        let all = self.engine.snapshots("data").now_or_never().unwrap().unwrap();
        all.into_iter().map(|it| it.label).collect()
    }
}

fn spec(policy: &str, checked: bool) -> ContainerSpec {
    let mut spec = json!({
        "image": "db:1", "update": { "policy": policy }, "mounts": [{ "path": "/data", "volume": "data" }],
    });
    if checked {
        spec["healthCheck"] = json!({ "command": ["true"] });
    }
    serde_json::from_value(spec).unwrap()
}

fn desired(spec: &ContainerSpec) -> Desired<Container> {
    Desired::complete(vec![Container::new("db", spec.clone())])
}

#[test]
fn a_good_image_is_kept() {
    for checked in [false, true] {
        let mut scene = Scene::new("auto", checked);
        scene.offer(GOOD);
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.data().as_str()), (GOOD, "precious"));
        assert_eq!(scene.labels().len(), 1, "the data of before is kept");
        scene.offer(BETTER);
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.labels().len()), (BETTER, 1));
    }
}

#[test]
fn a_bad_image_is_given_up_with_its_data_and_never_tried_again() {
    for checked in [false, true] {
        let mut scene = Scene::new("auto", checked);
        scene.offer(BAD);
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.data().as_str()), (OLD, "precious"));
        let notes = |scene: &Scene| {
            type Planner = piccolo_agent::reconcile::container::Containers<FakeEngine>;
            Planner::notes(&scene.desired.manifests, &scene.engine.truth()).remove(0)
        };
        assert_eq!(notes(&scene)[0].name, "UpdateFailed");
        assert!(notes(&scene)[0].message.contains(BAD));
        scene.offer(GOOD);
        scene.settle();
        scene.offer(BAD);
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.starts(BAD)), (GOOD, 1));
    }
}

#[test]
fn a_person_decides_where_the_manifest_says_so() {
    let mut scene = Scene::new("manual", false);
    scene.offer(GOOD);
    scene.settle();
    assert_eq!(scene.runs(), OLD);
    scene.engine.approve("db", BETTER);
    scene.settle();
    assert_eq!(scene.runs(), OLD, "another one is approved than there is");
    scene.engine.approve("db", GOOD);
    scene.settle();
    assert_eq!(scene.runs(), GOOD);
}

#[test]
fn an_edit_and_a_loss_keep_the_image_that_the_data_belongs_to() {
    let mut scene = Scene::new("auto", false);
    scene.offer(GOOD);
    scene.settle();
    let mut edited = spec("auto", false);
    edited.env.insert("ON".into(), "1".into());
    scene.desired = desired(&edited);
    scene.settle();
    assert_eq!(scene.runs(), GOOD);
    scene.engine.remove_by_hand("db");
    scene.settle();
    assert_eq!(scene.runs(), GOOD);
}

/// The law *Survives*, at every verb of an update and of the way back.
#[test]
fn killed_in_any_verb_it_ends_well() {
    for (digest, runs) in [(GOOD, GOOD), (BAD, OLD)] {
        for checked in [false, true] {
            for (nth, when) in (0..VERBS).flat_map(|nth| [(nth, When::Before), (nth, When::After)]) {
                let mut scene = Scene::new("auto", checked);
                scene.offer(digest);
                scene.engine.hang(None, nth, when);
                for _ in 0..8 {
                    scene.pass();
                    scene.engine.let_time_pass();
                }
                scene.settle();
                let ended = (scene.runs(), scene.data());
                assert_eq!(ended, (runs.to_owned(), "precious".to_owned()), "{digest} {nth} {when:?}");
                assert_eq!(scene.starts(BAD).min(1), usize::from(digest == BAD), "{nth} {when:?}");
            }
        }
    }
}

#[test]
fn a_reboot_in_the_middle_of_a_trial_is_no_failure() {
    for (digest, runs) in [(GOOD, GOOD), (BAD, OLD)] {
        for checked in [false, true] {
            for mut scene in [Scene::new("auto", checked), Scene::dependent("auto", checked)] {
                scene.offer(digest);
                scene.until_on_trial(digest);
                scene.engine.reboot();
                scene.settle();
                assert_eq!((scene.runs().as_str(), scene.data().as_str()), (runs, "precious"), "{checked}");
            }
        }
    }
}

#[test]
fn no_step_of_an_update_is_drift() {
    for digest in [GOOD, BAD] {
        let scene = Scene::new("auto", false);
        scene.offer(digest);
        let mut steps = Vec::new();
        for _ in 0..12 {
            let plan = support::plan(&containers(&scene.engine), &scene.desired).unwrap();
            assert!(plan.steps.iter().all(Step::is_follow_up), "{:?}", plan.steps);
            support::apply(&containers(&scene.engine), &plan.steps);
            steps.extend(plan.steps.iter().map(ToString::to_string));
            scene.engine.let_time_pass();
        }
        assert!(steps.len() > 8, "{steps:?}");
        scene.engine.kill("db");
        let plan = support::plan(&containers(&scene.engine), &scene.desired).unwrap();
        assert!(plan.steps.len() == 1 && !plan.steps[0].is_follow_up());
    }
}

/// One thing that happens to an update.
#[derive(Clone, Debug)]
enum Happening {
    Offer(&'static str),
    Edit(bool),
    Stop(bool),
    Kill(&'static str),
    Start(&'static str),
    Fail(u32, When),
    Hang(u32, When),
    Stale(u32),
    Reboot,
    GoBack,
    Pass,
    TimePasses,
}

fn happening() -> impl Strategy<Value = Happening> {
    let when = || prop_oneof![Just(When::Before), Just(When::After)];
    let name = || prop_oneof![Just("db"), Just("db.next"), Just("db.prev")];
    prop_oneof![
        3 => prop_oneof![Just(GOOD), Just(BAD), Just(BETTER)].prop_map(Happening::Offer),
        1 => any::<bool>().prop_map(Happening::Edit),
        1 => any::<bool>().prop_map(Happening::Stop),
        1 => name().prop_map(Happening::Kill),
        1 => prop_oneof![Just("db"), Just("db.prev")].prop_map(Happening::Start),
        2 => (0..8u32, when()).prop_map(|(nth, when)| Happening::Fail(nth, when)),
        2 => (0..8u32, when()).prop_map(|(nth, when)| Happening::Hang(nth, when)),
        1 => (1..3u32).prop_map(Happening::Stale),
        1 => Just(Happening::Reboot),
        1 => Just(Happening::GoBack),
        9 => Just(Happening::Pass),
        4 => Just(Happening::TimePasses),
    ]
}

impl Happening {
    fn happen(self, scene: &mut Scene) {
        let engine = &scene.engine;
        let Some(spec) = scene.desired.manifests.last_mut().map(|it| &mut it.spec) else { return };
        match self {
            Self::Offer(digest) => scene.offer(digest),
            Self::Edit(on) => drop(spec.env.insert("ON".into(), on.to_string())),
            Self::Stop(stopped) => spec.running = !stopped,
            Self::Kill(name) => engine.kill(name),
            Self::Start(name) => engine.start_by_hand(name),
            Self::Fail(nth, when) => {
                engine.fail(None, nth, when, HostError::new(Reason::Failed, "It was made to fail"));
            }
            Self::Hang(nth, when) => engine.hang(None, nth, when),
            Self::Stale(looks) => engine.go_stale(looks),
            Self::Reboot => engine.reboot(),
            Self::GoBack => drop(engine.go_back("db")),
            Self::Pass => drop(scene.pass()),
            Self::TimePasses => engine.let_time_pass(),
        }
    }
}

proptest! {
    #![proptest_config(support::cases(2_000))]

    #[test]
    fn anything_then_quiet_leaves_no_trace_of_a_bad_image(
        checked in any::<bool>(), dependent in any::<bool>(), happenings in vec(happening(), 1..=40)
    ) {
        let mut scene = if dependent { Scene::dependent("auto", checked) } else { Scene::new("auto", checked) };
        for happening in happenings {
            happening.happen(&mut scene);
        }
        scene.desired.manifests.last_mut().unwrap().spec.running = true;
        scene.settle();
        prop_assert_ne!(scene.runs(), BAD);
        prop_assert_ne!(scene.data(), CORRUPT);
        let before = scene.engine.mutations();
        prop_assert!((0..20).all(|_| scene.pass()));
        prop_assert_eq!(scene.engine.mutations(), before);
    }
}

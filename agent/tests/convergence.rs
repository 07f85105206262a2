//! Whatever people, hands, accidents and crashes do: once it is quiet, the machine comes to be as the files say, and then
//! rests.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "convergence/expected.rs"]
mod expected;
#[path = "convergence/happenings.rs"]
mod happenings;
#[path = "convergence/parted.rs"]
mod parted;
mod support;
#[path = "convergence/wires.rs"]
mod wires;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt;
use happenings::{Happening, blank_disk, happening};
use piccolo_agent::{
    host::{
        ContainerSeen, DiskSeen, HostError, Reason,
        fake::{FakeEngine, When},
    },
    reconcile::{
        Plan, Reconciler, container::Containers, disk::Disks, firewall::Firewalls, image::Images, network::Networks,
        secret::Secrets, volume::Volumes,
    },
};
use piccolo_schema::{ContainerSpec, DiskSpec, VolumeSpec};
use proptest::{collection::vec, prelude::*};
use support::{
    containers,
    scenes::{Files, a_name, files, spec},
};
use wires::Wires;

/// Passes after which everything has to be in place once it is quiet.
const PATIENCE: usize = 60;
/// Minutes without a step after which nothing is to be done any more. What starts or gets healthy while nothing is done may
/// be what others wait for, a trial takes two minutes from then on, and an image is left alone for ten after it came.
const QUIET: usize = 12;
/// Passes that must change nothing after that.
const REST: usize = 100;
/// The serial numbers of disks.
const SERIALS: [&str; 3] = ["A1", "B2", "C3"];
/// The size of a small disk.
const DISK: u64 = 4_000_000_000;
const GOOD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const BETTER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
/// The digest of an image that never does well.
const BAD: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

/// The daemon, the machine and the files.
struct Scene {
    engine: Arc<FakeEngine>,
    files: Files,
    foreign: BTreeMap<String, ContainerSeen>,
    /// Disks that were pulled out, with what is stored on them.
    drawer: BTreeMap<u64, (DiskSeen, String)>,
    wires: Wires,
}

impl Scene {
    fn new(files: Files) -> Self {
        let engine = Arc::new(FakeEngine::new());
        engine.sicken(BAD);
        engine.keep_volume("data");
        Self { engine, files, foreign: BTreeMap::new(), drawer: BTreeMap::new(), wires: Wires::new() }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Write(name, spec) => drop(self.files.containers.insert(name, *spec)),
            Happening::Delete(name) => drop(self.files.containers.remove(name)),
            Happening::WriteNetwork(name, spec) => drop(self.files.networks.insert(name, spec)),
            Happening::DeleteNetwork(name) => drop(self.files.networks.remove(name)),
            Happening::WriteVolume(name, spec) => drop(self.files.volumes.insert(name, spec)),
            Happening::DeleteVolume(name) => drop(self.files.volumes.remove(name)),
            Happening::WriteFirewall(spec) => self.files.firewall = spec,
            Happening::WriteSecret(name, spec) => drop(self.files.secrets.insert(name, spec)),
            Happening::DeleteSecret(name) => drop(self.files.secrets.remove(name)),
            Happening::WriteDisk(name, spec) => drop(self.files.disks.insert(name, *spec)),
            Happening::DeleteDisk(name) => drop(self.files.disks.remove(name)),
            Happening::Plug(disk) if !self.engine.on_disks().contains_key(&disk) => {
                let (seen, data) = self.drawer.remove(&disk).unwrap_or_else(|| (blank_disk(disk), String::new()));
                self.engine.plug_in(seen, &data);
            }
            Happening::Plug(_) => {}
            Happening::PullOut(disk) => {
                if let Some(pulled) = self.engine.pull_out(disk) {
                    self.drawer.insert(disk, pulled);
                }
            }
            Happening::Resize(disk, size) => self.engine.change_disk(disk, |it| it.identity.size = size * DISK),
            Happening::DiskFails(disk, fails) => self.engine.change_disk(disk, |it| {
                it.failing = fails.then(|| "It counts sectors that it can't read".to_owned());
            }),
            Happening::BreakMakings(at) => self.engine.break_makings_off(at),
            Happening::WriteImage(name, spec) => drop(self.files.images.insert(name, spec)),
            Happening::DeleteImage(name) => drop(self.files.images.remove(name)),
            Happening::Break(broken) => self.files.broken = broken,
            Happening::Drift(drift) => {
                drift.happen(&self.engine);
                self.remember_foreign();
            }
            Happening::BreakFirewall(broken) => self.engine.break_firewall(broken.then_some("It is broken")),
            Happening::Offer(name, digest) => self.offer(name, digest),
            Happening::Approve(name, digest) => self.engine.approve(name, digest),
            Happening::Fail(verb, nth, when) => {
                self.engine.fail(verb, nth, when, HostError::new(Reason::Failed, "It was made to fail."));
            }
            Happening::Crash(nth, when) => self.crash(nth, when),
            Happening::Stale(looks) => self.engine.go_stale(looks),
            Happening::Wire(wire) => self.wires.happen(wire),
            Happening::Pass => drop(self.pass()),
            Happening::TimePasses => self.let_time_pass(),
        }
    }

    /// Moves the tag that a container follows. Of others nobody asks.
    fn offer(&self, name: &str, digest: &str) {
        if let Some(spec) = self.files.containers.get(name).filter(|spec| spec.update.is_some()) {
            self.engine.move_tag(name, &spec.image, digest);
        }
    }

    /// One pass of all kinds. Returns true if there was nothing to do.
    fn pass(&self) -> bool {
        let images = self.files.images();
        self.engine.declare_images(&images);
        self.engine.declare_places(self.files.places());
        let declared = self.files.containers();
        let named = images.manifests.iter().map(|it| &*it.spec.reference);
        let named: Vec<&str> = named.chain(declared.manifests.iter().map(|it| &*it.spec.image)).collect();
        self.engine.name_images(&named);
        let secrets = support::pass(&Secrets(Arc::clone(&self.engine)), &self.files.secrets());
        let images = support::pass(&Images(Arc::clone(&self.engine)), &self.files.images());
        let networks = support::pass(&Networks(Arc::clone(&self.engine)), &self.files.networks());
        let disks = support::pass(&Disks(Arc::clone(&self.engine)), &self.files.disks());
        let volumes =
            support::pass(&Volumes(Arc::clone(&self.engine), Arc::clone(&self.engine)), &self.files.volumes());
        let containers = support::pass(&containers(&self.engine), &self.files.containers());
        let firewall = support::pass(&Firewalls(Arc::clone(&self.engine)), &self.files.firewall());
        let links = self.wires.pass(self.files.broken);
        secrets && images && networks && disks && volumes && containers && firewall && links
    }

    /// Drops the daemon in a verb: a step that never answers, and nothing after it.
    fn crash(&self, nth: u32, when: When) {
        let reconciler = containers(&self.engine);
        self.engine.hang(None, nth, when);
        let plan = support::plan(&reconciler, &self.files.containers()).unwrap_or_default();
        for step in &plan.steps {
            if reconciler.apply(step).now_or_never().is_none() {
                break;
            }
        }
    }

    /// Lets it be quiet until there is nothing left to do.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.engine.calm();
        self.engine.break_firewall(None);
        self.engine.break_makings_off(None);
        self.files.broken = false;
        let mut quiet = 0;
        for _ in 0..PATIENCE {
            self.wires.calm();
            quiet = if self.pass() { quiet + 1 } else { 0 };
            self.let_time_pass();
            if quiet == QUIET {
                return Ok(());
            }
        }
        let steps: Vec<String> = self.plan().steps.iter().map(ToString::to_string).collect();
        Err(TestCaseError::fail(format!("does not converge: {steps:#?}")))
    }

    fn let_time_pass(&mut self) {
        self.engine.let_time_pass();
        self.remember_foreign();
    }

    fn rest(&self) -> Result<(), TestCaseError> {
        let before = (self.engine.mutations(), self.wires.mutations());
        for _ in 0..REST {
            prop_assert!(self.pass());
        }
        prop_assert_eq!((self.engine.mutations(), self.wires.mutations()), before);
        Ok(())
    }

    fn plan(&self) -> Plan<<Containers<FakeEngine> as Reconciler>::Step> {
        Containers::<FakeEngine>::plan(&self.files.containers(), &self.engine.truth())
    }

    /// Writes to every volume that is empty. Returns what was written.
    fn write_data(&self, number: usize) -> Vec<String> {
        let empty = |name: &String| self.engine.read_volume(name).is_some_and(|data| data.is_empty());
        let names = self.engine.truth().volumes.into_iter().filter(empty);
        let write = |name: String| {
            let data = format!("{name} {number}");
            self.engine.write_volume(&name, &data);
            data
        };
        names.map(write).collect()
    }

    fn remember_foreign(&mut self) {
        let foreign = self.engine.truth().containers.into_iter().filter(|it| it.stamp.is_none());
        self.foreign = foreign.map(|it| (it.id.clone(), it)).collect();
    }
}

/// Whoever is declared on a volume while an update is tried on it starts once that is over: else its data could not be put
/// back, and the update would stay half done.
#[test]
fn a_volume_on_trial_is_nobody_elses() {
    let on_data = |update: bool| {
        let mut spec = serde_json::json!({ "image": "app:1", "mounts": [{ "path": "/data", "volume": "data" }] });
        if update {
            spec["update"] = serde_json::json!({});
        }
        Box::new(serde_json::from_value::<ContainerSpec>(spec).unwrap())
    };
    for passes in 0..6 {
        let mut scene = Scene::new(Files::default());
        scene.happen(Happening::Write("job", on_data(true)));
        scene.happen(Happening::WriteVolume("data", VolumeSpec::default()));
        scene.happen(Happening::Pass);
        scene.happen(Happening::Offer("job", BAD));
        (0..passes).for_each(|_| scene.happen(Happening::Pass));
        scene.happen(Happening::Write("cache", on_data(false)));
        scene.settle().unwrap();
        scene.is_as_the_files_say().unwrap();
    }
}

/// The image that a container will be made from again is not removed while it waits, to be fetched anew each time.
#[test]
fn what_a_container_was_updated_to_is_kept_for_it() {
    let db = |more: serde_json::Value| {
        let mut spec = serde_json::json!({ "image": "app:1" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Box::new(serde_json::from_value::<ContainerSpec>(spec).unwrap())
    };
    for gone in [false, true] {
        let mut scene = Scene::new(Files::default());
        scene.happen(Happening::Write("db", db(serde_json::json!({ "update": { "policy": "auto" } }))));
        scene.happen(Happening::Pass);
        scene.happen(Happening::Offer("db", GOOD));
        (0..2).for_each(|_| scene.happen(Happening::Pass));
        scene.happen(Happening::Write("db", db(serde_json::json!({ "network": "lan" }))));
        let pruned = serde_json::json!({ "reference": "app:1", "prune": "unused" });
        scene.happen(Happening::WriteImage("first", serde_json::from_value(pruned).unwrap()));
        scene.happen(Happening::Pass);
        if gone {
            scene.engine.remove_by_hand("db");
        }
        scene.settle().unwrap();
        scene.rest().unwrap();
    }
}

/// Of two disks that are declared at one place the first by name has it, but nothing is mounted over what is there.
#[test]
fn a_place_that_is_held_is_waited_for() {
    let at_two = |serial: &str| {
        let spec = serde_json::json!({ "select": { "serial": serial }, "filesystem": "ext4", "mount": "/srv/two" });
        Box::new(serde_json::from_value::<DiskSpec>(spec).unwrap())
    };
    let mut scene = Scene::new(Files::default());
    scene.happen(Happening::Plug(0));
    scene.happen(Happening::WriteDisk("music", at_two("A1")));
    (0..2).for_each(|_| scene.happen(Happening::Pass));
    scene.happen(Happening::Plug(2));
    scene.happen(Happening::WriteDisk("films", at_two("C3")));
    scene.settle().unwrap();
    scene.is_as_the_files_say().unwrap();
}

proptest! {
    #![proptest_config(support::cases(2_000))]

    #[test]
    fn anything_then_quiet_converges_and_stays(happenings in vec(happening(), 1..=40)) {
        let mut scene = Scene::new(Files::default());
        let mut written = BTreeSet::new();
        for (number, happening) in happenings.into_iter().enumerate() {
            scene.happen(happening);
            scene.foreign_is_untouched()?;
            written.extend(scene.write_data(number));
        }
        scene.settle()?;
        scene.is_as_the_files_say()?;
        scene.rest()?;
        scene.foreign_is_untouched()?;
        let left: BTreeSet<String> = scene.engine.all_data().into_iter().collect();
        let aside: BTreeSet<String> = scene.engine.data_put_aside().into_iter().collect();
        prop_assert!(left.is_subset(&written) && written.difference(&left).all(|it| aside.contains(it)), "data is lost");
    }

    #[test]
    fn an_edit_restarts_nobody_else(files in files(), name in a_name(), spec in spec()) {
        let mut scene = Scene::new(files);
        scene.settle()?;
        let before = scene.engine.interruptions();
        scene.happen(Happening::Write(name, Box::new(spec)));
        scene.settle()?;
        let mut after = scene.engine.interruptions();
        // Whoever waited for the edited one may start now, for the first time.
        after.retain(|subject, _| before.contains_key(subject) && subject != name);
        let others = before.into_iter().filter(|(subject, _)| subject != name).collect();
        prop_assert_eq!(after, others);
    }
}

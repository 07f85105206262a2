//! Whatever people, hands, accidents and crashes do: once it is quiet, the machine comes to be as the files say, and then
//! rests.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::FutureExt;
use piccolo_agent::{
    host::fake::{FakeEngine, Verb, When},
    host::{
        ContainerSeen, DiskSeen, Disks as _, Ends, EngineView, HostError, Identity, Limits, NetworkView, Networks as _,
        PacketFilter as _, Reason, RulesSeen, Secrets as _, State, parted::manifest_of, place,
    },
    reconcile::{
        Plan, Reconciler, Waiting, container::Containers, disk::Disks, firewall::Firewalls, image::Images,
        network::Networks, secret::Secrets, volume::Volumes,
    },
};
use piccolo_schema::{
    ContainerSpec, DiskSpec, FirewallSpec, ImageSpec, NetworkSpec, SecretSpec, VolumeSpec,
    container::{Exposure, Restart},
    disk::{Filesystem, MountOption, Selector},
    quantity::Bytes,
};
use proptest::{collection::vec, prelude::*, sample::select};
use support::containers;
use support::scenes::{
    Drift, Files, a_name, a_network, a_secret, a_volume, an_image, drift, files, firewall, image_spec, network_spec,
    secret_spec, spec, volume_spec,
};

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

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A person writes a file.
    Write(&'static str, Box<ContainerSpec>),
    /// A person deletes a file.
    Delete(&'static str),
    WriteNetwork(&'static str, NetworkSpec),
    DeleteNetwork(&'static str),
    WriteVolume(&'static str, VolumeSpec),
    DeleteVolume(&'static str),
    WriteFirewall(Option<FirewallSpec>),
    WriteSecret(&'static str, SecretSpec),
    DeleteSecret(&'static str),
    WriteDisk(&'static str, Box<DiskSpec>),
    DeleteDisk(&'static str),
    /// A disk is plugged in: one that is blank, or the one that was pulled out.
    Plug(u64),
    PullOut(u64),
    /// A disk tells another size.
    Resize(u64, u64),
    /// A disk is about to fail, or tells that it is not.
    DiskFails(u64, bool),
    /// Makings break off after this step.
    BreakMakings(Option<u8>),
    WriteImage(&'static str, ImageSpec),
    DeleteImage(&'static str),
    /// A file can't be read for a while.
    Break(bool),
    Drift(Drift),
    /// The packet filter can't be used for a while.
    BreakFirewall(bool),
    /// The registry has this image under the tag that a container follows.
    Offer(&'static str, &'static str),
    /// A person wants the image that a container is offered.
    Approve(&'static str, &'static str),
    /// A verb fails before or after it took effect.
    Fail(Option<Verb>, u32, When),
    /// The daemon dies in its pass, in the verb of this number, before or after that took effect.
    Crash(u32, When),
    /// The next looks show the machine as it is now.
    Stale(u32),
    /// The daemon makes a pass.
    Pass,
    TimePasses,
}

fn happening() -> impl Strategy<Value = Happening> {
    let when = || prop_oneof![Just(When::Before), Just(When::After)];
    prop_oneof![
        4 => (a_name(), spec()).prop_map(|(name, spec)| Happening::Write(name, Box::new(spec))),
        1 => a_name().prop_map(Happening::Delete),
        1 => (a_network(), network_spec()).prop_map(|(name, spec)| Happening::WriteNetwork(name, spec)),
        1 => a_network().prop_map(Happening::DeleteNetwork),
        2 => (a_volume(), volume_spec()).prop_map(|(name, spec)| Happening::WriteVolume(name, spec)),
        1 => a_volume().prop_map(Happening::DeleteVolume),
        2 => firewall().prop_map(Happening::WriteFirewall),
        2 => (a_secret(), secret_spec()).prop_map(|(name, spec)| Happening::WriteSecret(name, spec)),
        1 => a_secret().prop_map(Happening::DeleteSecret),
        3 => (a_disk(), disk_spec()).prop_map(|(name, spec)| Happening::WriteDisk(name, Box::new(spec))),
        1 => a_disk().prop_map(Happening::DeleteDisk),
        4 => (0..3u64).prop_map(Happening::Plug),
        2 => (0..3u64).prop_map(Happening::PullOut),
        1 => (0..3u64, 1..4u64).prop_map(|(disk, size)| Happening::Resize(disk, size)),
        1 => (0..3u64, any::<bool>()).prop_map(|(disk, fails)| Happening::DiskFails(disk, fails)),
        1 => proptest::option::of(1..6u8).prop_map(Happening::BreakMakings),
        2 => (an_image(), image_spec()).prop_map(|(name, spec)| Happening::WriteImage(name, spec)),
        1 => an_image().prop_map(Happening::DeleteImage),
        1 => any::<bool>().prop_map(Happening::Break),
        4 => drift().prop_map(Happening::Drift),
        1 => any::<bool>().prop_map(Happening::BreakFirewall),
        3 => (a_name(), digest()).prop_map(|(name, digest)| Happening::Offer(name, digest)),
        1 => (a_name(), digest()).prop_map(|(name, digest)| Happening::Approve(name, digest)),
        2 => (proptest::option::of(verb()), 0..4u32, when()).prop_map(|(verb, nth, when)| Happening::Fail(verb, nth, when)),
        3 => (0..6u32, when()).prop_map(|(nth, when)| Happening::Crash(nth, when)),
        1 => (1..3u32).prop_map(Happening::Stale),
        6 => Just(Happening::Pass),
        1 => Just(Happening::TimePasses),
    ]
}

fn a_disk() -> impl Strategy<Value = &'static str> {
    select(&["films", "music"])
}

/// Of disks that may be mistaken for each other, at the places of volumes or elsewhere.
fn disk_spec() -> impl Strategy<Value = DiskSpec> {
    let serial = || select(&SERIALS).prop_map(|it| Selector { serial: Some(it.to_owned()), ..Selector::default() });
    let size = Just(Selector { min_size: Some(Bytes::new(1)), ..Selector::default() });
    let by = prop_oneof![4 => serial(), 1 => size];
    let place = select(&["/srv/one", "/srv/two", "/srv"]);
    let parted = prop::bool::weighted(0.3);
    (by, place, any::<bool>(), support::disks::encryption(), parted).prop_map(
        |(select, mount, reads, encryption, parted)| {
            let options = reads.then_some(MountOption::NoAtime).into_iter().collect();
            let one = DiskSpec { select, filesystem: Filesystem::Ext4, ..DiskSpec::default() };
            if parted {
                return support::disks::parted(one, mount, options);
            }
            DiskSpec { encryption, mount: Some(mount.to_owned()), options, ..one }
        },
    )
}

fn blank_disk(number: u64) -> DiskSeen {
    let serial = SERIALS[usize::try_from(number).unwrap_or_default()].to_owned();
    DiskSeen {
        device: format!("sd{number}"),
        seq: number,
        identity: Identity { serial, wwn: String::new(), size: 2 * DISK },
        ends: Ends::Zero,
        ..DiskSeen::default()
    }
}

fn digest() -> impl Strategy<Value = &'static str> {
    select(&[GOOD, BETTER, BAD])
}

fn verb() -> impl Strategy<Value = Verb> {
    select(vec![
        Verb::Containers,
        Verb::Networks,
        Verb::Images,
        Verb::Pull,
        Verb::PullDeclared,
        Verb::Build,
        Verb::Push,
        Verb::GiveBack,
        Verb::Create,
        Verb::Start,
        Verb::Stop,
        Verb::Unpause,
        Verb::Rename,
        Verb::Update,
        Verb::Remove,
        Verb::CreateNetwork,
        Verb::RemoveNetwork,
        Verb::Volumes,
        Verb::CreateVolume,
        Verb::SetAccess,
        Verb::Disks,
        Verb::MakeDisk,
        Verb::MountDisk,
        Verb::UnmountDisk,
        Verb::SetQuota,
        Verb::ReleaseVolume,
        Verb::SetFilter,
        Verb::ClearFilter,
        Verb::SetRules,
        Verb::ClearRules,
        Verb::PlaceSecrets,
        Verb::ClearSecrets,
        Verb::Secrets,
        Verb::WriteSecret,
        Verb::RemoveSecret,
        Verb::Snapshot,
        Verb::Restore,
        Verb::DropSnapshot,
        Verb::Commit,
        Verb::Condemn,
    ])
}

/// The daemon, the machine and the files.
struct Scene {
    engine: Arc<FakeEngine>,
    files: Files,
    foreign: BTreeMap<String, ContainerSeen>,
    /// Disks that were pulled out, with what is stored on them.
    drawer: BTreeMap<u64, (DiskSeen, String)>,
}

impl Scene {
    fn new(files: Files) -> Self {
        let engine = Arc::new(FakeEngine::new());
        engine.sicken(BAD);
        engine.keep_volume("data");
        Self { engine, files, foreign: BTreeMap::new(), drawer: BTreeMap::new() }
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
        secrets && images && networks && disks && volumes && containers && firewall
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
        let before = self.engine.mutations();
        for _ in 0..REST {
            prop_assert!(self.pass());
        }
        prop_assert_eq!(self.engine.mutations(), before);
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

    fn foreign_is_untouched(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.engine.trespasses().is_empty(), "{:?}", self.engine.trespasses());
        let view = self.engine.truth();
        for (id, before) in &self.foreign {
            prop_assert_eq!(view.containers.iter().find(|it| it.id == *id), Some(before));
        }
        Ok(())
    }

    /// Looks at the machine with other eyes than the planner's: what waits for nothing must be as its file says.
    fn is_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let view = self.engine.truth();
        let waiting: BTreeSet<String> = self.plan().waiting.into_iter().map(|it: Waiting| it.subject).collect();
        let only_for_names = self.plan().waiting.iter().all(|it| it.reason == "NameTaken");
        prop_assert!(waiting.is_empty() || !only_for_names || !self.foreign.is_empty(), "they wait for each other");
        for container in view.containers.iter().filter_map(ContainerSeen::subject) {
            prop_assert!(self.files.containers.contains_key(container), "orphan of {container}");
        }
        for (name, spec) in self.files.containers.iter().filter(|(name, _)| !waiting.contains(**name)) {
            let ours: Vec<_> = view.containers.iter().filter(|it| it.subject() == Some(name)).collect();
            prop_assert_eq!(ours.len(), 1, "{}", name);
            is_as_its_file_says(ours[0], name, spec, &view)?;
            has_its_secrets(ours[0], name, spec, &view)?;
        }
        for subject in view.places.keys() {
            prop_assert!(self.files.containers.contains_key(subject.as_str()), "files of {} are left", subject);
        }
        self.secrets_are_as_the_files_say()?;
        self.disks_are_as_the_files_say()?;
        let seen = self.engine.networks().now_or_never().unwrap().unwrap();
        self.rules_are_as_the_files_say(&seen)?;
        let networks = seen.networks;
        let in_use = |network: &str| networks.iter().any(|it| it.name == network && !it.attached.is_empty());
        for network in networks.iter().filter(|it| it.stamp.is_some() && !in_use(&it.name)) {
            let file = self.files.networks.get(network.name.as_str()).map(NetworkSpec::fixed);
            prop_assert_eq!(network.stamp.as_ref(), file.as_ref());
        }
        Ok(())
    }

    /// Every policy is kept, whoever publishes to certain addresses is guarded while it runs, and nothing else is.
    fn rules_are_as_the_files_say(&self, seen: &NetworkView) -> Result<(), TestCaseError> {
        let asking = |spec: &NetworkSpec| spec.policy.is_some();
        let policies = self.files.networks.iter().filter(|(_, spec)| asking(spec)).map(|(name, _)| (*name).to_owned());
        let rules = seen.firewall.rules.clone().unwrap_or(RulesSeen { intact: true, ..RulesSeen::default() });
        let policies: BTreeSet<String> = policies.collect();
        // A network that is in use and has no file any more is closed.
        let in_use = |name: &str| seen.networks.iter().any(|it| it.name == name && !it.attached.is_empty());
        let closed = |name: &str| in_use(name) && !self.files.networks.contains_key(name);
        prop_assert!(rules.intact);
        let filter = self.engine.filter().now_or_never().unwrap().unwrap().filter.rules;
        prop_assert_eq!(filter.map(|rules| rules.intact), self.files.firewall.as_ref().map(|_| true));
        prop_assert!(policies.is_subset(&rules.networks), "{:?} {:?}", rules, policies);
        prop_assert!(rules.networks.difference(&policies).all(|name| closed(name)), "{:?} {:?}", rules, policies);
        for member in &seen.members {
            let to_range = member.ports.iter().any(|port| matches!(port.exposed_to(), Exposure::Range(_)));
            let guarded = rules.guards.contains(&member.id);
            prop_assert!(guarded == to_range, "{:?} {:?}", member, rules);
        }
        self.volumes_are_as_the_files_say()
    }

    fn volumes_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let reconciler = Volumes(Arc::clone(&self.engine), Arc::clone(&self.engine));
        let seen = reconciler.observe().now_or_never().unwrap().unwrap();
        let plan = Volumes::<FakeEngine>::plan(&self.files.volumes(), &seen);
        let waiting: BTreeSet<String> = plan.waiting.into_iter().map(|it| it.subject).collect();
        for (name, spec) in self.files.volumes.iter().filter(|(name, _)| !waiting.contains(**name)) {
            let volume = seen.volumes.iter().find(|it| it.name == *name);
            prop_assert!(volume.is_some(), "there is no volume {name}");
            let (path, directory) = volume.map(|it| (it.path.clone(), it.directory.clone())).unwrap_or_default();
            prop_assert_eq!(path, spec.path.clone());
            if let Some(owner) = &spec.owner {
                prop_assert_eq!(Some(owner), directory.as_ref().map(|it| &it.owner));
            }
            if let (Some(quota), Some(directory)) = (spec.quota, &directory) {
                prop_assert_eq!(Some(quota.get()), directory.quota.limit);
            }
        }
        Ok(())
    }

    fn disks_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let seen = self.engine.disks().now_or_never().unwrap().unwrap();
        let plan = Disks::<FakeEngine>::plan(&self.files.disks(), &seen);
        let waiting: BTreeSet<String> = plan.waiting.into_iter().map(|it| it.subject).collect();
        for (name, spec) in self.files.disks.iter().filter(|(name, _)| !waiting.contains(**name)) {
            for (key, at) in spec.places(name) {
                let mount = seen.mounts.iter().find(|it| it.subject == key && it.present);
                prop_assert_eq!(mount.and_then(|it| it.mount.at.clone()), Some(at), "{}", key);
            }
        }
        for mount in &seen.mounts {
            prop_assert!(self.files.disks.contains_key(manifest_of(&mount.subject)), "{:?} is nobody's", mount);
        }
        prop_assert!(
            seen.making
                .iter()
                .all(|it| waiting.contains(&it.subject) || !self.files.disks.contains_key(it.subject.as_str()))
        );
        Ok(())
    }

    fn secrets_are_as_the_files_say(&self) -> Result<(), TestCaseError> {
        let held = self.engine.secrets().now_or_never().unwrap().unwrap().secrets;
        let sealed = held.into_iter().map(|it| {
            let values = it.values.into_iter().map(|(key, value)| (key, value.sealed.unwrap_or_default()));
            (it.name, values.collect::<BTreeMap<_, _>>())
        });
        let files = self.files.secrets.iter().map(|(name, spec)| ((*name).to_owned(), spec.data.clone()));
        prop_assert_eq!(sealed.collect::<BTreeMap<_, _>>(), files.collect::<BTreeMap<_, _>>());
        Ok(())
    }
}

/// Looks at what a running container was given of secrets.
fn has_its_secrets(
    seen: &ContainerSeen,
    name: &str,
    spec: &ContainerSpec,
    view: &EngineView,
) -> Result<(), TestCaseError> {
    for it in spec.secrets.iter().filter(|_| seen.state == State::Running) {
        let mut values = view.secrets[&it.secret].clone();
        values.retain(|key, _| it.key.as_ref().is_none_or(|only| only == key));
        match (place(it), &it.env) {
            (Some(place), _) => {
                let files = &view.places[name][&place];
                let digests = files.iter().map(|(key, file)| (key.clone(), file.digest.clone())).collect();
                prop_assert_eq!(&values, &digests, "{} has other files", name);
            }
            (None, variable) => {
                let digests = &seen.stamp.as_ref().unwrap().variables;
                prop_assert_eq!(digests.get(variable.as_ref().unwrap()), values.values().next(), "{}", name);
            }
        }
    }
    Ok(())
}

fn is_as_its_file_says(
    seen: &ContainerSeen,
    name: &str,
    spec: &ContainerSpec,
    view: &EngineView,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(&seen.name, name);
    prop_assert!(seen.attached);
    // Who stands on a disk is started by nobody but the daemon, and only while the disk is there.
    let mut grounds = view.grounds.iter().filter(|ground| spec.mounts.iter().any(|mount| ground.carries(mount)));
    let limits = match grounds.clone().next() {
        Some(_) => Limits { restart: Restart::No, ..Limits::of(spec) },
        None => Limits::of(spec),
    };
    prop_assert_eq!(&seen.limits, &limits);
    prop_assert!(grounds.all(|ground| ground.mounted || !spec.running), "{} stands on a bare mount point", name);
    let made_from = seen.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref()).unwrap();
    prop_assert_eq!(
        (&made_from.image, &made_from.env, &made_from.ports, &made_from.network, &made_from.mounts),
        (&spec.image, &spec.env, &spec.ports, &spec.network, &spec.mounts)
    );
    let may_have_ended = spec.restart != Restart::Always && seen.state == State::Exited;
    let tried = seen.stamp.as_ref().is_some_and(|stamp| stamp.rollout.is_some());
    let bad = seen.image_digest.as_deref() == Some(BAD);
    prop_assert!(!(tried && bad), "{name} was updated to an image that never does well");
    let runs = seen.state == State::Running || (bad && seen.state == State::Restarting);
    let as_asked = if spec.running { runs || may_have_ended } else { !seen.state.is_live() };
    prop_assert!(as_asked, "{name} is {:?}", seen.state);
    Ok(())
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

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

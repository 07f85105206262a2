//! Machines and desires made up at random, from few names so that they get in each other's way.

mod containers;

use std::collections::BTreeMap;

use piccolo_agent::host::{GroundPlaces, Limits, Offer, SourceSeen, Stamp, fake::FakeEngine};
use piccolo_schema::{
    ConfigSourceSpec, Container, ContainerSpec, Declared as _, Desired, Disk, DiskSpec, Firewall, FirewallSpec, Image,
    ImageSpec, Network, NetworkSpec, Secret, SecretSpec, Volume, VolumeSpec,
    container::{Protocol, Restart},
    firewall::{Forward, Service},
    image::{Build, Credentials, Prune, Push},
    network::{Allow, Policy},
    quantity::Bytes,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use self::containers::{image, restart};
pub use self::containers::{plain, spec};

/// The names of manifests.
pub const NAMES: [&str; 4] = ["cache", "db", "job", "web"];
/// The names that a container may come to have: those of manifests, of replacements, and one of nobody.
const ANY_NAMES: [&str; 8] = ["cache", "db", "job", "web", "db.next", "web.next", "db.prev", "by-hand"];
const NETWORKS: [&str; 2] = ["lan", "wan"];
const VOLUMES: [&str; 2] = ["data", "pages"];
const SECRETS: [&str; 2] = ["login", "tls"];
const IMAGES: [&str; 2] = ["first", "second"];
/// An image for which the registry wants a login. Only Image manifests that name one ask for it.
pub const CLOSED: &str = "closed:1";
/// What an image is built from. It is there once somebody has written to it.
const SOURCE: &str = "/srv/app";
/// The names under which images are pushed.
const PUSHED: [&str; 2] = ["lan/app:1", "lan/app:2"];

/// What is wanted of all kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    pub containers: BTreeMap<&'static str, ContainerSpec>,
    pub networks: BTreeMap<&'static str, NetworkSpec>,
    pub volumes: BTreeMap<&'static str, VolumeSpec>,
    pub secrets: BTreeMap<&'static str, SecretSpec>,
    pub images: BTreeMap<&'static str, ImageSpec>,
    pub disks: BTreeMap<&'static str, DiskSpec>,
    pub firewall: Option<FirewallSpec>,
    pub broken: bool,
}

/// What a hand, or an accident, does to the machine.
#[derive(Clone, Debug)]
pub enum Drift {
    Kill(&'static str),
    Exit(&'static str, i64),
    Pause(&'static str),
    Start(&'static str),
    Remove(&'static str),
    BeginRemoval(&'static str),
    BreakDown(&'static str),
    Rename(&'static str, &'static str),
    /// Two containers get each other's names.
    Exchange(&'static str, &'static str),
    Limit(&'static str, Option<u64>, Restart),
    Detach(&'static str),
    SmudgeStamp(&'static str),
    RunForeign(&'static str),
    Adopt(&'static str),
    AddForeignNetwork(&'static str),
    RemoveNetwork(&'static str),
    AddForeignVolume(&'static str),
    ForgetVolume(&'static str),
    Chown(&'static str),
    RemoveImage(&'static str),
    /// What an image is built from is changed, or goes.
    EditSource(Option<&'static str>),
    /// A push of a manifest breaks off.
    BreakOffPush(&'static str),
    PutArchive(&'static str, u64),
    TakeArchive(&'static str),
    AlterRules,
    FlushRules,
    ForgetSecrets,
    AlterSecret(&'static str),
    Reboot,
}

impl Files {
    pub fn containers(&self) -> Desired<Container> {
        let manifests = self.containers.iter().map(|(name, spec)| Container::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    pub fn volumes(&self) -> Desired<Volume> {
        let manifests = self.volumes.iter().map(|(name, spec)| Volume::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    pub fn networks(&self) -> Desired<Network> {
        let manifests = self.networks.iter().map(|(name, spec)| Network::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }
}

impl Files {
    pub fn disks(&self) -> Desired<Disk> {
        let manifests = self.disks.iter().map(|(name, spec)| Disk::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    /// What is said of mount points and directories.
    pub fn places(&self) -> GroundPlaces {
        let disks = self.disks().manifests.into_iter().flat_map(|it| it.spec.places(it.name()));
        let volumes =
            self.volumes().manifests.into_iter().filter_map(|it| Some((it.name().to_owned(), it.spec.plain_path()?)));
        GroundPlaces { disks: disks.collect(), volumes: volumes.collect() }
    }

    pub fn images(&self) -> Desired<Image> {
        let manifests = self.images.iter().map(|(name, spec)| Image::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    pub fn firewall(&self) -> Desired<Firewall> {
        let manifests = self.firewall.iter().map(|spec| Firewall::new(Firewall::NAME, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    pub fn secrets(&self) -> Desired<Secret> {
        let manifests = self.secrets.iter().map(|(name, spec)| Secret::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }
}

impl Drift {
    pub fn happen(&self, machine: &FakeEngine) {
        match *self {
            Self::Kill(name) => machine.kill(name),
            Self::Exit(name, code) => machine.exit(name, code),
            Self::Pause(name) => machine.pause(name),
            Self::Start(name) => machine.start_by_hand(name),
            Self::Remove(name) => machine.remove_by_hand(name),
            Self::BeginRemoval(name) => machine.begin_removal(name),
            Self::BreakDown(name) => machine.break_down(name),
            Self::Rename(name, to) => machine.rename_by_hand(name, to),
            Self::Exchange(one, other) => {
                machine.rename_by_hand(one, "aside");
                machine.rename_by_hand(other, one);
                machine.rename_by_hand("aside", other);
            }
            Self::Limit(name, memory, restart) => machine.limit(name, Limits { memory, restart, ..Limits::default() }),
            Self::Detach(name) => machine.detach(name),
            Self::SmudgeStamp(name) => machine.smudge_stamp(name),
            Self::RunForeign(name) => machine.run_foreign(name),
            Self::Adopt(name) => machine.adopt_by_hand(name, adopted(name)),
            Self::AddForeignNetwork(name) => machine.add_foreign_network(name),
            Self::RemoveNetwork(name) => machine.remove_network_by_hand(name),
            Self::AddForeignVolume(name) => machine.add_foreign_volume(name),
            Self::ForgetVolume(name) => machine.forget_volume_by_hand(name),
            Self::Chown(name) => machine.chown_volume(name, "7:7"),
            Self::RemoveImage(name) => machine.remove_image(name),
            Self::BreakOffPush(name) => machine.break_off_push(name, PUSHED[0]),
            Self::EditSource(fingerprint) => machine.edit_source(SOURCE, fingerprint),
            Self::PutArchive(path, size) => machine.put_archive(path, size),
            Self::TakeArchive(path) => machine.take_archive(path),
            Self::AlterRules => machine.alter_rules(),
            Self::FlushRules => machine.flush_rules(),
            Self::ForgetSecrets => machine.forget_secrets(),
            Self::Reboot => {
                machine.reboot();
                machine.lose_mounts();
            }
            Self::AlterSecret(name) => machine.alter_secret(name),
        }
    }
}

pub fn a_name() -> impl Strategy<Value = &'static str> {
    select(&NAMES)
}

pub fn files() -> impl Strategy<Value = Files> {
    let containers = proptest::collection::btree_map(a_name(), spec(), 0..=NAMES.len());
    let networks = proptest::collection::btree_map(a_network(), network_spec(), 0..=NETWORKS.len());
    let volumes = proptest::collection::btree_map(a_volume(), volume_spec(), 0..=VOLUMES.len());
    let secrets = proptest::collection::btree_map(a_secret(), secret_spec(), 0..=SECRETS.len());
    let images = proptest::collection::btree_map(an_image(), image_spec(), 0..=IMAGES.len());
    let all = (containers, networks, volumes, secrets, images, firewall());
    all.prop_map(|(containers, networks, volumes, secrets, images, firewall)| Files {
        containers,
        networks,
        volumes,
        secrets,
        images,
        disks: BTreeMap::new(),
        firewall,
        broken: false,
    })
}

pub fn an_image() -> impl Strategy<Value = &'static str> {
    select(&IMAGES)
}

/// Of the images that containers name, with or without a login, pulled or built, or of the one that can't be had without.
pub fn image_spec() -> impl Strategy<Value = ImageSpec> {
    let open = (image(), option::of(a_secret()));
    let closed = (Just(CLOSED), a_secret().prop_map(Some));
    let reference = prop_oneof![3 => open.boxed(), 1 => closed.boxed()];
    let pushes = vec(push(), 0..=2);
    // What is built comes from no archive.
    let origin = prop_oneof![
        3 => Just((None, None)),
        4 => build().prop_map(|it| (Some(it), None)),
        3 => an_archive().prop_map(|it| (None, Some(it.to_owned()))),
    ];
    let prune = option::of(select(&[Prune::Unused]));
    (reference, origin, pushes, prune).prop_map(|((reference, secret), (build, archive), push, prune)| ImageSpec {
        reference: reference.to_owned(),
        credentials: secret.map(|secret| Credentials { secret: secret.to_owned() }),
        build,
        push,
        archive,
        prune,
        mirrors: Vec::new(),
    })
}

fn push() -> impl Strategy<Value = Push> {
    (select(&PUSHED), option::of(a_secret())).prop_map(|(to, secret)| Push {
        to: to.to_owned(),
        credentials: secret.map(|secret| Credentials { secret: secret.to_owned() }),
    })
}

fn build() -> impl Strategy<Value = Build> {
    option::of(select(&["one", "two"])).prop_map(|target| Build {
        context: Some(SOURCE.to_owned()),
        target: target.map(str::to_owned),
        ..Build::default()
    })
}

fn an_archive() -> impl Strategy<Value = &'static str> {
    select(&["/srv/one.tar", "/srv/other.tar"])
}

pub fn a_network() -> impl Strategy<Value = &'static str> {
    select(&NETWORKS)
}

pub fn a_volume() -> impl Strategy<Value = &'static str> {
    select(&VOLUMES)
}

/// Of two paths and no path, with or without an owner and a quota.
pub fn volume_spec() -> impl Strategy<Value = VolumeSpec> {
    let path = option::of(select(&["/srv/one", "/srv/two"]));
    let owner = option::of(select(&["0:0", "999:999"]));
    (path, owner, option::weighted(0.2, 1..3u64)).prop_map(|(path, owner, quota)| VolumeSpec {
        path: path.map(str::to_owned),
        owner: owner.map(str::to_owned),
        quota: quota.map(|quota| Bytes::new(quota << 20)),
        ..VolumeSpec::default()
    })
}

pub fn network_spec() -> impl Strategy<Value = NetworkSpec> {
    (any::<bool>(), option::of(policy())).prop_map(|(internal, policy)| NetworkSpec {
        internal,
        policy,
        ..NetworkSpec::default()
    })
}

/// Who may talk to whom, by the one label that containers may have.
fn policy() -> impl Strategy<Value = Policy> {
    let labels = |on: bool| BTreeMap::from([("on".to_owned(), on.to_string())]);
    option::of(any::<bool>()).prop_map(move |on| {
        let allow = on.map(|on| Allow { from: labels(on), ports: vec![80], ..Allow::default() });
        Policy { allow: allow.into_iter().collect(), egress: Vec::new() }
    })
}

/// With or without a service and a port that leads on to one of the containers.
pub fn firewall() -> impl Strategy<Value = Option<FirewallSpec>> {
    let zone = || select(&["lan", "containers", "anywhere"]).prop_map(|zone| vec![zone.to_owned()]);
    let rate = option::of(Just("10/minute".to_owned()));
    let service = (1..3u16, zone(), rate).prop_map(|(port, from, rate)| {
        let name = "it".to_owned();
        Service { name, ports: vec![port], protocol: Protocol::Tcp, from, rate, ..Service::default() }
    });
    let forward = (a_name(), select(&[80, 443, 8080]), zone()).prop_map(|(container, port, from)| Forward {
        name: "on".to_owned(),
        port,
        from,
        container: container.to_owned(),
        container_port: 80,
        ..Forward::default()
    });
    option::weighted(
        0.8,
        (vec(service, 0..=1), vec(forward, 0..=1)).prop_map(|(services, forwards)| FirewallSpec {
            services,
            forwards,
            ..FirewallSpec::default()
        }),
    )
}

pub fn a_secret() -> impl Strategy<Value = &'static str> {
    select(&SECRETS)
}

pub fn secret_spec() -> impl Strategy<Value = SecretSpec> {
    let values = proptest::collection::btree_map(select(&["password", "user"]), select(&["one", "two"]), 0..=2);
    values.prop_map(|values| SecretSpec {
        data: values.into_iter().map(|(key, value)| (key.to_owned(), format!("sealed:{value}"))).collect(),
        recipients: Vec::new(),
    })
}

/// What two repositories have, with anything that may speak against it.
pub fn sources() -> impl Strategy<Value = BTreeMap<String, SourceSeen>> {
    proptest::collection::btree_map(select(&["home", "work"]).prop_map(str::to_owned), source(), 0..=2)
}

fn source() -> impl Strategy<Value = SourceSeen> {
    let words = || option::weighted(0.2, Just("a sentence".to_owned()));
    let revision = || select(&["1", "2"]).prop_map(|digit: &str| digit.repeat(40));
    let offer = (revision(), words(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), words()).prop_map(
        |(revision, distrust, rewound, emptied, refused)| {
            let refused = refused.into_iter().collect();
            Offer { revision, distrust, rewound, emptied, refused, ..Offer::default() }
        },
    );
    let all = (option::of(revision()), option::of(revision()), option::weighted(0.9, offer), words(), words());
    all.prop_map(|(accept, revision, offer, failure, edited)| SourceSeen {
        asked: ConfigSourceSpec { accept, ..ConfigSourceSpec::default() },
        revision,
        offer,
        failure,
        edited: edited.into_iter().collect(),
        ..SourceSeen::default()
    })
}

pub fn drift() -> impl Strategy<Value = Drift> {
    let name = || select(&ANY_NAMES);
    prop_oneof![
        name().prop_map(Drift::Kill),
        (name(), 0..3i64).prop_map(|(name, code)| Drift::Exit(name, code)),
        name().prop_map(Drift::Pause),
        name().prop_map(Drift::Start),
        name().prop_map(Drift::Remove),
        name().prop_map(Drift::BeginRemoval),
        name().prop_map(Drift::BreakDown),
        (name(), name()).prop_map(|(name, to)| Drift::Rename(name, to)),
        (name(), name()).prop_map(|(one, other)| Drift::Exchange(one, other)),
        (name(), option::of(1..3u64), restart()).prop_map(|(name, memory, it)| Drift::Limit(name, memory, it)),
        name().prop_map(Drift::Detach),
        name().prop_map(Drift::SmudgeStamp),
        name().prop_map(Drift::RunForeign),
        name().prop_map(Drift::Adopt),
        a_network().prop_map(Drift::AddForeignNetwork),
        a_network().prop_map(Drift::RemoveNetwork),
        a_volume().prop_map(Drift::AddForeignVolume),
        a_volume().prop_map(Drift::ForgetVolume),
        a_volume().prop_map(Drift::Chown),
        image().prop_map(Drift::RemoveImage),
        option::weighted(0.8, select(&["one", "two"])).prop_map(Drift::EditSource),
        an_image().prop_map(Drift::BreakOffPush),
        (an_archive(), 1..3u64).prop_map(|(path, size)| Drift::PutArchive(path, size)),
        an_archive().prop_map(Drift::TakeArchive),
        Just(Drift::AlterRules),
        Just(Drift::FlushRules),
        Just(Drift::ForgetSecrets),
        Just(Drift::Reboot),
        a_secret().prop_map(Drift::AlterSecret),
    ]
}

/// Returns a sequence of drifts.
pub fn drifts(most: usize) -> impl Strategy<Value = Vec<Drift>> {
    vec(drift(), 0..=most)
}

/// Returns the stamp of a container that was adopted for the manifest of its name.
fn adopted(name: &str) -> Stamp {
    Stamp { subject: name.to_owned(), spec: Some(Box::new(plain("app:1"))), ..Stamp::default() }
}

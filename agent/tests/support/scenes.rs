//! Machines and desires made up at random, from few names so that they get in each other's way.

use std::collections::BTreeMap;

use piccolo_agent::host::{Limits, fake::FakeEngine};
use piccolo_schema::{
    Container, ContainerSpec, Desired, Network, NetworkSpec,
    container::{Dependency, DependencyCondition, Port, Protocol, Restart},
    quantity::Bytes,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// The names of manifests.
pub const NAMES: [&str; 4] = ["cache", "db", "job", "web"];
/// The names that a container may come to have: those of manifests, of replacements, and one of nobody.
const ANY_NAMES: [&str; 7] = ["cache", "db", "job", "web", "db.next", "web.next", "by-hand"];
const NETWORKS: [&str; 2] = ["lan", "wan"];

/// What is wanted of both kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Files {
    pub containers: BTreeMap<&'static str, ContainerSpec>,
    pub networks: BTreeMap<&'static str, NetworkSpec>,
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
    AddForeignNetwork(&'static str),
    RemoveNetwork(&'static str),
    RemoveImage(&'static str),
}

impl Files {
    pub fn containers(&self) -> Desired<Container> {
        let manifests = self.containers.iter().map(|(name, spec)| Container::new(name, spec.clone())).collect();
        Desired { complete: !self.broken, ..Desired::complete(manifests) }
    }

    pub fn networks(&self) -> Desired<Network> {
        let manifests = self.networks.iter().map(|(name, spec)| Network::new(name, spec.clone())).collect();
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
            Self::AddForeignNetwork(name) => machine.add_foreign_network(name),
            Self::RemoveNetwork(name) => machine.remove_network_by_hand(name),
            Self::RemoveImage(name) => machine.remove_image(name),
        }
    }
}

pub fn a_name() -> impl Strategy<Value = &'static str> {
    select(&NAMES)
}

pub fn files() -> impl Strategy<Value = Files> {
    let containers = proptest::collection::btree_map(a_name(), spec(), 0..=NAMES.len());
    let networks = proptest::collection::btree_map(a_network(), network_spec(), 0..=NETWORKS.len());
    (containers, networks).prop_map(|(containers, networks)| Files { containers, networks, broken: false })
}

pub fn a_network() -> impl Strategy<Value = &'static str> {
    select(&NETWORKS)
}

pub fn network_spec() -> impl Strategy<Value = NetworkSpec> {
    any::<bool>().prop_map(|internal| NetworkSpec { internal, ..NetworkSpec::default() })
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
        a_network().prop_map(Drift::AddForeignNetwork),
        a_network().prop_map(Drift::RemoveNetwork),
        image().prop_map(Drift::RemoveImage),
    ]
}

/// Most specs are plain; each speciality comes now and then.
pub fn spec() -> impl Strategy<Value = ContainerSpec> {
    let seldom = |strategy: BoxedStrategy<ContainerSpecPart>| option::weighted(0.2, strategy);
    let parts = (
        seldom(any::<bool>().prop_map(ContainerSpecPart::Env).boxed()),
        seldom(prop_oneof![Just(8080u16), Just(8081)].prop_map(ContainerSpecPart::Port).boxed()),
        seldom((1..3u64).prop_map(ContainerSpecPart::Memory).boxed()),
        seldom(Just(ContainerSpecPart::HealthCheck).boxed()),
        seldom((a_name(), any::<bool>()).prop_map(|(on, healthy)| ContainerSpecPart::DependsOn(on, healthy)).boxed()),
        seldom(a_network().prop_map(ContainerSpecPart::Network).boxed()),
        seldom(a_network().prop_map(ContainerSpecPart::MoreNetworks).boxed()),
        seldom(restart().prop_map(ContainerSpecPart::Restart).boxed()),
        seldom(Just(ContainerSpecPart::Stopped).boxed()),
    );
    (image(), parts).prop_map(|(image, (a, b, c, d, e, f, g, h, i))| {
        let mut spec = plain(image);
        [a, b, c, d, e, f, g, h, i].into_iter().flatten().for_each(|part| part.put_into(&mut spec));
        spec
    })
}

/// Returns a sequence of drifts.
pub fn drifts(most: usize) -> impl Strategy<Value = Vec<Drift>> {
    vec(drift(), 0..=most)
}

/// Returns the simplest spec.
pub fn plain(image: &str) -> ContainerSpec {
    serde_json::from_value(serde_json::json!({ "image": image })).unwrap()
}

#[derive(Clone, Debug)]
enum ContainerSpecPart {
    Env(bool),
    Port(u16),
    Memory(u64),
    HealthCheck,
    DependsOn(&'static str, bool),
    Network(&'static str),
    /// Networks beside the first one, if it has one.
    MoreNetworks(&'static str),
    Restart(Restart),
    Stopped,
}

impl ContainerSpecPart {
    fn put_into(self, spec: &mut ContainerSpec) {
        match self {
            Self::Env(on) => drop(spec.env.insert("ON".to_owned(), on.to_string())),
            Self::Port(host_port) => {
                spec.ports.push(Port { container_port: 80, host_port, host_ip: None, protocol: Protocol::Tcp });
            }
            Self::Memory(memory) => spec.memory = Some(Bytes::new(memory)),
            Self::HealthCheck => {
                spec.health_check = serde_json::from_value(serde_json::json!({ "command": ["true"] })).unwrap();
            }
            Self::DependsOn(container, healthy) => {
                let condition = if healthy { DependencyCondition::Healthy } else { DependencyCondition::Started };
                spec.depends_on.push(Dependency { container: container.to_owned(), condition });
            }
            Self::Network(network) => spec.network = Some(network.to_owned()),
            Self::MoreNetworks(network) if spec.network.as_deref().is_some_and(|first| first != network) => {
                spec.more_networks = vec![network.to_owned()];
            }
            Self::MoreNetworks(_) => {}
            Self::Restart(restart) => spec.restart = restart,
            Self::Stopped => spec.running = false,
        }
    }
}

fn image() -> impl Strategy<Value = &'static str> {
    select(&["app:1", "app:2"])
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::No), Just(Restart::OnFailure), Just(Restart::Always)]
}

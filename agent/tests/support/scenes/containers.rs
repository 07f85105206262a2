//! Containers as a manifest may ask for them.

use piccolo_schema::{
    ContainerSpec,
    container::{
        Dependency, DependencyCondition, HealthCheck, Mount, Port, Protocol, Restart, SecretUse, Update, UpdatePolicy,
    },
    quantity::Bytes,
};
use proptest::{option, prelude::*, sample::select};

use super::{a_name, a_network, a_secret, a_volume};

/// Most specs are plain; each speciality comes now and then.
pub fn spec() -> impl Strategy<Value = ContainerSpec> {
    let seldom = |strategy: BoxedStrategy<ContainerSpecPart>| option::weighted(0.2, strategy);
    let parts = (
        seldom(any::<bool>().prop_map(ContainerSpecPart::Env).boxed()),
        seldom(
            (prop_oneof![Just(8080u16), Just(8081)], option::of(exposure()))
                .prop_map(|(port, exposure)| ContainerSpecPart::Port(port, exposure))
                .boxed(),
        ),
        seldom((1..3u64).prop_map(ContainerSpecPart::Memory).boxed()),
        seldom(Just(ContainerSpecPart::HealthCheck).boxed()),
        seldom((a_name(), any::<bool>()).prop_map(|(on, healthy)| ContainerSpecPart::DependsOn(on, healthy)).boxed()),
        seldom(a_network().prop_map(ContainerSpecPart::Network).boxed()),
        seldom(a_network().prop_map(ContainerSpecPart::MoreNetworks).boxed()),
        seldom(restart().prop_map(ContainerSpecPart::Restart).boxed()),
        seldom(Just(ContainerSpecPart::Stopped).boxed()),
        seldom(a_volume().prop_map(ContainerSpecPart::Volume).boxed()),
        seldom((a_secret(), 0..3u8).prop_map(|(name, way)| ContainerSpecPart::Secret(name, way)).boxed()),
        option::weighted(0.4, any::<bool>().prop_map(ContainerSpecPart::Update)),
    );
    (image(), parts).prop_map(|(image, (a, b, c, d, e, f, g, h, i, j, k, l))| {
        let mut spec = plain(image);
        [a, b, c, d, e, f, g, h, i, j, k, l].into_iter().flatten().for_each(|part| part.put_into(&mut spec));
        spec
    })
}

/// Returns the simplest spec.
pub fn plain(image: &str) -> ContainerSpec {
    serde_json::from_value(serde_json::json!({ "image": image })).unwrap()
}

#[derive(Clone, Debug)]
enum ContainerSpecPart {
    Env(bool),
    Port(u16, Option<&'static str>),
    Memory(u64),
    HealthCheck,
    DependsOn(&'static str, bool),
    Network(&'static str),
    /// Networks beside the first one, if it has one.
    MoreNetworks(&'static str),
    Restart(Restart),
    Stopped,
    Volume(&'static str),
    /// As files, as one file, or as a variable.
    Secret(&'static str, u8),
    /// Follows its tag, by itself or when a person says so.
    Update(bool),
}

impl ContainerSpecPart {
    fn put_into(self, spec: &mut ContainerSpec) {
        match self {
            Self::Env(on) => {
                spec.env.insert("ON".to_owned(), on.to_string());
                spec.labels.insert("on".to_owned(), on.to_string());
            }
            Self::Port(host_port, exposure) => {
                let (protocol, exposure) = (Protocol::Tcp, exposure.map(str::to_owned));
                spec.ports.push(Port { container_port: 80, host_port, host_ip: None, protocol, exposure });
            }
            Self::Memory(memory) => spec.memory = Some(Bytes::new(memory)),
            Self::HealthCheck => {
                let command = vec!["true".to_owned()];
                spec.health_check = Some(HealthCheck { command, ..HealthCheck::default() });
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
            Self::Volume(volume) => {
                let volume = Some(volume.to_owned());
                spec.mounts.push(Mount { path: "/data".to_owned(), host_path: None, volume, read_only: false });
            }
            Self::Update(auto) => {
                let policy = if auto { UpdatePolicy::Auto } else { UpdatePolicy::Manual };
                spec.update = Some(Update { policy, ..Update::default() });
            }
            Self::Secret(name, way) => spec.secrets.push(secret_use(name, way)),
        }
    }
}

fn exposure() -> impl Strategy<Value = &'static str> {
    select(&["loopback", "none", "192.168.1.0/24"])
}

fn secret_use(name: &str, way: u8) -> SecretUse {
    let it = SecretUse { secret: name.to_owned(), ..SecretUse::default() };
    let (path, key) = (Some("/run/secret".to_owned()), Some("password".to_owned()));
    match way {
        0 => SecretUse { path, ..it },
        1 => SecretUse { path, key, mode: Some("0400".to_owned()), ..it },
        _ => SecretUse { env: Some("PASSWORD".to_owned()), key, ..it },
    }
}

pub(super) fn image() -> impl Strategy<Value = &'static str> {
    select(&["app:1", "app:2"])
}

pub(super) fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::No), Just(Restart::OnFailure), Just(Restart::Always)]
}

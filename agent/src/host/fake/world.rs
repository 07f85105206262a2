use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use piccolo_schema::{ContainerSpec, Progress};

use super::{
    disks::Shelf,
    secrets::Value,
    volumes::{Place, Volume},
};
use crate::host::{
    Brought, Built, ContainerSeen, EngineView, Fingerprint, Firewall, GroundPlaces, HostError, NetworkSeen, Ours,
    Places, Pushed, Reason, Record, RulesSeen, SourceSeen, State, UpdatesSeen,
};

/// All there is on the machine.
///
/// Things are shared between a world and the older ones kept for stale looks, and copied when they change.
#[derive(Clone, Default)]
pub(super) struct World {
    /// Containers by identifier.
    pub(super) containers: BTreeMap<String, Arc<ContainerSeen>>,
    /// Networks by identifier.
    pub(super) networks: BTreeMap<String, NetworkSeen>,
    /// Volumes by name.
    pub(super) volumes: BTreeMap<String, Volume>,
    /// Directories with data by path.
    pub(super) directories: BTreeMap<String, Place>,
    /// Disks.
    pub(super) shelf: Shelf,
    /// What manifests say of mount points and directories.
    pub(super) grounds: GroundPlaces,
    /// Snapshots by volume and label.
    pub(super) snapshots: BTreeMap<(String, String), Place>,
    /// Data that was in a volume when it went back to a snapshot.
    pub(super) put_aside: Vec<String>,
    /// Values of secrets by name and key.
    pub(super) secrets: BTreeMap<String, BTreeMap<String, Value>>,
    /// Files that containers were given.
    pub(super) places: Places,
    /// Images that are here.
    pub(super) images: BTreeSet<String>,
    /// What is written on images that were built here.
    pub(super) built: BTreeMap<String, Built>,
    /// What registries were given, by manifest and by the name that it has there.
    pub(super) pushed: BTreeMap<String, BTreeMap<String, Pushed>>,
    /// Names that broken pushes left behind, by manifest.
    pub(super) lent: BTreeMap<String, BTreeSet<String>>,
    /// The fingerprints of what images are built from, by place; none where nothing can be read.
    pub(super) contexts: BTreeMap<String, Option<String>>,
    /// Images that manifests declare, as the engine lists them, with the names of the manifests.
    pub(super) declared: BTreeMap<String, String>,
    /// The images that were brought here, by identifier.
    pub(super) ours: BTreeMap<String, Ours>,
    /// How manifests name images, in familiar form.
    pub(super) named: BTreeSet<String>,
    /// The images that manifests build or load, as they name them.
    pub(super) made_here: BTreeSet<String>,
    /// How far pulls have come that are under way.
    pub(super) pulls: BTreeMap<String, Progress>,
    /// Archives by path.
    pub(super) archives: BTreeMap<String, Fingerprint>,
    /// Where images came from that the registry did not give.
    pub(super) brought: BTreeMap<String, Brought>,
    /// Images for which the registry wants a login.
    pub(super) closed: BTreeSet<String>,
    /// Images that the registry does not have.
    pub(super) unpublished: BTreeSet<String>,
    /// What is known of repositories.
    pub(super) sources: BTreeMap<String, SourceSeen>,
    /// The packet filter.
    pub(super) firewall: Firewall,
    /// Who may reach the machine.
    pub(super) filter: Option<RulesSeen>,
    /// The digests of tags in the registry.
    pub(super) tags: BTreeMap<String, String>,
    /// The digests of tags here.
    pub(super) local: BTreeMap<String, String>,
    /// Digests of images that corrupt their data.
    pub(super) spoilt: BTreeSet<String>,
    /// Digests of images that never do well.
    pub(super) sick: BTreeSet<String>,
    /// The digests that were started.
    pub(super) started: Vec<String>,
    /// What is written down of updates, by container.
    pub(super) records: BTreeMap<String, Record>,
    /// Volumes of which a snapshot is to be taken.
    pub(super) kept_volumes: BTreeSet<String>,
    /// The clock.
    pub(super) seconds: i64,
    /// When the engine was started, by that clock.
    pub(super) engine_since: i64,
    pub(super) logs: BTreeMap<String, Vec<Bytes>>,
    pub(super) mutations: u64,
    pub(super) interruptions: BTreeMap<String, u64>,
    pub(super) trespasses: Vec<String>,
    made: u64,
}

impl World {
    /// Returns what a look shows.
    pub(super) fn view(&self) -> EngineView {
        let mut containers: Vec<ContainerSeen> = self.containers.values().map(|it| it.as_ref().clone()).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        EngineView {
            containers,
            engine_since: Some(self.at(self.engine_since)),
            images: self.images.iter().cloned().collect(),
            declared_images: self.declared.clone(),
            made_images: self.made_images(),
            pulls: self.pulls.clone(),
            networks: self.networks.values().map(|network| network.name.clone()).collect(),
            volumes: self.volumes.keys().cloned().collect(),
            firewall: self.firewall(),
            secrets: self.digests(),
            places: self.places.clone(),
            updates: UpdatesSeen::default(),
            grounds: self.grounds_seen(),
        }
    }

    /// Returns the networks with those on them. As with a real engine, only what is live counts as being on a network.
    pub(super) fn networks(&self) -> Vec<NetworkSeen> {
        let with_attached = |network: &NetworkSeen| NetworkSeen { attached: self.on(&network.name), ..network.clone() };
        self.networks.values().map(with_attached).collect()
    }

    /// Returns what a look at the packet filter shows: nothing while it can't be used.
    pub(super) fn firewall(&self) -> Firewall {
        match &self.firewall.problem {
            Some(_) => Firewall { rules: None, ..self.firewall.clone() },
            None => self.firewall.clone(),
        }
    }

    /// Returns a new identifier.
    pub(super) fn id(&mut self) -> String {
        self.made += 1;
        format!("{:012x}", self.made)
    }

    /// Finds a container by identifier or name, as an engine does.
    pub(super) fn find(&self, id_or_name: &str) -> Option<&Arc<ContainerSeen>> {
        self.containers.get(id_or_name).or_else(|| self.containers.values().find(|it| it.name == id_or_name))
    }

    /// Finds a container that a verb is about to change, and notes it if it is not ours.
    pub(super) fn ours(&mut self, verb: &str, id_or_name: &str) -> Result<&mut ContainerSeen, HostError> {
        let found = self.find(id_or_name).map(|it| (it.id.clone(), it.stamp.is_none()));
        let (id, foreign) = found.ok_or_else(|| gone(id_or_name))?;
        if foreign {
            self.trespasses.push(format!("{verb} {id_or_name}"));
        }
        self.containers.get_mut(&id).map(Arc::make_mut).ok_or_else(|| gone(id_or_name))
    }

    /// Counts an effect, and whom it interrupted.
    pub(super) fn count(&mut self, interrupted: Option<String>) {
        self.mutations += 1;
        if let Some(subject) = interrupted {
            *self.interruptions.entry(subject).or_default() += 1;
        }
    }

    /// Returns an error if a live container other than this one has one of these ports.
    pub(super) fn ports_are_free(&self, id: &str, spec: &ContainerSpec) -> Result<(), HostError> {
        let others = self.containers.values().filter(|other| other.id != id && other.state.is_live());
        for held in others.filter_map(|other| spec_of(other)).flat_map(|spec| &spec.ports) {
            let clash = spec.ports.iter().any(|port| {
                (port.host_port, port.protocol) == (held.host_port, held.protocol)
                    && (port.bound_to().is_none() || held.bound_to().is_none() || port.bound_to() == held.bound_to())
            });
            if clash {
                let message = format!("Port {} of the machine is taken", held.host_port);
                return Err(HostError::new(Reason::PortTaken, message));
            }
        }
        Ok(())
    }

    /// Returns an error if the network that a spec names is not there.
    pub(super) fn network_is_there(&self, spec: &ContainerSpec) -> Result<(), HostError> {
        match spec.joins().find(|name| !self.networks.values().any(|network| network.name == *name)) {
            None => Ok(()),
            Some(name) => Err(HostError::new(Reason::Failed, format!("There is no network `{name}`"))),
        }
    }

    fn on(&self, network: &str) -> BTreeMap<String, String> {
        let is_on = |it: &&Arc<ContainerSeen>| {
            it.attached
                && it.state.is_live()
                && spec_of(it).is_some_and(|spec| spec.joins().any(|name| name == network))
        };
        self.containers.values().filter(is_on).map(|it| (it.id.clone(), it.name.clone())).collect()
    }
}

/// Returns the spec that a container was made from.
pub(super) fn spec_of(container: &ContainerSeen) -> Option<&ContainerSpec> {
    container.stamp.as_ref().and_then(|stamp| stamp.spec.as_deref())
}

/// Returns the error for a thing that is not there.
pub(super) fn gone(what: &str) -> HostError {
    HostError::new(Reason::Gone, format!("There is no `{what}`"))
}

/// Returns the error for a container that is in no state for a verb.
pub(super) fn not_while(state: State) -> HostError {
    HostError::new(Reason::Failed, format!("That can't be done while it is {}", state.as_str()))
}

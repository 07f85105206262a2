use std::{collections::BTreeMap, future::Future, sync::Arc};

use piccolo_schema::NetworkSpec;

use super::{
    FakeEngine, Verb,
    world::{World, spec_of},
};
use crate::host::{HostError, NetworkSeen, Networks, Reason};

impl Networks for FakeEngine {
    async fn networks(&self) -> Result<Vec<NetworkSeen>, HostError> {
        let networks = self.look().networks();
        self.verb_of_looking(Verb::Networks, networks).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.networks_changed.notified()
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<(), HostError> {
        self.verb(Verb::CreateNetwork, |world| world.create_network(name, spec)).await
    }

    async fn remove_network(&self, id: &str) -> Result<(), HostError> {
        self.verb(Verb::RemoveNetwork, |world| world.remove_network(id)).await
    }
}

impl World {
    fn create_network(&mut self, name: &str, spec: &NetworkSpec) -> Result<(), HostError> {
        if let Some(there) = self.networks.values().find(|network| network.name == name) {
            if there.stamp.as_ref() == Some(spec) {
                return Ok(());
            }
            return Err(HostError::new(Reason::NameTaken, format!("A network is already called `{name}`")));
        }
        let network = NetworkSeen {
            id: self.id(),
            name: name.to_owned(),
            stamp: Some(spec.clone()),
            subnets: spec.subnet.iter().cloned().collect(),
            gateways: spec.gateway.into_iter().collect(),
            attached: BTreeMap::new(),
        };
        self.networks.insert(network.id.clone(), network);
        self.count(None);
        Ok(())
    }

    fn remove_network(&mut self, id: &str) -> Result<(), HostError> {
        let Some(network) = self.networks().into_iter().find(|network| network.id == id) else { return Ok(()) };
        if network.stamp.is_none() {
            self.trespasses.push(format!("remove network {}", network.name));
        }
        if !network.attached.is_empty() {
            return Err(HostError::new(Reason::InUse, format!("Containers are on network `{}`", network.name)));
        }
        self.networks.remove(id);
        self.forget_network(&network.name);
        self.count(None);
        Ok(())
    }

    /// Leaves the stopped containers of a network that is gone without one, as an engine does: they know it by its
    /// identifier, which no new network of the same name will have.
    pub(super) fn forget_network(&mut self, name: &str) {
        for container in self.containers.values_mut() {
            if spec_of(container).is_some_and(|spec| spec.joins().any(|network| network == name)) {
                Arc::make_mut(container).attached = false;
            }
        }
    }
}

use std::{
    collections::BTreeMap,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use piccolo_schema::{ContainerSpec, NetworkSpec};

use super::{
    FakeEngine, Verb,
    world::{World, spec_of},
};
use crate::host::{
    ContainerSeen, HostError, Member, NetworkSeen, NetworkView, Networks, Reason, Rules, RulesSeen,
    firewall::{self, bridge_of},
};

impl Networks for FakeEngine {
    async fn networks(&self) -> Result<NetworkView, HostError> {
        let world = self.look();
        let (networks, members, firewall) = (world.networks(), world.members(), world.firewall());
        self.verb_of_looking(Verb::Networks, NetworkView { networks, members, firewall, api_port: None }).await
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

    async fn set_rules(&self, rules: &Rules) -> Result<(), HostError> {
        self.verb(Verb::SetRules, |world| world.set_rules(rules)).await
    }

    async fn clear_rules(&self) -> Result<(), HostError> {
        self.verb(Verb::ClearRules, World::clear_rules).await
    }
}

impl World {
    fn create_network(&mut self, name: &str, spec: &NetworkSpec) -> Result<(), HostError> {
        if let Some(there) = self.networks.values().find(|network| network.name == name) {
            if there.stamp == Some(spec.fixed()) {
                return Ok(());
            }
            return Err(HostError::new(Reason::NameTaken, format!("A network is already called `{name}`")));
        }
        let network = NetworkSeen {
            id: self.id(),
            name: name.to_owned(),
            stamp: Some(spec.fixed()),
            subnets: spec.subnet.iter().cloned().collect(),
            gateways: spec.gateway.into_iter().collect(),
            bridge: bridge_of(name),
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

    fn set_rules(&mut self, rules: &Rules) -> Result<(), HostError> {
        if let Some(problem) = &self.firewall.problem {
            return Err(HostError::new(Reason::Failed, problem));
        }
        if self.firewall.rules.as_ref().is_some_and(|seen| seen.is(rules)) {
            return Ok(());
        }
        let Rules { digest, networks, guards, .. } = rules.clone();
        let boot = firewall::digest(&rules.boot);
        self.firewall.rules = Some(RulesSeen { digest, intact: true, networks, guards, boot });
        self.count(None);
        Ok(())
    }

    fn clear_rules(&mut self) -> Result<(), HostError> {
        if self.firewall.rules.take().is_some() {
            self.count(None);
        }
        Ok(())
    }

    /// Returns the containers of ours. An address follows from the identifier and lasts while a container is on its
    /// network.
    pub(super) fn members(&self) -> Vec<Member> {
        let ours = self.containers.values().filter_map(|seen| Some((seen, spec_of(seen)?)));
        let member = |(seen, spec): (&Arc<ContainerSeen>, &ContainerSpec)| {
            let number = u32::from_str_radix(&seen.id, 16).unwrap_or_default();
            let address = IpAddr::V4(Ipv4Addr::from_bits((172 << 24) + (16 << 16) + number));
            Member {
                may_call: false,
                id: seen.id.clone(),
                name: seen.subject().unwrap_or_default().to_owned(),
                network: spec.network.clone().unwrap_or_else(|| "bridge".to_owned()),
                addresses: (seen.attached && seen.state.is_live()).then_some(address).into_iter().collect(),
                labels: spec.labels.clone(),
                ports: spec.ports.clone(),
            }
        };
        ours.map(member).collect()
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

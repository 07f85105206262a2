use std::{collections::BTreeSet, future::Future};

use super::{FakeEngine, Verb, world::World};
use crate::host::{FilterView, HostError, PacketFilter, Reason, Rules, RulesSeen, firewall};

impl PacketFilter for FakeEngine {
    async fn filter(&self) -> Result<FilterView, HostError> {
        let world = self.look();
        let bridges = world.networks().into_iter().map(|it| it.bridge).collect();
        let view = FilterView {
            containers: world.members(),
            bridges,
            filter: firewall::Firewall { problem: world.firewall.problem, rules: world.filter, blind: None },
            api_port: Some(8080),
        };
        self.verb_of_looking(Verb::Filter, view).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.filter_changed.notified()
    }

    async fn set_filter(&self, rules: &Rules) -> Result<(), HostError> {
        self.verb(Verb::SetFilter, |world| world.set_filter(rules)).await
    }

    async fn clear_filter(&self) -> Result<(), HostError> {
        self.verb(Verb::ClearFilter, World::clear_filter).await
    }
}

impl World {
    fn set_filter(&mut self, rules: &Rules) -> Result<(), HostError> {
        if let Some(problem) = &self.firewall.problem {
            return Err(HostError::new(Reason::Failed, problem));
        }
        if self.filter.as_ref().is_some_and(|seen| seen.is(rules)) {
            return Ok(());
        }
        let (networks, guards) = (BTreeSet::new(), BTreeSet::new());
        let boot = firewall::digest(&rules.boot);
        self.filter = Some(RulesSeen { digest: rules.digest.clone(), intact: true, networks, guards, boot });
        self.count(None);
        Ok(())
    }

    fn clear_filter(&mut self) -> Result<(), HostError> {
        if self.filter.take().is_some() {
            self.count(None);
        }
        Ok(())
    }
}

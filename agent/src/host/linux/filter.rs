//! Who may reach the machine.

use std::{collections::BTreeSet, path::Path, sync::Mutex};

use tokio::sync::Notify;

use super::{
    docker::{Docker, lock},
    error, members,
    networks::bridge,
    nft::Nft,
};
use crate::host::{FilterView, Firewall, HostError, Member, PacketFilter, Rules};

/// The packet filter, as far as it says who may reach the machine.
#[derive(Debug)]
pub(super) struct Gate {
    nft: Nft,
    /// When to look again.
    pub(super) hint: Notify,
    said: Mutex<Said>,
}

impl Gate {
    /// The rules for the start of the machine are kept in this directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self { nft: Nft::of_machine(directory), hint: Notify::new(), said: Mutex::default() }
    }
}

/// What the engine said last: while it does not answer, the machine stays shut, and open, as it was.
#[derive(Debug, Default)]
struct Said {
    containers: Vec<Member>,
    bridges: BTreeSet<String>,
}

impl PacketFilter for Docker {
    async fn filter(&self) -> Result<FilterView, HostError> {
        if let Ok(now) = self.ask().await {
            *lock(&self.gate.said) = now;
        }
        let filter = self.gate.nft.look().await;
        let said = lock(&self.gate.said);
        Ok(FilterView {
            containers: said.containers.clone(),
            bridges: said.bridges.clone(),
            // What containers of one network send each other is no matter of it.
            filter: Firewall { blind: None, ..filter },
            api_port: self.api_port.get().copied(),
        })
    }

    async fn changed(&self) {
        self.gate.hint.notified().await;
    }

    async fn set_filter(&self, rules: &Rules) -> Result<(), HostError> {
        self.gate.nft.set(rules).await
    }

    async fn clear_filter(&self) -> Result<(), HostError> {
        self.gate.nft.clear().await
    }
}

impl Docker {
    /// Asks the engine for what the rules are about: two calls, whatever there is.
    async fn ask(&self) -> Result<Said, HostError> {
        let client = self.client().await?;
        let all = client.list_networks(None).await.map_err(|error| error::translate(&error))?;
        let is_bridge = |driver: &Option<String>| driver.as_deref() == Some("bridge");
        let bridges = all.into_iter().filter(|it| is_bridge(&it.driver));
        let bridges = bridges.filter_map(|it| Some(bridge(&it.id?, it.options.as_ref()))).collect();
        Ok(Said { containers: members::members(&client, &self.adopted.stamps()).await?, bridges })
    }
}

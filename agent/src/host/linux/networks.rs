//! The engine's networks.

use std::collections::{BTreeMap, HashMap};

use bollard::models::NetworkInspect;
use futures_util::{StreamExt, TryStreamExt, future, stream};

use super::{BRIDGE_OPTION, NETWORK_LABEL, SPEC_LABEL, create, docker::Docker, error, members};
use crate::host::{HostError, NetworkSeen, NetworkView, Networks, Reason, Rules, firewall::short};
use piccolo_schema::NetworkSpec;

/// Inspections side by side.
const INSPECTIONS: usize = 4;

impl Networks for Docker {
    async fn networks(&self) -> Result<NetworkView, HostError> {
        let client = self.client().await?;
        let all = client.list_networks(None).await.map_err(|error| error::translate(&error))?;
        let looks = all.into_iter().filter_map(|it| Some((it.id?, it.name?, it.labels, it.options))).map(
            |(id, name, labels, options)| {
                let ours = labels.is_some_and(|labels| labels.contains_key(NETWORK_LABEL));
                let client = &client;
                async move {
                    // The list does not tell who is attached; of others' networks nobody asks.
                    if !ours {
                        return Ok(Some(foreign(id, name, options.as_ref())));
                    }
                    match client.inspect_network(&id, None).await {
                        Ok(network) => Ok(seen(network)),
                        Err(error) => match error::translate(&error) {
                            gone if gone.reason == Reason::Gone => Ok(None),
                            other => Err(other),
                        },
                    }
                }
            },
        );
        let mut networks: Vec<NetworkSeen> =
            stream::iter(looks).buffer_unordered(INSPECTIONS).try_filter_map(future::ok).try_collect().await?;
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(NetworkView {
            networks,
            members: members::members(&client, &self.adopted.stamps()).await?,
            firewall: self.nft.look().await,
            api_port: self.api_port.get().copied(),
        })
    }

    async fn changed(&self) {
        self.networks_hint.notified().await;
    }

    async fn create_network(&self, name: &str, spec: &NetworkSpec) -> Result<(), HostError> {
        let client = self.client().await?;
        // The engine lets two networks have one name; the planner saw none of this name, but time has passed since.
        if let Ok(found) = client.inspect_network(name, None).await
            && found.name.as_deref() == Some(name)
        {
            return match seen(found).and_then(|found| found.stamp) {
                Some(made) if made == spec.fixed() => Ok(()),
                _ => Err(HostError::new(Reason::NameTaken, format!("There is a network `{name}` already"))),
            };
        }
        let created = client.create_network(create::network(name, spec)?).await;
        created.map(drop).map_err(|error| error::translate(&error))
    }

    async fn remove_network(&self, id: &str) -> Result<(), HostError> {
        error::gone_is_fine(error::done_is_fine(self.client().await?.remove_network(id).await))
    }

    async fn set_rules(&self, rules: &Rules) -> Result<(), HostError> {
        self.nft.set(rules).await
    }

    async fn clear_rules(&self) -> Result<(), HostError> {
        self.nft.clear().await
    }
}

impl Docker {
    /// Says on which port the machine's API answers networks, to which no container is let through from then on. Returns
    /// why that can't be, if so.
    pub async fn keep_from(&self, port: u16) -> Option<String> {
        // It is said once, before anybody looks.
        let _ = self.api_port.set(port);
        self.nft.look().await.problem
    }
}

fn foreign(id: String, name: String, options: Option<&HashMap<String, String>>) -> NetworkSeen {
    NetworkSeen {
        bridge: bridge(&id, options),
        id,
        name,
        stamp: None,
        subnets: Vec::new(),
        gateways: Vec::new(),
        attached: BTreeMap::new(),
    }
}

/// Returns the device of a bridge: an engine makes one up from the identifier where none is asked for.
pub(super) fn bridge(id: &str, options: Option<&HashMap<String, String>>) -> String {
    let named = options.and_then(|options| options.get(BRIDGE_OPTION).cloned());
    named.unwrap_or_else(|| format!("br-{}", short(id)))
}

fn seen(network: NetworkInspect) -> Option<NetworkSeen> {
    let labels = network.labels.unwrap_or_default();
    let ranges = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let attached = network.containers.unwrap_or_default();
    // A stamp that can't be read is still ours: it differs from whatever is declared.
    let stamp = labels.contains_key(NETWORK_LABEL).then(|| {
        labels
            .get(SPEC_LABEL)
            .and_then(|spec| serde_json::from_str(spec).ok())
            .unwrap_or_else(|| NetworkSpec { subnet: Some("unreadable".to_owned()), ..NetworkSpec::default() })
    });
    let id = network.id?;
    Some(NetworkSeen {
        bridge: bridge(&id, network.options.as_ref()),
        id,
        name: network.name?,
        stamp,
        subnets: ranges.iter().filter_map(|range| range.subnet.clone()).collect(),
        // An engine may write the gateway with the width of its subnet.
        gateways: ranges.iter().filter_map(|range| range.gateway.as_deref()?.split('/').next()?.parse().ok()).collect(),
        attached: attached.into_iter().map(|(id, it)| (id, it.name.unwrap_or_default())).collect(),
    })
}

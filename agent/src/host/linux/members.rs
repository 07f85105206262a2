//! The containers of ours, as far as their traffic goes.

use std::collections::HashMap;

use bollard::{Docker as Client, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use piccolo_schema::ContainerSpec;

use super::{CONTAINER_LABEL, SPEC_LABEL, error};
use crate::host::{HostError, Member};

/// Lists them, sorted by identifier.
pub(super) async fn members(client: &Client) -> Result<Vec<Member>, HostError> {
    let filters = HashMap::from([("label", vec![CONTAINER_LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let all = client.list_containers(Some(options)).await.map_err(|error| error::translate(&error))?;
    let mut members: Vec<Member> = all.into_iter().filter_map(member).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(members)
}

/// Reads a line of the list. A container whose stamp can't be read is in no rule.
fn member(summary: ContainerSummary) -> Option<Member> {
    let labels = summary.labels?;
    let spec: ContainerSpec = serde_json::from_str(labels.get(SPEC_LABEL)?).ok()?;
    let network = spec.network.unwrap_or_else(|| "bridge".to_owned());
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let addresses = networks.get(&network).map(|it| [it.ip_address.as_deref(), it.global_ipv6_address.as_deref()]);
    Some(Member {
        id: summary.id?,
        // An engine writes nothing where there is no address.
        addresses: addresses.into_iter().flatten().flatten().filter_map(|ip| ip.parse().ok()).collect(),
        network,
        labels: spec.labels,
        ports: spec.ports,
    })
}

//! The containers of ours, as far as their traffic goes.

use std::collections::{BTreeMap, HashMap};

use bollard::{Docker as Client, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use piccolo_schema::{ContainerSpec, container::Grant};

use super::{CONTAINER_LABEL, SPEC_LABEL, error};
use crate::host::{HostError, Member, Stamp};

/// Lists them, sorted by identifier: those that carry our label, and those that were adopted.
pub(super) async fn members(client: &Client, adopted: &BTreeMap<String, Stamp>) -> Result<Vec<Member>, HostError> {
    let labels = if adopted.is_empty() { vec![CONTAINER_LABEL] } else { Vec::new() };
    let filters = HashMap::from([("label", labels)]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let all = client.list_containers(Some(options)).await.map_err(|error| error::translate(&error))?;
    let mut members: Vec<Member> = all.into_iter().filter_map(|it| member(it, adopted)).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(members)
}

/// Reads a line of the list. A container whose stamp can't be read is in no rule.
fn member(summary: ContainerSummary, adopted: &BTreeMap<String, Stamp>) -> Option<Member> {
    let labels = summary.labels.unwrap_or_default();
    let (name, spec): (String, ContainerSpec) = match (labels.get(CONTAINER_LABEL), labels.get(SPEC_LABEL)) {
        (Some(name), Some(spec)) => (name.clone(), serde_json::from_str(spec).ok()?),
        _ => {
            let stamp = adopted.get(summary.id.as_ref()?)?;
            (stamp.subject.clone(), *stamp.spec.clone()?)
        }
    };
    let network = spec.network.unwrap_or_else(|| "bridge".to_owned());
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let addresses = networks.get(&network).map(|it| [it.ip_address.as_deref(), it.global_ipv6_address.as_deref()]);
    Some(Member {
        id: summary.id?,
        name,
        // An engine writes nothing where there is no address.
        addresses: addresses.into_iter().flatten().flatten().filter_map(|ip| ip.parse().ok()).collect(),
        network,
        may_call: spec.grants.contains(&Grant::PiccoloApi),
        labels: spec.labels,
        ports: spec.ports,
    })
}

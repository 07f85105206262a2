//! Keeps networks as their manifests ask.
//!
//! An engine can't change a network, and removes none that a container is attached to. So a changed network is removed
//! and made anew when nothing is on it, and waits when something is: taking containers down for it is the choice of the
//! person who asked, not ours.

mod plan;
mod step;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use piccolo_schema::{Declared, Desired, Kind, Network, NetworkStatus};

use super::{Plan, Reconciler, Report};
use crate::host::{self, HostError, NetworkSeen};

pub use step::{Act, NetworkStep};

/// Keeps networks on this engine.
pub struct Networks<N>(pub Arc<N>);

impl<N: host::Networks> Reconciler for Networks<N> {
    type Manifest = Network;
    type Observed = Vec<NetworkSeen>;
    type Step = NetworkStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Container];

    fn observe(&self) -> impl Future<Output = Result<Vec<NetworkSeen>, HostError>> + Send {
        self.0.networks()
    }

    fn plan(desired: &Desired<Network>, observed: &Vec<NetworkSeen>) -> Plan<NetworkStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &NetworkStep) -> Result<(), HostError> {
        match &step.act {
            Act::Create { spec, .. } => self.0.create_network(&step.subject, spec).await,
            Act::Remove { id } => self.0.remove_network(id).await,
        }
    }

    fn report(manifests: &[Network], observed: &Vec<NetworkSeen>) -> Vec<Report> {
        let ours = observed.iter().filter(|seen| seen.stamp.is_some());
        let ours: BTreeMap<&str, &NetworkSeen> = ours.map(|seen| (seen.name.as_str(), seen)).collect();
        manifests.iter().map(|manifest| stands(ours.get(manifest.name()).copied())).collect()
    }

    fn owned(observed: &Vec<NetworkSeen>) -> usize {
        observed.iter().filter(|network| network.stamp.is_some()).count()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

fn stands(seen: Option<&NetworkSeen>) -> Report {
    let Some(seen) = seen else {
        let fields = serde_json::json!({});
        return Report { ready: false, reason: "Absent".into(), message: "There is no network".into(), fields };
    };
    let status = NetworkStatus {
        network_id: Some(seen.id.clone()),
        subnet: seen.subnets.first().cloned(),
        ..NetworkStatus::default()
    };
    let message = match &status.subnet {
        Some(subnet) => format!("Containers can join it; its addresses are {subnet}"),
        None => "Containers can join it".to_owned(),
    };
    let fields = serde_json::to_value(status).unwrap_or_default();
    Report { ready: true, reason: "Present".into(), message, fields }
}

//! Keeps networks as their manifests ask.
//!
//! An engine can't change a network, and removes none that a container is attached to. So a changed network is removed
//! and made anew when nothing is on it, and waits when something is: taking containers down for it is the choice of the
//! person who asked, not ours.
//!
//! A policy is no part of that: it is kept by rules of the machine's packet filter, which change at any time. The engine
//! knows nothing of it, so it is not stamped on the network; a digest of all rules is written on their table instead.

mod guard;
mod overlaps;
mod plan;
mod rules;
mod step;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use piccolo_schema::{Declared, Desired, Kind, Network, NetworkStatus};

use super::{Plan, Reconciler, Report};
use crate::host::{self, HostError, NetworkSeen, NetworkView};

pub use step::{Act, NetworkStep};

/// Keeps networks on this engine.
pub struct Networks<N>(pub Arc<N>);

impl<N: host::Networks> Reconciler for Networks<N> {
    type Manifest = Network;
    type Observed = NetworkView;
    type Step = NetworkStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Container];

    fn observe(&self) -> impl Future<Output = Result<NetworkView, HostError>> + Send {
        self.0.networks()
    }

    fn plan(desired: &Desired<Network>, observed: &NetworkView) -> Plan<NetworkStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &NetworkStep) -> Result<(), HostError> {
        match &step.act {
            Act::Create { spec, .. } => self.0.create_network(&step.subject, spec).await,
            Act::Remove { id } => self.0.remove_network(id).await,
            Act::SetRules { rules, .. } => self.0.set_rules(rules).await,
            Act::ClearRules => self.0.clear_rules().await,
        }
    }

    fn report(manifests: &[Network], observed: &NetworkView) -> Vec<Report> {
        let ours = observed.networks.iter().filter(|seen| seen.stamp.is_some());
        let ours: BTreeMap<&str, &NetworkSeen> = ours.map(|seen| (seen.name.as_str(), seen)).collect();
        let guarded = guard::stands(manifests, observed);
        let report = |manifest: &Network| match (ours.get(manifest.name()), &manifest.spec.policy) {
            (Some(seen), Some(_)) if !guarded => unguarded(seen),
            (seen, _) => stands(seen.copied()),
        };
        manifests.iter().map(report).collect()
    }

    fn owned(observed: &NetworkView) -> usize {
        observed.networks.iter().filter(|network| network.stamp.is_some()).count()
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
    let status = status(seen);
    let message = match &status.subnet {
        Some(subnet) => format!("Containers can join it; its addresses are {subnet}"),
        None => "Containers can join it".to_owned(),
    };
    let fields = serde_json::to_value(status).unwrap_or_default();
    Report { ready: true, reason: "Present".into(), message, fields }
}

/// Reports a network whose rules wait until another one is closed.
fn unguarded(seen: &NetworkSeen) -> Report {
    let fields = serde_json::to_value(status(seen)).unwrap_or_default();
    let message = "The rules for its policy are not as they should be yet".to_owned();
    Report { ready: false, reason: "PolicyPending".to_owned(), message, fields }
}

fn status(seen: &NetworkSeen) -> NetworkStatus {
    NetworkStatus {
        network_id: Some(seen.id.clone()),
        subnet: seen.subnets.first().cloned(),
        ..NetworkStatus::default()
    }
}

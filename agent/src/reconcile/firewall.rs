//! Keeps who may reach this machine as the manifest asks.
//!
//! # Why this is a table of its own
//!
//! The rules of networks follow containers and change with each of their addresses; these follow a manifest. In one table
//! either would be set anew for the other, and a mistake in one would keep the other from being set. Both only ever
//! refuse: what one table lets pass the other still judges, so that which of them is asked first makes no difference, and
//! each is replaced in one stroke for itself.

mod plan;
mod rules;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Firewall, FirewallStatus, Kind};

use super::{Plan, Reconciler, Report};
use crate::host::{FilterView, HostError, PacketFilter};

pub use step::{Act, FirewallStep};

/// Keeps the firewall of this machine.
pub struct Firewalls<F>(pub Arc<F>);

impl<F: PacketFilter> Reconciler for Firewalls<F> {
    type Manifest = Firewall;
    type Observed = FilterView;
    type Step = FirewallStep;

    // Where a port leads on to follows the container, and what comes from containers the bridges of networks.
    const WAKES_ON: &'static [Kind] = &[Kind::Container, Kind::Network];

    fn observe(&self) -> impl Future<Output = Result<FilterView, HostError>> + Send {
        self.0.filter()
    }

    fn plan(desired: &Desired<Firewall>, observed: &FilterView) -> Plan<FirewallStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &FirewallStep) -> Result<(), HostError> {
        match &step.act {
            Act::Set { rules, .. } => self.0.set_filter(rules).await,
            Act::Clear => self.0.clear_filter().await,
        }
    }

    fn report(manifests: &[Firewall], observed: &FilterView) -> Vec<Report> {
        manifests.iter().map(|manifest| report(manifest, observed)).collect()
    }

    fn owned(observed: &FilterView) -> usize {
        usize::from(observed.filter.rules.is_some())
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

fn report(manifest: &Firewall, observed: &FilterView) -> Report {
    let number = |count: usize| u32::try_from(count).ok();
    let status = FirewallStatus {
        services: number(manifest.spec.services.len()),
        forwards: number(manifest.spec.forwards.len()),
        ..FirewallStatus::default()
    };
    let (ready, reason, message) = if plan::stands(manifest, observed) {
        (true, "Closed", "What is not named is dropped")
    } else {
        (false, "Pending", "The rules are not as they should be yet")
    };
    let fields = serde_json::to_value(status).unwrap_or_default();
    Report { ready, reason: reason.to_owned(), message: message.to_owned(), fields }
}

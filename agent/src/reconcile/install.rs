//! Brings the system of a stick onto a disk of the machine, once.
//!
//! The engine is the one that every door uses (`install`), in a process of its own: here it is only decided whether it is asked,
//! and said how far it is. On a system that runs from its disk, onto which its manifest was copied, there is nothing to do.

mod plan;
mod report;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Install};

use super::{Plan, Reconciler, Report};
use crate::host::{self, HostError, InstallView};

pub use step::{InstallStep, Onto};

/// Installs the system of this stick.
pub struct Installations<I>(pub Arc<I>);

impl<I: host::Installing> Reconciler for Installations<I> {
    type Manifest = Install;
    type Observed = InstallView;
    type Step = InstallStep;

    fn observe(&self) -> impl Future<Output = Result<InstallView, HostError>> + Send {
        self.0.installing()
    }

    fn plan(desired: &Desired<Install>, observed: &InstallView) -> Plan<InstallStep> {
        plan::plan(desired, observed)
    }

    fn apply(&self, step: &InstallStep) -> impl Future<Output = Result<(), HostError>> + Send {
        self.0.install(&step.order)
    }

    fn report(manifests: &[Install], observed: &InstallView) -> Vec<Report> {
        manifests.iter().map(|manifest| report::report(manifest, observed)).collect()
    }

    fn owned(_observed: &InstallView) -> usize {
        // What was installed is another machine's; a manifest that goes away takes nothing with it.
        0
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

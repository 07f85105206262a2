//! Puts manifests in force that come from git repositories.
//!
//! Repositories are asked in the background, as registries are for updates: a look changes nothing on this machine and is
//! no step. What it found is taken only when nothing speaks against it; otherwise it waits, and what is in force stays.
//! What the manifests then ask is planned and done by their own kinds, with the guards that everything else has.

mod plan;
mod report;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{ConfigSource, Desired, Kind};

use super::{Note, Plan, Reconciler, Report};
use crate::host::{self, HostError, SourcesView};

pub use step::SourceStep;

/// Keeps what comes from repositories as these have it.
pub struct Sources<S>(pub Arc<S>);

impl<S: host::Sources> Reconciler for Sources<S> {
    type Manifest = ConfigSource;
    type Observed = SourcesView;
    type Step = SourceStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Secret];

    fn observe(&self) -> impl Future<Output = Result<SourcesView, HostError>> + Send {
        self.0.sources()
    }

    fn plan(desired: &Desired<ConfigSource>, observed: &SourcesView) -> Plan<SourceStep> {
        plan::plan(desired, observed)
    }

    fn apply(&self, step: &SourceStep) -> impl Future<Output = Result<(), HostError>> + Send {
        self.0.take(&step.subject, &step.revision)
    }

    fn report(manifests: &[ConfigSource], observed: &SourcesView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn notes(manifests: &[ConfigSource], observed: &SourcesView) -> Vec<Vec<Note>> {
        report::notes(manifests, observed)
    }

    fn owned(_observed: &SourcesView) -> usize {
        // A source that is gone leaves its manifests behind.
        0
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

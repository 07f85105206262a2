//! Keeps containers as their manifests ask.
//!
//! # Why a replacement is made before the old container goes
//!
//! An engine refuses for many reasons: an image that can't be pulled, a mount that is not there, an option it does not
//! know. So what needs a new container is pulled and made under the name `<name>.next` while the old one runs, and only
//! then stopped, removed, renamed and started. Each of these is a step of its own. Stopped after any of them, the next
//! plan finds what is there and goes on from it; no memory of the earlier plan is needed.
//!
//! # Why only the stamp is compared
//!
//! The engine fills in defaults and images add their own settings, so a container never looks quite like its spec.
//! What was asked for is written on the container when it is made, and a spec is compared with a spec. Only what the
//! engine can change in place, and a hand may have changed, is compared as it is observed.

mod compare;
mod dependencies;
mod machine;
mod plan;
mod ports;
mod report;
mod secrets;
mod step;
mod subject;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Container, Desired, Kind};

use super::{Plan, Reconciler, Report};
use crate::host::{Engine, EngineView, HostError};

pub use step::{Act, ContainerStep};

/// Keeps containers on this engine.
pub struct Containers<E>(pub Arc<E>);

impl<E: Engine> Reconciler for Containers<E> {
    type Manifest = Container;
    type Observed = EngineView;
    type Step = ContainerStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Network, Kind::Volume, Kind::Secret];

    fn observe(&self) -> impl Future<Output = Result<EngineView, HostError>> + Send {
        self.0.containers()
    }

    fn plan(desired: &Desired<Container>, observed: &EngineView) -> Plan<ContainerStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &ContainerStep) -> Result<(), HostError> {
        match &step.act {
            Act::Pull { image } => self.0.pull(image).await,
            Act::Create { name, spec, .. } => self.0.create(name, &step.subject, spec).await,
            Act::Update { id, limits, .. } => self.0.update(id, limits).await,
            Act::Rename { id, to, .. } => self.0.rename(id, to).await,
            Act::Start { id, .. } => self.0.start(id).await,
            Act::Restart { id, .. } => self.0.restart(id).await,
            Act::Unpause { id, .. } => self.0.unpause(id).await,
            Act::Stop { id, .. } => self.0.stop(id).await,
            Act::Remove { id, .. } => self.0.remove(id).await,
            Act::PlaceSecrets { uses, .. } => self.0.place_secrets(&step.subject, uses).await,
            Act::ClearSecrets { places, .. } => self.0.clear_secrets(&step.subject, places).await,
        }
    }

    fn report(manifests: &[Container], observed: &EngineView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn owned(observed: &EngineView) -> usize {
        observed.containers.iter().filter(|container| container.stamp.is_some()).count()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

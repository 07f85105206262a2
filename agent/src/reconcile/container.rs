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
mod farewell;
mod machine;
mod offer;
mod plan;
mod ports;
mod report;
mod rollout;
mod secrets;
mod step;
mod subject;
mod trial;

use std::sync::Arc;

use piccolo_schema::{Container, Desired, Kind};

use super::{Note, Plan, Reconciler, Report};
use crate::host::{Engine, EngineView, Grounds, HostError, Updates};

pub use step::{Act, ContainerStep};

/// Keeps containers on this engine, updates them with the help of the second, and asks the third for what they stand on.
pub struct Containers<E, U = E, G = E>(pub Arc<E>, pub Arc<U>, pub Arc<G>);

impl<E: Engine, U: Updates, G: Grounds> Reconciler for Containers<E, U, G> {
    type Manifest = Container;
    type Observed = EngineView;
    type Step = ContainerStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Network, Kind::Volume, Kind::Secret, Kind::Image, Kind::Disk];

    async fn observe(&self) -> Result<EngineView, HostError> {
        let view = self.0.containers().await?;
        let updates = self.1.known(&view).await?;
        Ok(EngineView { updates, grounds: self.2.grounds(), ..view })
    }

    fn plan(desired: &Desired<Container>, observed: &EngineView) -> Plan<ContainerStep> {
        plan::plan(desired, observed)
    }

    fn farewell(desired: &Desired<Container>, observed: &EngineView) -> Vec<Vec<ContainerStep>> {
        farewell::farewell(desired, observed)
    }

    async fn apply(&self, step: &ContainerStep) -> Result<(), HostError> {
        match &step.act {
            Act::Pull { image } => self.0.pull(image).await,
            Act::Create { name, spec, rollout, .. } => self.0.create(name, &step.subject, spec, rollout.as_ref()).await,
            Act::Update { id, limits, .. } => self.0.update(id, limits).await,
            Act::Rename { id, to, .. } => self.0.rename(id, to).await,
            Act::Start { id, .. } => self.0.start(id).await,
            Act::Restart { id, .. } => self.0.restart(id).await,
            Act::Unpause { id, .. } => self.0.unpause(id).await,
            Act::Stop { id, .. } => self.0.stop(id).await,
            Act::Remove { id, .. } => self.0.remove(id).await,
            Act::PlaceSecrets { uses, .. } => self.0.place_secrets(&step.subject, uses).await,
            Act::ClearSecrets { places, .. } => self.0.clear_secrets(&step.subject, places).await,
            Act::Snapshot(it) => self.1.snapshot(&it.volume, &it.label).await,
            Act::Restore(it) => self.1.restore(&it.volume, &it.label).await,
            Act::DropSnapshot(it) => self.1.drop_snapshot(&it.volume, &it.label).await,
            Act::Commit { digest, previous } => self.1.commit(&step.subject, digest, previous.as_ref()).await,
            Act::Condemn { digest, why } => self.1.condemn(&step.subject, digest, why).await,
        }
    }

    fn report(manifests: &[Container], observed: &EngineView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn owned(observed: &EngineView) -> usize {
        observed.containers.iter().filter(|container| container.stamp.is_some()).count()
    }

    fn notes(manifests: &[Container], observed: &EngineView) -> Vec<Vec<Note>> {
        report::notes(manifests, observed)
    }

    async fn changed(&self) {
        let (changed, news) = (std::pin::pin!(self.0.changed()), std::pin::pin!(self.1.news()));
        futures_util::future::select(changed, news).await;
    }
}

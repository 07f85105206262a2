//! Keeps volumes as their manifests ask, and never erases what is in them.
//!
//! # Why a volume that no manifest asks for stays
//!
//! Its data may be all that somebody has. A manifest that goes away releases the volume: it is left as it is and nobody
//! tends it any more. When the manifest comes back it is found by its name and its stamp.
//!
//! # When a path changes
//!
//! An engine can't move a volume. One that stands on a directory of the machine is no more than a record of that
//! directory, so the engine may forget it and be told of the new one, provided that no container uses it. One whose
//! data the engine keeps is never removed: the plan waits, and says what to do.

mod plan;
mod report;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Kind, Volume};

use super::{Plan, Reconciler, Report};
use crate::host::{self, HostError, VolumeSeen};

pub use step::{Act, VolumeStep};

/// Keeps volumes on this engine and this machine.
pub struct Volumes<V>(pub Arc<V>);

impl<V: host::Volumes> Reconciler for Volumes<V> {
    type Manifest = Volume;
    type Observed = Vec<VolumeSeen>;
    type Step = VolumeStep;

    // A container that goes may let a volume go to another path, and one that is made may change an empty volume's owner.
    const WAKES_ON: &'static [Kind] = &[Kind::Container];

    fn observe(&self) -> impl Future<Output = Result<Vec<VolumeSeen>, HostError>> + Send {
        self.0.volumes()
    }

    fn plan(desired: &Desired<Volume>, observed: &Vec<VolumeSeen>) -> Plan<VolumeStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &VolumeStep) -> Result<(), HostError> {
        match &step.act {
            Act::Create { spec } => self.0.create_volume(&step.subject, spec).await,
            Act::SetAccess { access } => self.0.set_access(&step.subject, access).await,
            Act::SetQuota { quota } => {
                self.0.set_quota(&step.subject, quota.map(piccolo_schema::quantity::Bytes::get)).await
            }
            Act::Release { .. } => self.0.release_volume(&step.subject).await,
        }
    }

    fn report(manifests: &[Volume], observed: &Vec<VolumeSeen>) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn owned(observed: &Vec<VolumeSeen>) -> usize {
        observed.iter().filter(|volume| volume.stamped).count()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

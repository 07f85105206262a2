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
//!
//! # When the directory lies on a disk
//!
//! While the disk is not mounted its mount point is a bare directory. What is made there keeps the disk from being mounted,
//! so nothing is made or changed there until it is.

mod plan;
mod report;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Kind, Volume, quantity::Bytes};

use super::{Plan, Reconciler, Report};
use crate::host::{self, Grounds, HostError, Reason, VolumesView};

pub use step::{Act, VolumeStep};

/// Keeps volumes on this engine and this machine, and asks the second for the disks that they lie on.
pub struct Volumes<V, G = V>(pub Arc<V>, pub Arc<G>);

impl<V: host::Volumes, G: Grounds> Reconciler for Volumes<V, G> {
    type Manifest = Volume;
    type Observed = VolumesView;
    type Step = VolumeStep;

    // A container that goes may let a volume go to another path, and one that is made may change an empty volume's owner.
    const WAKES_ON: &'static [Kind] = &[Kind::Container, Kind::Disk];

    async fn observe(&self) -> Result<VolumesView, HostError> {
        let volumes = self.0.volumes().await?;
        Ok(VolumesView { volumes, grounds: self.1.grounds() })
    }

    fn plan(desired: &Desired<Volume>, observed: &VolumesView) -> Plan<VolumeStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &VolumeStep) -> Result<(), HostError> {
        // The disk may have gone since the look, or its manifest come.
        if let Some(bare) = step.bare(&self.1.grounds()) {
            return Err(HostError::new(Reason::MountSourceMissing, plan::not_mounted(bare)));
        }
        match &step.act {
            Act::Create { spec } => self.0.create_volume(&step.subject, spec).await,
            Act::SetAccess { access } => self.0.set_access(&step.subject, access).await,
            Act::SetQuota { quota } => self.0.set_quota(&step.subject, quota.map(Bytes::get)).await,
            Act::Release { .. } => self.0.release_volume(&step.subject).await,
        }
    }

    fn report(manifests: &[Volume], observed: &VolumesView) -> Vec<Report> {
        report::report(manifests, &observed.volumes)
    }

    fn owned(observed: &VolumesView) -> usize {
        observed.volumes.iter().filter(|volume| volume.stamped).count()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

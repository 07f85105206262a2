//! Keeps disks as their manifests ask, and loses nothing that is on them.
//!
//! # When a disk is written to
//!
//! The guard (`guard.rs`, pure) says for one disk and one manifest whether the disk is used as it is, is given a file
//! system, or is left alone. It gives one only where nothing is on the disk, or where a ticket lets this very disk be
//! erased that was made within the hour, for what is on it, and was never used.
//!
//! # When it is parted
//!
//! The table of partitions has a GUID of ours or of what is half made, as a file system has a label, so that the guard is the
//! same. Each partition is then mounted under a name of its own (`parted.rs`).
//!
//! # When it is encrypted
//!
//! The header of LUKS2 has the label of ours or of what is half made, as a file system has, so that the guard is the same.
//! What is inside is known once it is open (`keys.rs`), so that opening is a step of its own, and so is each change of keys.
//!
//! # When a making was broken off
//!
//! It leaves marks on the disk and a record beside them. Where both fit each other it goes on; where one is missing the
//! disk is left alone as any other that is not blank.

mod choose;
mod guard;
mod keys;
mod layout;
mod pair;
mod parted;
mod places;
mod plan;
mod report;
mod scrub;
mod step;

use std::{collections::BTreeSet, future::Future, sync::Arc};

use piccolo_schema::{Desired, Disk, Kind};

use super::{Note, Plan, Reconciler, Report};
use crate::host::{self, DisksView, HostError, parted::manifest_of};

pub use guard::{Case, Verdict, guard};
pub use step::{Act, DiskStep};

/// Keeps the disks of this machine.
pub struct Disks<D>(pub Arc<D>);

impl<D: host::Disks> Reconciler for Disks<D> {
    type Manifest = Disk;
    type Observed = DisksView;
    type Step = DiskStep;

    // What uses a mount keeps it from being taken away, and a secret may open a disk.
    const WAKES_ON: &'static [Kind] = &[Kind::Container, Kind::Volume, Kind::Secret];

    fn observe(&self) -> impl Future<Output = Result<DisksView, HostError>> + Send {
        self.0.disks()
    }

    fn plan(desired: &Desired<Disk>, observed: &DisksView) -> Plan<DiskStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &DiskStep) -> Result<(), HostError> {
        let key = &*step.key();
        match &step.act {
            Act::Make { order, .. } => self.0.make(order.half.as_deref().unwrap_or(key), order).await,
            Act::Key { order } => self.0.turn_key(key, order).await,
            Act::Mount { mount } => self.0.mount_disk(key, mount).await,
            Act::Remount { mount } => self.0.remount_disk(key, mount).await,
            Act::Grow { mount } => self.0.grow_disk(key, mount).await,
            Act::Trim { .. } => self.0.trim_disk(key).await,
            Act::Scrub { resumes, .. } => self.0.scrub_disk(key, *resumes).await,
            Act::Rebuild { order, .. } => self.0.rebuild_disk(key, order).await,
            Act::Join { order } => self.0.join_disk(key, order).await,
            Act::Even { .. } => self.0.even_disk(key).await,
            Act::Unmount { .. } => self.0.unmount_disk(key).await,
        }
    }

    fn report(manifests: &[Disk], observed: &DisksView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn notes(manifests: &[Disk], observed: &DisksView) -> Vec<Vec<Note>> {
        report::notes(manifests, observed)
    }

    fn owned(observed: &DisksView) -> usize {
        observed.mounts.iter().map(|it| manifest_of(&it.subject)).collect::<BTreeSet<_>>().len()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

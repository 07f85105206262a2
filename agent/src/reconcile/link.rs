//! Keeps network links as their manifests ask, by way of systemd-networkd.
//!
//! A manifest becomes files of networkd with our prefix and stamp (`render`, pure). What networkd was given is compared by
//! text, what it made of it with the kernel: only what the manifest names is compared, so addresses that others gave to a
//! link stay.
//!
//! # A change that could lock its owner out
//!
//! When a change touches a link by which the machine is reached, its first step begins a **trial**: the files of before are
//! kept, and put back unless somebody confirms. What was put back is remembered by its digest and not tried again until
//! the manifest says something else.
//!
//! # A link that is made
//!
//! networkd never changes one that is there. So the link goes first, then its file is written, and networkd makes it anew
//! when it reads it: an end after any of these steps leads to the same place.
//!
//! # A port without a wire
//!
//! What joins its network is wpa_supplicant, by a file of its own beside those of networkd and a unit of systemd for each
//! port. The file is compared by the digest of what it was made from, as its password is in it, and belongs to the same
//! change, so that it is on trial with the rest and put back with it.

mod foreign;
mod plan;
mod render;
mod report;
mod state;
mod step;
mod wifi;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Kind, Link};

use super::{Note, Plan, Reconciler, Report};
use crate::host::{self, HostError, LinksView};

pub use render::units;
pub use step::{Act, LinkStep};
pub use wifi::file as wifi_file;

/// Keeps links on this machine.
pub struct Links<L>(pub Arc<L>);

impl<L: host::Links> Reconciler for Links<L> {
    type Manifest = Link;
    type Observed = LinksView;
    type Step = LinkStep;

    // The key of an encrypted link is in a secret, and so is the password of one without a wire.
    const WAKES_ON: &'static [Kind] = &[Kind::Secret];

    fn observe(&self) -> impl Future<Output = Result<LinksView, HostError>> + Send {
        self.0.links()
    }

    fn plan(desired: &Desired<Link>, observed: &LinksView) -> Plan<LinkStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &LinkStep) -> Result<(), HostError> {
        let subject = &step.subject;
        match &step.act {
            Act::Try { digest, .. } => self.0.begin_trial(subject, digest).await,
            Act::WriteKey { from, digest } => self.0.write_key(subject, from, digest).await,
            Act::RemoveDevice { .. } => self.0.remove_device(subject).await,
            Act::CheckPassword { from, security } => self.0.check_password(from, *security).await,
            Act::Write { units, digest, .. } => self.0.write_units(subject, units, digest).await,
            Act::WriteWifi { file, digest, .. } => self.0.write_wifi(subject, file, digest).await,
            Act::ServeWifi { device } => self.0.serve_wifi(device).await,
            Act::RemoveWifi { device, digest } => self.0.remove_wifi(subject, device, digest).await,
            Act::RemoveFiles { digest } => self.0.write_units(subject, &[], digest).await,
            Act::Load { digest, .. } => self.0.load(subject, digest).await,
            Act::Reconfigure { device, .. } => self.0.reconfigure(device).await,
        }
    }

    fn report(manifests: &[Link], observed: &LinksView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn notes(manifests: &[Link], observed: &LinksView) -> Vec<Vec<Note>> {
        report::notes(manifests, observed)
    }

    fn owned(observed: &LinksView) -> usize {
        plan::owners(observed).len()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

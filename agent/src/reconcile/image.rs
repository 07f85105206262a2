//! Brings images to the machine before containers need them: pulls them, or builds them here. Gives them to
//! registries that want them too.
//!
//! A container whose image is declared waits for it and does not pull it by itself, so that a login, or whatever else it
//! takes to have the image, is said in one place. A tag that moves at the registry is not followed: the image that is
//! here stays what it is until somebody asks for another one.

mod archive;
mod build;
mod plan;
mod prune;
mod push;
mod report;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Image, Kind};

use super::{Note, Plan, Reconciler, Report};
use crate::host::{self, HostError, ImagesView};

pub use step::{Act, ImageStep};

/// Keeps images on this engine.
pub struct Images<I>(pub Arc<I>);

impl<I: host::Images> Reconciler for Images<I> {
    type Manifest = Image;
    type Observed = ImagesView;
    type Step = ImageStep;

    const WAKES_ON: &'static [Kind] = &[Kind::Secret];

    fn observe(&self) -> impl Future<Output = Result<ImagesView, HostError>> + Send {
        self.0.images()
    }

    fn plan(desired: &Desired<Image>, observed: &ImagesView) -> Plan<ImageStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &ImageStep) -> Result<(), HostError> {
        match &step.act {
            Act::Pull { spec } => self.0.pull_declared(spec).await,
            Act::Load { reference, archive } => self.0.load(reference, archive).await,
            Act::Push { image, push, .. } => self.0.push(&step.subject, image, push).await,
            Act::Remove { image, repository, .. } => self.0.remove_image(image, repository).await,
            Act::GiveBack { to } => self.0.give_back(&step.subject, to).await,
            Act::Build { spec, built, .. } => self.0.build(&step.subject, spec, built).await,
        }
    }

    fn report(manifests: &[Image], observed: &ImagesView) -> Vec<Report> {
        report::report(manifests, observed)
    }

    fn notes(manifests: &[Image], observed: &ImagesView) -> Vec<Vec<Note>> {
        let note = |image: &Image| image.spec.build.as_ref().and_then(|build| build::note(build, observed));
        manifests.iter().map(|image| note(image).into_iter().collect()).collect()
    }

    fn owned(_observed: &ImagesView) -> usize {
        // No image is removed, whatever is written on it.
        0
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

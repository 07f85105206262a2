//! Which images of a repository go because nothing needs them any more.

use std::time::Duration;

use piccolo_schema::{
    ImageSpec,
    image::{Prune, Reference},
};

use super::step::Act;
use crate::host::{ImageSeen, ImagesView};

/// How long an image is left alone after it came: the container that it was brought for may still be on its way.
const REST: Duration = Duration::from_secs(600);

/// Returns the removals that a manifest asks for.
pub(super) fn plan(spec: &ImageSpec, observed: &ImagesView) -> Vec<Act> {
    let (Some(now), Ok(reference)) = (observed.now, Reference::parse(&spec.reference)) else { return Vec::new() };
    if spec.prune != Some(Prune::Unused) {
        return Vec::new();
    }
    let repository = reference.repository();
    let unneeded = observed.unneeded().filter(|(_, ours)| ours.repository == repository);
    let rested = unneeded.filter(|(_, ours)| now.duration_since(ours.since).unsigned_abs() >= REST && now > ours.since);
    let remove = |image: &ImageSeen| Act::Remove {
        image: image.id.clone(),
        repository: repository.clone(),
        names: image.names.iter().filter(|name| !name.contains('@')).cloned().collect(),
    };
    rested.map(|(image, _)| remove(image)).collect()
}

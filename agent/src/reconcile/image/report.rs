//! How an image stands.

use piccolo_schema::{Declared, Image, ImageStatus, image::Reference, quantity::Bytes};

use super::{
    plan::{here, listed_as},
    push,
};
use crate::{
    host::{ImageSeen, ImagesView},
    reconcile::Report,
};

/// Says how the image of each manifest stands.
pub(super) fn report(manifests: &[Image], observed: &ImagesView) -> Vec<Report> {
    manifests.iter().map(|manifest| one(manifest, observed)).collect()
}

fn one(manifest: &Image, observed: &ImagesView) -> Report {
    let seen = here(&manifest.spec.reference, observed);
    let (reason, message) = match seen {
        Some(_) => ("Present", "Containers can be made from it"),
        None => ("Absent", "It is not on this machine"),
    };
    let status = seen.map(|seen| status(manifest, seen)).unwrap_or_default();
    let pushed = push::digests(manifest.name(), &manifest.spec, observed);
    let progress = observed.pulls.get(&listed_as(&manifest.spec.reference)).cloned();
    let fields = serde_json::to_value(ImageStatus { progress, pushed, ..status }).unwrap_or_default();
    Report { ready: seen.is_some(), reason: reason.to_owned(), message: message.to_owned(), fields }
}

fn status(manifest: &Image, seen: &ImageSeen) -> ImageStatus {
    let reference = Reference::parse(&manifest.spec.reference).ok();
    ImageStatus {
        image_id: Some(seen.id.clone()),
        built_from: seen.built.as_ref().filter(|_| manifest.spec.build.is_some()).map(|built| built.source.clone()),
        digest: reference.and_then(|reference| seen.digest(&reference)),
        size: Some(Bytes::new(seen.size)),
        ..ImageStatus::default()
    }
}

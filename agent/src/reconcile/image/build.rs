//! When an image is built.

use piccolo_schema::{
    ImageSpec,
    image::{Build, Credentials},
};
use sha2::{Digest, Sha256};

use super::{
    plan::{here, no_login},
    step::Act,
};
use crate::{
    host::{Built, ContextSeen, ImagesView, Trouble},
    reconcile::Note,
};

/// Plans the build of an image, or says what it waits for: a reason and a sentence.
pub(super) fn plan(
    spec: &ImageSpec,
    build: &Build,
    observed: &ImagesView,
) -> Result<Option<Act>, (&'static str, String)> {
    let there = here(&spec.reference, observed).and_then(|image| image.built.as_ref());
    let recipe = recipe(build);
    let same_recipe = there.filter(|built| built.recipe == recipe);
    let seen = observed.sources.get(&build.place());
    let Some(source) = seen.and_then(|seen| seen.fingerprint.clone()) else {
        // What is here was built as it is asked: it stays until more is known.
        return if same_recipe.is_some() { Ok(None) } else { Err(unseen(build, seen)) };
    };
    let wanted = Built { recipe, source };
    if there == Some(&wanted) {
        return Ok(None);
    }
    let no_login = |it: &Credentials| no_login(it, &observed.secrets);
    match spec.credentials.as_ref().and_then(no_login) {
        Some(waits) => Err(waits),
        None => Ok(Some(Act::Build { spec: spec.clone(), built: wanted, moved: same_recipe.is_some() })),
    }
}

/// Says what keeps an image that is here from being compared with what it is built from.
pub(super) fn note(build: &Build, observed: &ImagesView) -> Option<Note> {
    let Trouble { reason, message } = observed.sources.get(&build.place())?.trouble.clone()?;
    let message = format!("{message}; the image stays as it was built");
    Some(Note { name: "SourceUnseen", reason: reason.as_str(), message })
}

/// Returns the digest of what a manifest says of a build. Values of arguments are not to stand on the image in plain.
fn recipe(build: &Build) -> String {
    let text = serde_json::to_vec(build).unwrap_or_default();
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn unseen(build: &Build, seen: Option<&ContextSeen>) -> (&'static str, String) {
    match seen.and_then(|seen| seen.trouble.clone()) {
        Some(Trouble { reason, message }) => (reason.as_str(), message),
        None => ("SourceUnseen", format!("`{}` is being looked at", build.place())),
    }
}

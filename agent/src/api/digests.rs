//! The images that ran with a revision, which a return to it brings back. Data is left alone.

use std::collections::BTreeSet;

use piccolo_schema::{Container, Declared, Desired, Image, Kind, Volume};
use serde_json::{Value, json};

use super::State;
use crate::{
    history::{Digests, Resolved},
    manifests::Snapshot,
};

/// A container that runs another image than with the revision.
pub(super) struct Return<'a> {
    name: &'a str,
    then: &'a Resolved,
    /// Why it is left as it is.
    but: Option<String>,
}

/// Returns the containers, of those whose image these manifests name as the revision did, that run another one now. What
/// is `on_trial` may be put back.
pub(super) fn returns<'a>(state: &State, wanted: &Snapshot, then: &'a Digests, on_trial: bool) -> Vec<Return<'a>> {
    let volumes: Desired<Volume> = wanted.desired();
    let kept: BTreeSet<&str> = volumes.manifests.iter().filter(|it| it.spec.snapshot).map(Declared::name).collect();
    // What is made here has no digest that could be had again.
    let images: Desired<Image> = wanted.desired();
    let is_made = |image: &&Image| image.spec.build.is_some() || image.spec.archive.is_some();
    let made: BTreeSet<&str> = images.manifests.iter().filter(is_made).map(|it| &*it.spec.reference).collect();
    let containers: Desired<Container> = wanted.desired();
    let one = |container: &Container| {
        let (name, then) = then.get_key_value(container.name())?;
        if container.spec.image != then.image || made.contains(&*then.image) {
            return None;
        }
        let now = state.store.get(Kind::Container, name);
        let now = now.as_deref().filter(|it| it["spec"]["image"] == then.image.as_str());
        if now.is_some_and(|it| it["status"]["imageDigest"] == then.digest.as_str()) {
            return None;
        }
        let was_updated = now.is_some() && container.spec.update.is_some();
        let mut volumes = container.spec.mounts.iter().filter(|it| !it.read_only).filter_map(|it| it.volume.as_deref());
        let but = if !was_updated {
            None
        } else if volumes.any(|volume| kept.contains(volume)) {
            Some(format!("its data has moved on with its image; `piccolo rollback container/{name}` takes both back"))
        } else {
            on_trial.then(|| "an update is not undone while the change is on trial".to_owned())
        };
        Some(Return { name, then, but })
    };
    containers.manifests.iter().filter_map(one).collect()
}

/// Takes down what shall run again, and returns what came of it.
pub(super) async fn take_down(state: &State, returns: &mut [Return<'_>]) {
    for it in returns.iter_mut().filter(|it| it.but.is_none()) {
        it.but = state.updates.return_to(it.name, &it.then.image, &it.then.digest).await.err();
    }
}

/// Shows them.
pub(super) fn show(returns: &[Return<'_>]) -> Value {
    let one = |it: &Return<'_>| json!({ "container": it.name, "image": it.then.image, "digest": it.then.digest, "leftBecause": it.but });
    returns.iter().map(one).collect()
}

//! When an image is pushed.

use std::collections::BTreeMap;

use piccolo_schema::{ImageSpec, image::Push};

use super::{
    plan::{here, listed_as, no_login},
    step::{Act, ImageStep},
};
use crate::host::{ImagesView, Pushed};

/// What there is to push, and what keeps it from that: a reason and a sentence.
type Pushes = (Vec<Act>, Option<(&'static str, String)>);

/// Plans what registries are to be given of an image that is here.
pub(super) fn plan(name: &str, spec: &ImageSpec, observed: &ImagesView) -> Pushes {
    let Some(image) = here(&spec.reference, observed) else { return Pushes::default() };
    let has = |push: &&Push| {
        let given = observed.pushed.get(name).and_then(|all| all.get(&listed_as(&push.to)));
        given.is_some_and(|given| given.image == image.id)
    };
    let (mut acts, mut waits) = Pushes::default();
    for push in spec.push.iter().filter(|push| !has(push)) {
        match push.credentials.as_ref().and_then(|it| no_login(it, &observed.secrets)) {
            Some(why) => waits = waits.or(Some(why)),
            None => {
                let (reference, image) = (spec.reference.clone(), image.id.clone());
                acts.push(Act::Push { reference, image, push: push.clone() });
            }
        }
    }
    (acts, waits)
}

/// Plans to give back the names that pushes left which nobody asks for any more.
pub(super) fn left(wanted: &BTreeMap<&str, &ImageSpec>, complete: bool, observed: &ImagesView) -> Vec<ImageStep> {
    let mut steps = Vec::new();
    for (name, lent) in &observed.lent {
        let spec = wanted.get(name.as_str());
        // What is pushed now, or will be, gives its name back by itself.
        let goes_on = |to: &&String| spec.is_some_and(|spec| spec.push.iter().any(|push| listed_as(&push.to) == **to));
        if spec.is_some() || complete {
            let acts = lent.iter().filter(|to| !goes_on(to)).map(|to| Act::GiveBack { to: to.clone() });
            steps.extend(acts.map(|act| ImageStep { subject: name.clone(), act }));
        }
    }
    steps
}

/// Returns the digests that the image has at the registries that a manifest names.
pub(super) fn digests(name: &str, spec: &ImageSpec, observed: &ImagesView) -> BTreeMap<String, String> {
    let image = here(&spec.reference, observed).map(|image| image.id.as_str()).unwrap_or_default();
    let given = |push: &Push| {
        let to = listed_as(&push.to);
        let Pushed { digest, .. } = observed.pushed.get(name)?.get(&to).filter(|it| it.image == image)?;
        Some((to, digest.clone()))
    };
    spec.push.iter().filter_map(given).collect()
}

//! The plan for all images.

use std::collections::BTreeMap;

use piccolo_schema::{
    Declared, Desired, Image, ImageSpec,
    image::{Credentials, Reference},
};

use super::{
    archive, build, prune, push,
    step::{Act, ImageStep},
};
use crate::{
    host::{Digests, ImageSeen, ImagesView},
    reconcile::{Plan, Waiting},
};

/// The ways in which a secret can hold a login: values that have to be there together.
const LOGINS: [&[&str]; 3] = [&["username", "password"], &["config.json"], &[".dockerconfigjson"]];

/// Plans the whole kind, each subject by name.
pub(super) fn plan(desired: &Desired<Image>, observed: &ImagesView) -> Plan<ImageStep> {
    let wanted: BTreeMap<&str, &ImageSpec> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let mut first_of = BTreeMap::new();
    let left = push::left(&wanted, desired.complete, observed);
    let mut plan = Plan { steps: left, ..Plan::default() };
    for (name, spec) in &wanted {
        match subject(name, spec, &mut first_of, observed) {
            Ok(Some(act)) => plan.steps.push(ImageStep { subject: (*name).to_owned(), act }),
            Ok(None) => {
                let (acts, waits) = push::plan(name, spec, observed);
                plan.steps.extend(acts.into_iter().map(|act| ImageStep { subject: (*name).to_owned(), act }));
                plan.waiting.extend(waits.map(|(reason, message)| Waiting {
                    subject: (*name).to_owned(),
                    reason: reason.to_owned(),
                    message,
                }));
            }
            Err(waiting) => plan.waiting.push(waiting),
        }
        if desired.complete {
            let acts = prune::plan(spec, observed).into_iter();
            plan.steps.extend(acts.map(|act| ImageStep { subject: (*name).to_owned(), act }));
        }
    }
    plan
}

/// Finds the image that a reference names here.
pub(super) fn here<'a>(reference: &str, observed: &'a ImagesView) -> Option<&'a ImageSeen> {
    let listed = listed_as(reference);
    observed.images.iter().find(|image| image.names.contains(&listed))
}

fn subject<'a>(
    name: &'a str,
    spec: &ImageSpec,
    first_of: &mut BTreeMap<String, &'a str>,
    observed: &ImagesView,
) -> Result<Option<Act>, Waiting> {
    let wait = |reason: &str, message| Waiting { subject: name.to_owned(), reason: reason.to_owned(), message };
    let first = *first_of.entry(listed_as(&spec.reference)).or_insert(name);
    if first != name {
        let message = format!("`{}` is the reference of the Image manifest `{first}` too; remove one", spec.reference);
        return Err(wait("ReferenceTaken", message));
    }
    if let Some(build) = &spec.build {
        return build::plan(spec, build, observed).map_err(|(reason, message)| wait(reason, message));
    }
    if let Some(path) = &spec.archive {
        return archive::load(&spec.reference, path, observed).map_err(|(reason, message)| wait(reason, message));
    }
    if here(&spec.reference, observed).is_some() {
        return Ok(None);
    }
    match spec.credentials.as_ref().and_then(|it| no_login(it, &observed.secrets)) {
        Some((reason, message)) => Err(wait(reason, message)),
        None => Ok(Some(Act::Pull { spec: spec.clone() })),
    }
}

/// Says what a login lacks: a reason and a sentence.
pub(super) fn no_login(credentials: &Credentials, secrets: &Digests) -> Option<(&'static str, String)> {
    let name = &credentials.secret;
    let Some(values) = secrets.get(name) else {
        let help = format!("add a Secret manifest of this name, or see what keeps it: piccolo describe secret {name}");
        return Some(("SecretMissing", format!("There is no secret `{name}` on this machine; {help}")));
    };
    if LOGINS.iter().any(|login| login.iter().all(|key| values.contains_key(*key))) {
        return None;
    }
    let help = "it needs `username` and `password`, or `config.json`; set them: piccolo secret set";
    Some(("SecretKeyMissing", format!("The secret `{name}` holds no login: {help} {name} KEY")))
}

pub(super) fn listed_as(reference: &str) -> String {
    Reference::parse(reference).map_or_else(|_| reference.to_owned(), |reference| reference.to_string())
}

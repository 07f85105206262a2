//! Rules of updates.

use std::time::Duration;

use super::note;
use crate::{
    container::{ContainerSpec, Update, UpdatePolicy, Window},
    image::Reference,
    parse::{Code, Path, Violation},
};

/// A trial blocks every other change of the container.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

pub(super) fn check(spec: &ContainerSpec, update: &Update, out: &mut Vec<Violation>) {
    let path = |key: &str| Path::spec("update").key(key);
    if Reference::parse(&spec.image).is_ok_and(|image| image.digest().is_some()) {
        let reason = "an image by digest is always the same, so there is nothing to update to";
        note(out, Code::Conflict, Path::spec("update"), reason, "name the image by a tag, or remove `update`");
    }
    if update.window.as_deref().and_then(Window::parse).is_some_and(|window| window.is_empty()) {
        let reason = "the window ends when it begins, so it never opens";
        note(out, Code::OutOfRange, path("window"), reason, "remove it for updates at any time");
    }
    let automatic = [("window", update.window.is_some()), ("minimumAge", update.minimum_age.is_some())];
    for (key, _) in automatic.iter().filter(|(_, given)| *given && update.policy == UpdatePolicy::Manual) {
        let reason = format_args!("`{key}` is for automatic updates, and this policy is `manual`");
        note(out, Code::Conflict, path(key), reason, format_args!("write `policy = \"auto\"`, or remove `{key}`"));
    }
    if let Some(time) = update.health_for.filter(|it| it.get() > LONGEST_TRIAL) {
        let reason = format_args!("a trial of {time} blocks every other change of the container");
        note(out, Code::OutOfRange, path("healthFor"), reason, "give it at most `24h`");
    }
}

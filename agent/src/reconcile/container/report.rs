//! How a container stands.

use piccolo_schema::{Container, ContainerSpec, ContainerStatus, Declared, Progress, container::Restart};

use super::{
    machine::Machine,
    offer::{Offer, digest, offer, pinned},
    step::image,
};
use crate::{
    host::{ContainerSeen, EngineView, Health, Previous, Rollout, State},
    reconcile::{Note, Report},
};

/// Says how the container of each manifest stands.
pub(super) fn report(manifests: &[Container], observed: &EngineView) -> Vec<Report> {
    let machine = Machine::new(observed);
    manifests.iter().map(|manifest| one(manifest, &machine)).collect()
}

fn one(manifest: &Container, machine: &Machine<'_>) -> Report {
    let standing = machine.standing(manifest.name(), &manifest.spec);
    let seen = standing.kept.or(standing.old);
    let (ready, reason, message) = match seen {
        Some(seen) => verdict(seen, &manifest.spec),
        None => (false, "Absent", "There is no container".to_owned()),
    };
    let available = seen.and_then(|seen| available(manifest, seen, machine));
    let update_available = available.map(str::to_owned);
    let status = ContainerStatus { update_available, progress: progress(manifest, seen, machine), ..status(seen) };
    let fields = serde_json::to_value(status).unwrap_or_default();
    Report { ready, reason: reason.to_owned(), message, fields }
}

/// Says what else there is to know of each manifest.
pub(super) fn notes(manifests: &[Container], observed: &EngineView) -> Vec<Vec<Note>> {
    let machine = Machine::new(observed);
    manifests.iter().map(|manifest| note(manifest, &machine).into_iter().collect()).collect()
}

fn note(manifest: &Container, machine: &Machine<'_>) -> Option<Note> {
    let standing = machine.standing(manifest.name(), &manifest.spec);
    let note = |name, reason, message| Some(Note { name, reason, message });
    match offer(manifest.name(), &manifest.spec, standing.kept.or(standing.old)?, machine) {
        Offer::None => None,
        Offer::MadeAnew => {
            let message = "Its image was made anew on this machine; it is made from that once its container is removed, or \
                           once its manifest does not say `policy = \"manual\"`";
            note("UpdateAvailable", "MadeAnew", message.to_owned())
        }
        Offer::Back(Previous { digest, .. }) => {
            note("UpdateAvailable", "Due", format!("It goes back to the image {digest}"))
        }
        Offer::Due(digest) => note("UpdateAvailable", "Due", format!("Its tag names the image {digest} by now")),
        Offer::Waits(digest, reason, message) => {
            note("UpdateAvailable", reason, format!("Its tag names the image {digest} by now. {message}"))
        }
        Offer::Failed(digest, why) => {
            let message = format!("The image {digest} was tried and given up ({why}); it is not tried again");
            note("UpdateFailed", "GivenUp", message)
        }
    }
}

/// Returns the digest that may be updated to.
fn available<'a>(manifest: &Container, seen: &ContainerSeen, machine: &Machine<'a>) -> Option<&'a str> {
    match offer(manifest.name(), &manifest.spec, seen, machine) {
        Offer::Waits(digest, ..) | Offer::Due(digest) => Some(digest),
        Offer::None | Offer::MadeAnew | Offer::Failed(..) | Offer::Back(_) => None,
    }
}

/// Returns how far the pull has come of the image that it is made from next.
fn progress(manifest: &Container, seen: Option<&ContainerSeen>, machine: &Machine<'_>) -> Option<Progress> {
    let (name, spec) = (manifest.name(), &manifest.spec);
    let due = seen.and_then(|seen| match offer(name, spec, seen, machine) {
        Offer::Due(digest) => Some(digest.to_owned()),
        Offer::Back(previous) => Some(previous.digest.clone()),
        Offer::None | Offer::MadeAnew | Offer::Failed(..) | Offer::Waits(..) => None,
    });
    let due = due.map(|digest| Rollout { digest, replaces: None, restores: None });
    machine.progress(&image(spec, due.or_else(|| pinned(name, spec, machine)).as_ref())).cloned()
}

/// Returns true if it ended and its restart policy leaves it at that.
pub(super) fn has_done_its_work(seen: &ContainerSeen, spec: &ContainerSpec) -> bool {
    seen.state == State::Exited
        && match spec.restart {
            Restart::No => true,
            Restart::OnFailure => seen.exit_code == Some(0),
            Restart::Always => false,
        }
}

fn verdict(seen: &ContainerSeen, spec: &ContainerSpec) -> (bool, &'static str, String) {
    let code = seen.exit_code.unwrap_or_default();
    match (seen.state, seen.health) {
        (State::Created | State::Exited, _) if !spec.running => (true, "Stopped", "It is stopped, as asked".to_owned()),
        (State::Running, None) => (true, "Running", "It runs".to_owned()),
        (State::Running, Some(Health::Healthy)) => (true, "Healthy", "It runs and its health check passes".to_owned()),
        (State::Running, Some(Health::Starting)) => {
            (false, "Starting", "It runs; its health check has not passed yet".to_owned())
        }
        (State::Running, Some(Health::Unhealthy)) => {
            (false, "Unhealthy", "It runs, but its health check fails; see its logs".to_owned())
        }
        (State::Restarting, _) => (
            false,
            "CrashLooping",
            format!("It ends with exit code {code} and is started again and again; see its logs"),
        ),
        (State::Exited, _) if has_done_its_work(seen, spec) && code == 0 => {
            (true, "Completed", "It ran to its end".to_owned())
        }
        (State::Exited, _) if has_done_its_work(seen, spec) => {
            (false, "ExitedWithError", format!("It ended with exit code {code}; see its logs"))
        }
        (State::Exited, _) => (false, "Exited", format!("It ended with exit code {code}")),
        (State::Created, _) => (false, "Created", "It is made but was not started yet".to_owned()),
        (State::Paused, _) => (false, "Paused", "It is frozen".to_owned()),
        (State::Removing, _) => (false, "Removing", "The engine is removing it".to_owned()),
        (State::Dead, _) => (false, "Dead", "The engine could not remove it whole".to_owned()),
    }
}

fn status(seen: Option<&ContainerSeen>) -> ContainerStatus {
    let Some(seen) = seen else {
        return ContainerStatus { state: Some("absent".to_owned()), ..ContainerStatus::default() };
    };
    ContainerStatus {
        state: Some(seen.state.as_str().to_owned()),
        health: seen.health.map(|health| health.as_str().to_owned()),
        container_id: Some(seen.id.clone()),
        image_id: Some(seen.image_id.clone()).filter(|id| !id.is_empty()),
        image_digest: digest(seen).map(str::to_owned),
        exit_code: seen.exit_code,
        ..ContainerStatus::default()
    }
}

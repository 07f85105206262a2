//! How a source stands.

use piccolo_schema::{ConfigSource, ConfigSourceStatus};

use super::{
    plan::seen,
    step::{short, told},
};
use crate::{
    host::{SourceSeen, SourcesView},
    reconcile::{Note, Report},
};

/// Says how what came from each repository stands.
pub(super) fn report(manifests: &[ConfigSource], observed: &SourcesView) -> Vec<Report> {
    manifests.iter().map(|manifest| one(seen(manifest, observed))).collect()
}

fn one(seen: Option<&SourceSeen>) -> Report {
    let revision = seen.and_then(|seen| seen.revision.as_deref());
    let (reason, message) = match (seen, revision) {
        (Some(seen), Some(revision)) => {
            ("InForce", format!("Revision {} is in force, with {} manifests", short(revision), seen.manifests))
        }
        _ => ("Absent", "Nothing of it is in force".to_owned()),
    };
    let fields = serde_json::to_value(seen.map(status).unwrap_or_default()).unwrap_or_default();
    Report { ready: revision.is_some(), reason: reason.to_owned(), message, fields }
}

fn status(seen: &SourceSeen) -> ConfigSourceStatus {
    ConfigSourceStatus {
        revision: seen.revision.clone(),
        offered: seen.offer.as_ref().map(|it| it.revision.clone()),
        signer: seen.offer.as_ref().and_then(|it| it.signer.clone()),
        checked: seen.checked.clone(),
        ..ConfigSourceStatus::default()
    }
}

/// Says what else there is to know: that the repository does not answer any more, and what was changed here.
pub(super) fn notes(manifests: &[ConfigSource], observed: &SourcesView) -> Vec<Vec<Note>> {
    manifests.iter().map(|manifest| seen(manifest, observed).map(noted).unwrap_or_default()).collect()
}

fn noted(seen: &SourceSeen) -> Vec<Note> {
    let silent = seen.failure.as_ref().filter(|_| seen.revision.is_some()).map(|why| Note {
        name: "Unreachable",
        reason: "NoAnswer",
        message: format!("The repository does not answer any more: {why}"),
    });
    let edited = Some(&seen.edited).filter(|it| !it.is_empty()).map(|files| Note {
        name: "Edited",
        reason: "ChangedHere",
        message: format!("Not as the repository has it, and left so: {}", told(files)),
    });
    silent.into_iter().chain(edited).collect()
}

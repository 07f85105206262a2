//! How a volume stands.

use std::collections::BTreeMap;

use piccolo_schema::{Declared, Volume, VolumeStatus, quantity::Bytes};

use super::plan::limit_wanted;
use crate::{host::VolumeSeen, reconcile::Report};

/// Says how the volume of each manifest stands.
pub(super) fn report(manifests: &[Volume], observed: &[VolumeSeen]) -> Vec<Report> {
    let seen: BTreeMap<&str, &VolumeSeen> = observed.iter().map(|it| (it.name.as_str(), it)).collect();
    manifests.iter().map(|manifest| one(manifest, seen.get(manifest.name()).copied())).collect()
}

fn one(manifest: &Volume, seen: Option<&VolumeSeen>) -> Report {
    let (ready, reason, message) = match seen {
        Some(seen) => verdict(manifest, seen),
        None => (false, "Absent", "There is no volume".to_owned()),
    };
    let fields = serde_json::to_value(seen.map(status).unwrap_or_default()).unwrap_or_default();
    Report { ready, reason: reason.to_owned(), message, fields }
}

fn verdict(manifest: &Volume, seen: &VolumeSeen) -> (bool, &'static str, String) {
    let quota = seen.directory.as_ref().map(|directory| &directory.quota);
    if let Some(Err(why)) = quota.map(|quota| limit_wanted(&manifest.spec, quota)) {
        return (false, "QuotaUnsupported", format!("Containers can mount it, but nothing limits it. {why}"));
    }
    let message = match &seen.path {
        Some(path) => format!("Containers can mount it; its data is in {path}"),
        None => "Containers can mount it; the engine keeps its data".to_owned(),
    };
    (true, "Present", message)
}

fn status(seen: &VolumeSeen) -> VolumeStatus {
    let directory = seen.directory.as_ref();
    VolumeStatus {
        volume_name: Some(seen.name.clone()),
        path: seen.path.clone(),
        owner: directory.map(|it| it.owner.clone()),
        mode: directory.map(|it| it.mode.clone()),
        used: directory.and_then(|it| it.quota.used).map(Bytes::new),
        ..VolumeStatus::default()
    }
}

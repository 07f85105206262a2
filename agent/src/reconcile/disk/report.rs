//! How a disk stands.

use piccolo_schema::{Declared, Disk, DiskStatus, quantity::Bytes};

use super::{
    choose::choose,
    guard::{Case, Verdict, guard},
};
use crate::{
    host::{DiskSeen, DisksView, MountSeen, human},
    reconcile::{Note, Report},
};

/// Says how the disk of each manifest stands.
pub(super) fn report(manifests: &[Disk], observed: &DisksView) -> Vec<Report> {
    manifests.iter().map(|manifest| one(manifest, observed)).collect()
}

/// Says what else there is to know of the disk of each manifest.
pub(super) fn notes(manifests: &[Disk], observed: &DisksView) -> Vec<Vec<Note>> {
    manifests.iter().map(|manifest| of_one(manifest, observed)).collect()
}

fn one(manifest: &Disk, view: &DisksView) -> Report {
    let disk = choose(manifest.name(), &manifest.spec, view).ok();
    let own = own(manifest, view);
    let (ready, reason, message) = match own {
        Some(own) => (true, if own.mount.at.is_some() { "Mounted" } else { "Used" }, stands(own)),
        None => (false, "NotMounted", "It is not mounted".to_owned()),
    };
    let fields = serde_json::to_value(status(disk, own)).unwrap_or_default();
    Report { ready, reason: reason.to_owned(), message, fields }
}

fn stands(own: &MountSeen) -> String {
    let room = match (percent(own), own.total) {
        (Some(percent), Some(total)) => format!("; {percent} % of {} used", human(total)),
        _ => String::new(),
    };
    match &own.mount.at {
        Some(at) => format!("Mounted at {at}{room}"),
        None => "Used as swap".to_owned(),
    }
}

fn of_one(manifest: &Disk, view: &DisksView) -> Vec<Note> {
    let (name, spec) = (manifest.name(), &manifest.spec);
    let mut notes = Vec::new();
    if let Some((own, percent)) = own(manifest, view).and_then(|own| Some((own, percent(own)?))) {
        let at = own.mount.at.as_deref().unwrap_or_default();
        let message = format!("{percent} % of {at} is used; make room, or add a larger disk");
        if percent >= spec.usage.full {
            notes.push(Note { name: "DiskFull", reason: "NearlyFull", message });
        } else if percent >= spec.usage.warn {
            notes.push(Note { name: "DiskFilling", reason: "FillsUp", message });
        }
    }
    let Ok(disk) = choose(name, spec, view) else { return notes };
    if let Some(failing) = &disk.failing {
        let message = format!("{failing}; copy what is on it, and replace it");
        notes.push(Note { name: "DiskFailing", reason: "SelfTest", message });
    }
    if let Verdict::Use { spent: Some(message), .. } = guard(Case { name, spec, disk, view }) {
        notes.push(Note { name: "TicketWorthless", reason: "Spent", message });
    }
    notes
}

fn own<'a>(manifest: &Disk, view: &'a DisksView) -> Option<&'a MountSeen> {
    view.mounts.iter().find(|it| it.present && it.subject == manifest.name())
}

fn percent(own: &MountSeen) -> Option<u8> {
    let (total, used) = (own.total.filter(|total| *total > 0)?, own.used?);
    u8::try_from(used.saturating_mul(100) / total).ok()
}

fn status(disk: Option<&DiskSeen>, own: Option<&MountSeen>) -> DiskStatus {
    let told = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    DiskStatus {
        device: disk.map(|it| format!("/dev/{}", it.device)),
        model: disk.and_then(|it| told(&it.model)),
        serial: disk.and_then(|it| told(&it.identity.serial)),
        size: disk.map(|it| Bytes::new(it.identity.size)),
        uuid: own.map(|it| it.mount.uuid.clone()),
        mount: own.and_then(|it| it.mount.at.clone()),
        used_percent: own.and_then(percent),
        ..DiskStatus::default()
    }
}

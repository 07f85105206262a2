//! How the partitions of a disk stand.

use piccolo_schema::{
    Declared as _, Disk, DiskStatus,
    disk::{Partition, PartitionStatus, part_key},
    quantity::Bytes,
};

use super::{locks_of, percent, status};
use crate::{
    host::{DiskSeen, DisksView, LuksSeen, MountSeen, human},
    reconcile::Report,
};

/// Says how a disk with partitions stands.
pub(super) fn report(manifest: &Disk, disk: Option<&DiskSeen>, view: &DisksView) -> Report {
    let name = manifest.name();
    let own = |part: &Partition| view.mounts.iter().find(|it| it.present && it.subject == part_key(name, &part.name));
    let asked = &manifest.spec.partitions;
    let missing: Vec<&str> = asked.iter().filter(|it| own(it).is_none()).map(|it| it.name.as_str()).collect();
    let (reason, message) = if missing.is_empty() {
        let places: Vec<String> = asked.iter().filter_map(&own).map(place).collect();
        ("Mounted", format!("Mounted: {}", places.join(", ")))
    } else {
        ("NotMounted", format!("Not mounted: {}", missing.join(", ")))
    };
    let luks = |part: &Partition| {
        let mut locked = disk?.locked_parts(name, &manifest.spec);
        let asked = locked.find(|(it, _)| it.name == part.name).map(|(_, luks)| luks);
        // What it is stays so, whatever is asked for.
        let kept = || disk?.kept_parts(name, &manifest.spec).find(|it| it.name == part.name);
        asked.or_else(|| disk?.luks.iter().find(|it| Some(&it.device) == kept().map(|it| &it.device)))
    };
    let partitions = asked.iter().map(|it| of_part(it, disk, own(it), luks(it))).collect();
    let uuid = disk.and_then(|it| it.table.clone());
    let fields = serde_json::to_value(DiskStatus { partitions, uuid, ..status(disk, None) }).unwrap_or_default();
    Report { ready: missing.is_empty(), reason: reason.to_owned(), message, fields }
}

fn place(own: &MountSeen) -> String {
    let at = own.mount.at.as_deref().unwrap_or("swap");
    match (percent(own), own.total) {
        (Some(percent), Some(total)) => format!("{at} ({percent} % of {})", human(total)),
        _ => at.to_owned(),
    }
}

fn of_part(
    part: &Partition,
    disk: Option<&DiskSeen>,
    own: Option<&MountSeen>,
    luks: Option<&LuksSeen>,
) -> PartitionStatus {
    let seen = disk.and_then(|disk| disk.partitions.iter().find(|it| it.name == part.name));
    PartitionStatus {
        name: part.name.clone(),
        device: seen.map(|it| format!("/dev/{}", it.device)),
        size: seen.map(|it| Bytes::new(it.size)),
        uuid: own.map(|it| it.mount.uuid.clone()),
        encryption: luks.and_then(|it| locks_of(&[it], false)),
        mount: own.and_then(|it| it.mount.at.clone()),
        used_percent: own.and_then(percent),
    }
}

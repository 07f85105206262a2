//! How the partitions of a disk stand.

use piccolo_schema::{
    Declared as _, Disk, DiskStatus,
    disk::{Partition, PartitionStatus, part_key},
    quantity::Bytes,
};

use super::{locks_of, percent, status};
use crate::{
    host::{DiskSeen, DisksView, LuksSeen, MountSeen, Partition as Seen, human, parted::table_id},
    reconcile::Report,
};

/// Says how a disk with partitions stands.
pub(super) fn report(manifest: &Disk, disk: Option<&DiskSeen>, view: &DisksView) -> Report {
    let name = manifest.name();
    let own = |part: &str| view.mounts.iter().find(|it| it.present && it.subject == part_key(name, part));
    let asked = &manifest.spec.partitions;
    let missing: Vec<&str> = asked.iter().filter(|it| own(&it.name).is_none()).map(|it| it.name.as_str()).collect();
    let (reason, message) = if missing.is_empty() {
        let places: Vec<String> = asked.iter().filter_map(|it| own(&it.name)).map(place).collect();
        ("Mounted", format!("Mounted: {}", places.join(", ")))
    } else {
        ("NotMounted", format!("Not mounted: {}", missing.join(", ")))
    };
    // What it is stays so, whatever is asked for.
    let kept = |part: &str| {
        let device = disk?.kept_parts(name, &manifest.spec).find(|it| it.name == part).map(|it| &it.device);
        disk?.luks.iter().find(|it| Some(&it.device) == device)
    };
    let luks = |part: &Partition| {
        let mut locked = disk?.locked_parts(name, &manifest.spec);
        locked.find(|(it, _)| it.name == part.name).map(|(_, luks)| luks).or_else(|| kept(&part.name))
    };
    let partitions = asked
        .iter()
        .map(|it| of_part(&it.name, seen_as(&it.name, disk), own(&it.name), luks(it)))
        .chain(unlisted(manifest, disk).map(|it| of_unlisted(it, own(&it.name), kept(&it.name))))
        .collect();
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

fn seen_as<'a>(name: &str, disk: Option<&'a DiskSeen>) -> Option<&'a Seen> {
    disk?.partitions.iter().find(|it| it.name == name)
}

/// Returns the partitions of a table that was made for a manifest which does not have them, as they lie on the disk: it has them no
/// more, or somebody else added them.
fn unlisted<'a>(manifest: &Disk, disk: Option<&'a DiskSeen>) -> impl Iterator<Item = &'a Seen> {
    let disk = disk.filter(|it| it.table.as_deref() == Some(table_id(manifest.name()).as_str()));
    let is_asked = |it: &&Seen| manifest.spec.partitions.iter().any(|asked| asked.name == it.name);
    disk.map(DiskSeen::in_order).into_iter().flatten().filter(move |it| !is_asked(it))
}

/// Says how one of these stands. Until it is unmounted, its mount is told too.
fn of_unlisted(seen: &Seen, own: Option<&MountSeen>, luks: Option<&LuksSeen>) -> PartitionStatus {
    PartitionStatus { unlisted: true, ..of_part(&seen.name, Some(seen), own, luks) }
}

fn of_part(name: &str, seen: Option<&Seen>, own: Option<&MountSeen>, luks: Option<&LuksSeen>) -> PartitionStatus {
    PartitionStatus {
        name: name.to_owned(),
        unlisted: false,
        device: seen.map(|it| format!("/dev/{}", it.device)),
        size: seen.map(|it| Bytes::new(it.size)),
        uuid: own.map(|it| it.mount.uuid.clone()),
        encryption: luks.and_then(|it| locks_of(&[it], false)),
        mount: own.and_then(|it| it.mount.at.clone()),
        used_percent: own.and_then(percent),
    }
}

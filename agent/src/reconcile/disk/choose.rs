//! Which disk a manifest means.

use piccolo_schema::DiskSpec;

use crate::host::{
    DiskSeen, DisksView, HALF_MADE, label_of,
    parted::{HALF_TABLE, is_its_table},
};

/// How many disks are named to a person at most.
const MOST_NAMED: usize = 6;

/// Finds the disk that a manifest means, or says with reason and sentence why there is not one.
pub(super) fn choose<'a>(
    name: &str,
    spec: &DiskSpec,
    view: &'a DisksView,
) -> Result<&'a DiskSeen, (&'static str, String)> {
    let fitting: Vec<&DiskSeen> = view.disks.iter().filter(|disk| disk.fits(&spec.select)).collect();
    if let [only] = fitting.as_slice() {
        return Ok(only);
    }
    // Of several, the one that was given to this manifest before is meant: another one was plugged in later.
    let given: Vec<&&DiskSeen> = fitting.iter().filter(|disk| was_given(name, spec, disk)).collect();
    if let [only] = given.as_slice() {
        return Ok(only);
    }
    if fitting.is_empty() {
        let there = list(&view.disks.iter().collect::<Vec<_>>());
        let message = format!("No disk fits `select`; there is {there}. Plug it in, or correct `select`");
        return Err(("NoSuchDisk", message));
    }
    let message = format!("{} disks fit `select`: {}. Add what only one of them has", fitting.len(), list(&fitting));
    Err(("AmbiguousDisk", message))
}

fn was_given(name: &str, spec: &DiskSpec, disk: &DiskSeen) -> bool {
    let label = label_of(name, spec);
    if !spec.partitions.is_empty() {
        return disk.table.as_deref().is_some_and(|id| is_its_table(name, spec, id) || id == HALF_TABLE);
    }
    match &spec.adopt {
        Some(uuid) => disk.holds(uuid).is_some(),
        None => disk.whole().is_some_and(|it| it.label.as_ref().is_some_and(|has| *has == label || has == HALF_MADE)),
    }
}

/// Names disks with what is on them.
fn list(disks: &[&DiskSeen]) -> String {
    let one = |disk: &&DiskSeen| {
        let system = if disk.system { ", the machine's own" } else { "" };
        format!("{} ({}{system})", disk.name(), disk.content())
    };
    let mut named: Vec<String> = disks.iter().take(MOST_NAMED).map(one).collect();
    match disks.len() {
        0 => return "none".to_owned(),
        more if more > MOST_NAMED => named.push(format!("{} more", more - MOST_NAMED)),
        _ => {}
    }
    named.join("; ")
}

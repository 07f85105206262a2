//! Disks with partitions of their own: how they are made, and how each partition comes to its place.

use piccolo_schema::{
    DiskSpec,
    disk::{Filesystem, MountOption, Partition as Asked, part_key},
    quantity::Bytes,
};

use super::{
    guard::{Case, Verdict, guard},
    keys::{by_the_chip, first_called},
    layout::{Extent, layout, rest, whole},
    plan::{Found, encrypted, incomplete, make, put_in_place},
    step::{Act, DiskStep},
};
use crate::host::{
    DiskSeen, KeyAct, KeyOrder, LUKS, MakeOrder, MountSeen, Partition, Signature, disk_label, human, label_of,
    parted::{PartOrder, table_id},
    swap_label,
};

type Refusal = (&'static str, String);

/// Plans for a disk with partitions.
pub(super) fn plan(case: Case<'_>, complete: bool) -> Result<Vec<DiskStep>, Refusal> {
    match guard(case) {
        Verdict::Leave(reason, message) => Err((reason, message)),
        Verdict::Make { .. } if !complete => Err(incomplete()),
        Verdict::Make { ticket, resumes } => {
            // What shall open them has to be there before anything is written.
            if let (Some(encryption), Some(_)) = (&case.spec.encryption, case.spec.locked_parts().next()) {
                by_the_chip(encryption, case.view)?;
            }
            let act = part(case, make(case.name, case.spec, case.disk, ticket, resumes))?;
            Ok(vec![DiskStep { subject: case.name.to_owned(), part: None, removal: false, act }])
        }
        Verdict::Close { part, device, uuid } => {
            let act = Act::Key { order: KeyOrder { device, uuid, act: KeyAct::Close, ..KeyOrder::default() } };
            Ok(vec![DiskStep { subject: case.name.to_owned(), part, removal: false, act }])
        }
        Verdict::Use { .. } => put_all_in_place(case),
    }
}

/// Completes the order for a disk by its partitions.
fn part(case: Case<'_>, act: Act) -> Result<Act, Refusal> {
    let (name, spec) = (case.name, case.spec);
    let Act::Make { order, what, content } = act else { return Ok(act) };
    let extents = layout(spec, order.identity.size).map_err(|why| ("DiskTooSmall", why))?;
    let one = |(part, extent): (&Asked, Extent)| {
        let alone = spec.of_part(part);
        PartOrder {
            name: part.name.clone(),
            start: extent.start,
            size: extent.size,
            filesystem: alone.filesystem,
            label: label_of(&part_key(name, &part.name), &alone),
            quotas: part.options.contains(&MountOption::ProjectQuota),
            encrypted: alone.encryption.is_some(),
        }
    };
    let parts = spec.partitions.iter().zip(extents).map(one).collect();
    let order = MakeOrder { label: table_id(name), quotas: false, parts, ..*order };
    Ok(Act::Make { order: Box::new(order), what, content })
}

/// Plans how each partition comes to its place. What differs from what is asked for is told once all that fits is there.
fn put_all_in_place(case: Case<'_>) -> Result<Vec<DiskStep>, Refusal> {
    let (mut steps, mut differs) = (Vec::new(), difference(case));
    for asked in &case.spec.partitions {
        match one_in_place(case, asked) {
            Ok(acts) => {
                let (subject, part) = (case.name.to_owned(), Some(asked.name.clone()));
                let step = |act| DiskStep { subject: subject.clone(), part: part.clone(), removal: false, act };
                steps.extend(acts.into_iter().map(step));
            }
            // What somebody has to open comes before what is only told.
            Err(refusal) if refusal.0 == "DiskLocked" => differs = Some(refusal),
            Err(refusal) => drop(differs.get_or_insert(refusal)),
        }
    }
    // Two may exchange their places.
    steps.sort_by_key(|it| !matches!(it.act, Act::Unmount { .. }));
    match differs {
        Some(refusal) if steps.is_empty() => Err(refusal),
        _ => Ok(steps),
    }
}

fn one_in_place(case: Case<'_>, asked: &Asked) -> Result<Vec<Act>, Refusal> {
    let (seen, what) = found(case, asked)?;
    let (key, spec) = (part_key(case.name, &asked.name), case.spec.of_part(asked));
    let own = case.view.mounts.iter().find(|it| it.subject == key);
    let (uuid, size) = (what.uuid.clone().unwrap_or_default(), room(case, asked, seen, own));
    if spec.encryption.is_some() {
        return encrypted(&key, &spec, (case.disk, &uuid, size), case.view);
    }
    let found = Found { uuid, device: seen.device.clone(), size, mirror: None };
    Ok(put_in_place(&key, &spec, case.disk, found, case.view))
}

/// Returns the partition that is asked for, and what it holds.
fn found<'a>(case: Case<'a>, asked: &Asked) -> Result<(&'a Partition, &'a Signature), Refusal> {
    let (disk, name) = (case.disk, &asked.name);
    let mut all = disk.partitions.iter().filter(|it| it.name == *name);
    let Some(seen) = all.next() else {
        let message = format!("{} has no partition `{name}`; {}", disk.name(), kept(disk));
        return Err(("PartitionMissing", message));
    };
    if all.next().is_some() {
        let message = format!("{} has several partitions `{name}`; give each its own name", disk.name());
        return Err(("AmbiguousPartition", message));
    }
    let (key, spec) = (part_key(case.name, name), case.spec.of_part(asked));
    let wanted = if spec.encryption.is_some() { LUKS } else { spec.filesystem.as_str() };
    let label = label_of(&key, &spec);
    // Swap with a key of chance is made anew at each start, so nothing is taken over there.
    let is_passing = spec.encryption.is_some() && spec.filesystem == Filesystem::Swap;
    let may_be_of_others = case.spec.adopt.is_some() && !is_passing;
    let is_it = |it: &&Signature| {
        it.kind == wanted && it.uuid.is_some() && (may_be_of_others || it.label.as_ref() == Some(&label))
    };
    let Some(what) = seen.whole().filter(is_it) else {
        other_way(case, asked, seen)?;
        let is_kind = seen.whole().is_some_and(|it| it.kind == wanted);
        let but = match is_kind {
            true if is_passing && case.spec.adopt.is_some() => {
                "which was not made for swap of this manifest; take it out of `partitions`".to_owned()
            }
            true => "which was not made for this manifest".to_owned(),
            false => format!("and not {wanted}"),
        };
        let message =
            format!("Partition `{name}` of {} holds {}, {but}; it is kept as it is", disk.name(), seen.content());
        return Err(("WrongFilesystem", message));
    };
    let inside = what.uuid.as_ref().and_then(|it| disk.luks(it)?.opened.as_ref()?.whole()?.uuid.as_ref());
    let is_it = |uuid: &String| Some(uuid) == what.uuid.as_ref() || Some(uuid) == inside;
    let is_used = case.view.mounts.iter().any(|it| it.present && it.subject == key && is_it(&it.mount.uuid));
    let holds_it =
        |other: &&DiskSeen| other.seq != disk.seq && what.uuid.as_ref().is_some_and(|it| other.holds(it).is_some());
    let copies = disk.partitions.iter().filter(|it| it.whole().is_some_and(|it| it.uuid == what.uuid)).count();
    match case.view.disks.iter().find(holds_it).filter(|_| !is_used) {
        _ if copies > 1 => {
            let message = format!(
                "Another partition of {} holds what is in `{name}` too, as a copy does; erase one",
                disk.name()
            );
            Err(("DuplicateUuid", message))
        }
        Some(twin) => {
            let message =
                format!("{} holds what is in partition `{name}` too, as a copy does; unplug one", twin.name());
            Err(("DuplicateUuid", message))
        }
        None => Ok((seen, what)),
    }
}

/// Returns an error if a partition was made for this manifest, but encrypted and it no longer asks for that, or the other way
/// round.
fn other_way(case: Case<'_>, asked: &Asked, seen: &Partition) -> Result<(), Refusal> {
    let key = part_key(case.name, &asked.name);
    let is_encrypted = case.spec.of_part(asked).encryption.is_some();
    let labels = [disk_label(&key), swap_label(&key)];
    let is_ours = |it: &&Signature| it.label.as_ref().is_some_and(|it| labels.contains(it));
    let Some(found) = seen.whole().filter(is_ours).filter(|it| (it.kind == LUKS) != is_encrypted) else {
        return Ok(());
    };
    let what = first_called(&key, case.disk);
    let message = if found.kind == LUKS {
        let help = if asked.plain { "take out `plain`" } else { "add `encryption`" };
        format!("{what} is encrypted, and stays so as long as its data does; {help}")
    } else {
        format!(
            "{what} is not encrypted, and can't be while its data stays; write `plain = true` there, or copy what is on the \
             disk elsewhere and give it away by a ticket"
        )
    };
    Err(("EncryptionFixed", message))
}

/// Returns how much room what a partition holds is to fill: the last one of ours grows with its disk, once it is mounted.
fn room(case: Case<'_>, asked: &Asked, seen: &Partition, own: Option<&MountSeen>) -> u64 {
    let Some(own) = own else { return seen.size };
    if !is_ours(case) {
        return own.mount.disk_size;
    }
    let is_last = case.disk.in_order().last().is_some_and(|it| it.name == asked.name);
    if asked.size.is_some() || !is_last {
        seen.size
    } else {
        seen.size.max(rest(asked, seen.start, case.disk.identity.size))
    }
}

/// Says how the table differs from what is asked for, if it is ours and does.
fn difference(case: Case<'_>) -> Option<Refusal> {
    let (spec, disk) = (case.spec, case.disk);
    if !is_ours(case) {
        return None;
    }
    let told = |what: String| Some(("LayoutDiffers", format!("{}: {what}; {}", disk.name(), kept(disk))));
    let lying = disk.in_order();
    if let Some(it) = lying.iter().find(|it| it.start.saturating_add(it.size) > disk.identity.size) {
        let message = format!(
            "{} ends before its partition `{}` does; look at its cable and its controller",
            disk.name(),
            it.name
        );
        return Some(("SizeChanged", message));
    }
    if let Some(other) = lying.iter().find(|it| asked_for(spec, it).is_none()) {
        return told(format!("partition `{}` is on it, and not in the manifest", other.name));
    }
    let wanted: Vec<&str> = spec.partitions.iter().map(|it| it.name.as_str()).collect();
    if let Some(name) = wanted.iter().find(|name| !lying.iter().any(|it| it.name == **name)) {
        return told(format!("partition `{name}` is in the manifest, and not on it"));
    }
    let order: Vec<&str> = lying.iter().map(|it| it.name.as_str()).collect();
    if order != wanted {
        return told(format!("its partitions lie in the order {}", order.join(", ")));
    }
    let sized = |it: &&&Partition| match asked_for(spec, it) {
        Some(Asked { size: Some(size), .. }) => whole(size.get()) != it.size,
        Some(Asked { max_size: Some(most), .. }) => whole(most.get()) < it.size,
        _ => false,
    };
    let other = lying.iter().find(sized)?;
    let asked = asked_for(spec, other).and_then(|it| it.size.or(it.max_size)).map(Bytes::get).unwrap_or_default();
    told(format!("partition `{}` has {}, and the manifest says {}", other.name, human(other.size), human(asked)))
}

fn asked_for<'a>(spec: &'a DiskSpec, seen: &Partition) -> Option<&'a Asked> {
    spec.partitions.iter().find(|it| it.name == seen.name)
}

fn is_ours(case: Case<'_>) -> bool {
    case.disk.table.as_deref() == Some(table_id(case.name).as_str())
}

/// Says that partitions stay as they are.
fn kept(disk: &DiskSeen) -> String {
    let one = |it: &&Partition| format!("{} ({})", it.name, human(it.size));
    let parts: Vec<String> = disk.in_order().iter().map(one).collect();
    let there = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    format!("what is on a disk is never parted anew: it has {there}")
}

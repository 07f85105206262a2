//! How a disk stands.

mod parts;

use jiff::Timestamp;
use piccolo_schema::{
    Declared, Disk, DiskStatus,
    disk::{EncryptionStatus, Filesystem, HealthStatus, MirrorStatus, part_key},
    quantity::Bytes,
};

use super::{
    choose::choose,
    guard::{Case, Verdict, guard},
    keys::{called, is_retrieved},
    pair::Pair,
    scrub,
};
use crate::{
    host::{
        DiskSeen, DisksView, HealthSeen, KeySeen, LuksSeen, MountSeen, Retrieved, human, label_of, parted::manifest_of,
    },
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
    if !manifest.spec.partitions.is_empty() {
        return parts::report(manifest, disk, view);
    }
    let own = own(manifest, view);
    let (ready, reason, message) = match own {
        Some(own) => (true, if own.mount.at.is_some() { "Mounted" } else { "Used" }, stands(own)),
        None => (false, "NotMounted", "It is not mounted".to_owned()),
    };
    let (encryption, mirror) = (encryption(manifest, disk, view), mirror(manifest, view));
    let fields = serde_json::to_value(DiskStatus { encryption, mirror, ..status(disk, own) }).unwrap_or_default();
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
    if let Some((own, percent)) = fullest(manifest, view) {
        let at = own.mount.at.as_deref().unwrap_or_default();
        let message = format!("{percent} % of {at} is used; make room, or add a larger disk");
        if percent >= spec.usage.full {
            notes.push(Note { name: "DiskFull", reason: "NearlyFull", message });
        } else if percent >= spec.usage.warn {
            notes.push(Note { name: "DiskFilling", reason: "FillsUp", message });
        }
    }
    notes.extend(mounts(manifest, view).find_map(scrub::found));
    if let Some(pair) = Pair::find(name, spec, view) {
        notes.extend(pair.trouble().map(|(reason, message)| Note { name: "DiskDegraded", reason, message }));
        notes.extend(one_fails(&pair));
        let spent = pair.spent().map(str::to_owned);
        notes.extend(spent.map(|message| Note { name: "TicketWorthless", reason: "Spent", message }).take(1));
        // What is to be done about one of two comes first, then what about the other.
        add(&mut notes, pair.disks().flat_map(|disk| locks(manifest, disk, view)));
        return notes;
    }
    let Ok(disk) = choose(name, spec, view) else { return notes };
    notes.extend(failing(disk));
    add(&mut notes, locks(manifest, disk, view));
    if let Verdict::Use { spent: Some(message), .. } = guard(Case { name, spec, disk, view, pair: None }) {
        notes.push(Note { name: "TicketWorthless", reason: "Spent", message });
    }
    notes
}

/// Adds notes of what nothing is said yet.
fn add(notes: &mut Vec<Note>, more: impl IntoIterator<Item = Note>) {
    for note in more {
        if !notes.iter().any(|it| it.name == note.name) {
            notes.push(note);
        }
    }
}

/// Returns the encrypted disk or partition that a manifest means.
fn luks<'a>(manifest: &Disk, disk: &'a DiskSeen) -> Option<&'a LuksSeen> {
    manifest.spec.encryption.as_ref()?;
    let label = label_of(manifest.name(), &manifest.spec);
    let labelled = || disk.luks(disk.whole().filter(|it| it.label.as_ref() == Some(&label))?.uuid.as_deref()?);
    match &manifest.spec.adopt {
        Some(uuid) => disk.luks(uuid).or_else(|| labelled().filter(|_| manifest.spec.mirror.is_some())),
        None => labelled(),
    }
}

/// Says what there is to know of the keys of a disk, or of each of its partitions.
fn locks(manifest: &Disk, disk: &DiskSeen, view: &DisksView) -> Vec<Note> {
    // One key opens both, or all of them, and each says for itself whether it does.
    let half = manifest.spec.mirror.as_ref().map(|_| format!("{}: ", disk.name())).unwrap_or_default();
    let whole = luks(manifest, disk).map(|it| (half, manifest.name().to_owned(), it));
    let parts = disk
        .locked_parts(manifest.name(), &manifest.spec)
        .map(|(part, it)| (format!("Partition `{}`: ", part.name), part_key(manifest.name(), &part.name), it));
    let one = |(which, key, luks): (String, String, &LuksSeen)| {
        recovery(manifest, (&which, luks), view.now).into_iter().chain(shut(&key, disk, luks, view)).collect::<Vec<_>>()
    };
    whole.into_iter().chain(parts).flat_map(one).collect()
}

/// Says that the TPM does not open a disk as the machine started this time, and what to do about it.
fn shut(key: &str, disk: &DiskSeen, luks: &LuksSeen, view: &DisksView) -> Option<Note> {
    let name = manifest_of(key);
    let shut = view.shut.iter().find(|it| it.uuid == luks.uuid)?;
    let (name_of, reason, why) = match &shut.changed {
        Some(changed) => ("StartChanged", "TpmRefuses", format!("the machine started another way: {changed}")),
        None => ("TpmRefuses", "NotOpened", shut.why.clone()),
    };
    let open = match luks.opened {
        Some(_) => String::new(),
        None => format!(", and `piccolo disk unlock {name}` opens it until the machine goes down"),
    };
    let message = format!(
        "The TPM does not open {}: {why}. `piccolo trust why` tells more; if it shall be so from now on, `piccolo disk reseal \
         {name}` with the recovery key binds it to that{open}",
        called(key, disk),
    );
    Some(Note { name: name_of, reason, message })
}

/// Says what there is to do about the recovery key of a disk, if there is anything.
fn recovery(manifest: &Disk, (which, luks): (&str, &LuksSeen), now: Timestamp) -> Option<Note> {
    // The keys of an adopted disk are its owner's, who alone knows them.
    let is_swap = manifest.spec.partitions.is_empty() && manifest.spec.filesystem == Filesystem::Swap;
    let is_kept = manifest.spec.adopt.is_none() && !is_swap;
    manifest.spec.encryption.as_ref().filter(|it| it.recovery && is_kept)?;
    let name = manifest.name();
    let note =
        |reason, message| Some(Note { name: "RecoveryKeyNotRetrieved", reason, message: format!("{which}{message}") });
    match luks.retrieved(now) {
        Retrieved::NotMade => {
            let lost = "what is on the disk is lost with what opens it now";
            note("NotMade", format!("There is no recovery key, and {lost}: run `piccolo disk recovery-key {name}`"))
        }
        Retrieved::NotConfirmed => {
            let message = format!(
                "Nobody has proved to have the recovery key: type it at `piccolo disk recovery-key {name} --check`, or make \
                 another one without `--check`"
            );
            note("NotConfirmed", message)
        }
        Retrieved::ProofDue(last) => {
            let when = last.strftime("%Y-%m-%d");
            let message = format!(
                "The recovery key was last typed on {when}; see whether you still have it: `piccolo disk recovery-key {name} \
                 --check`"
            );
            note("ProofDue", message)
        }
        Retrieved::Proved(_) => None,
    }
}

fn encryption(manifest: &Disk, disk: Option<&DiskSeen>, view: &DisksView) -> Option<EncryptionStatus> {
    let halves = Pair::find(manifest.name(), &manifest.spec, view).map(|it| it.disks().collect::<Vec<_>>());
    let of_two = halves.is_some();
    let disks = halves.unwrap_or_else(|| disk.into_iter().collect());
    let all: Vec<&LuksSeen> = disks.iter().filter_map(|disk| luks(manifest, disk)).collect();
    locks_of(&all, of_two)
}

/// Says how what is encrypted stands, one or two of them.
fn locks_of(all: &[&LuksSeen], of_two: bool) -> Option<EncryptionStatus> {
    // What opens one of two does not open both.
    let which = |luks: &LuksSeen| if of_two { format!("{} ", luks.device) } else { String::new() };
    let keys = |luks: &&LuksSeen| {
        let key = |it: &KeySeen| format!("{}{}: {}", which(luks), it.slot, it.words());
        luks.keys.iter().map(key).collect::<Vec<_>>()
    };
    let proved = |luks: &&LuksSeen| luks.keys.iter().filter_map(|it| it.proved).max().filter(|_| is_retrieved(luks));
    let proved: Option<Vec<Timestamp>> = all.iter().map(proved).collect();
    Some(EncryptionStatus {
        uuid: all.first()?.uuid.clone(),
        open: all.iter().all(|it| it.opened.is_some()),
        keys: all.iter().flat_map(keys).collect(),
        recovery_proved: proved.and_then(|it| it.into_iter().min()).map(|it| it.to_string()),
    })
}

fn health(disk: &DiskSeen) -> Option<HealthStatus> {
    let HealthSeen { worn, reallocated } = disk.health?;
    Some(HealthStatus {
        passed: disk.failing.is_none(),
        failing: disk.failing.clone(),
        worn_percent: worn,
        reallocated_sectors: reallocated,
    })
}

fn failing(disk: &DiskSeen) -> Option<Note> {
    let failing = disk.failing.as_ref()?;
    let message = format!("{failing}; copy what is on it, and replace it");
    Some(Note { name: "DiskFailing", reason: "SelfTest", message })
}

/// Says which of two disks is about to fail, or that both are.
fn one_fails(pair: &Pair<'_>) -> Option<Note> {
    let told = |disk: &DiskSeen| Some(format!("{}: {}", disk.name(), disk.failing.as_ref()?));
    let all: Vec<String> = pair.disks().filter_map(told).collect();
    let help = match all.len() {
        0 => return None,
        1 => "replace it while the other one holds all",
        _ => "copy what is on them, and replace both",
    };
    Some(Note { name: "DiskFailing", reason: "SelfTest", message: format!("{}; {help}", all.join("; ")) })
}

/// Says how the second of two disks stands.
fn mirror(manifest: &Disk, view: &DisksView) -> Option<MirrorStatus> {
    let disk = Pair::find(manifest.name(), &manifest.spec, view)?.second()?;
    let DiskStatus { device, model, serial, size, health, .. } = status(Some(disk), None);
    Some(MirrorStatus { device, model, serial, size, health })
}

/// Returns what is mounted of a manifest's disk, of its partitions too.
fn mounts<'a>(manifest: &Disk, view: &'a DisksView) -> impl Iterator<Item = &'a MountSeen> {
    let name = manifest.name().to_owned();
    view.mounts.iter().filter(move |it| it.present && it.is_of(&name))
}

/// Returns which of them is the fullest, and how full it is.
fn fullest<'a>(manifest: &Disk, view: &'a DisksView) -> Option<(&'a MountSeen, u8)> {
    mounts(manifest, view).filter_map(|own| Some((own, percent(own)?))).max_by_key(|(_, percent)| *percent)
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
        scrub: own.and_then(scrub::status),
        health: disk.and_then(health),
        ..DiskStatus::default()
    }
}

#[cfg(test)]
mod tests;

//! What opens an encrypted disk, and how its keys come to be as its manifest asks.

use piccolo_schema::{
    DiskSpec,
    disk::{Encryption, Filesystem, Passphrase},
};

use super::step::Act;
use crate::host::{
    Bound, DiskSeen, DisksView, HalfKey, KeyAct, KeyOrder, KeySeen, LuksSeen, NewKey, Opened, OpenedBy, bound,
    disk_label,
    parted::{manifest_of, part_of},
};

type Refusal = (&'static str, String);

/// What of a disk is inside of its encryption, or what has to be done before that is known.
pub(super) enum Inside {
    /// This step comes first.
    First(Act),
    /// A file system, by its UUID and the device that holds it.
    There(String, String),
}

/// An encrypted disk that can be read.
pub(super) enum Door<'a> {
    /// It is open.
    Open(&'a LuksSeen, &'a Opened),
    /// This opens it.
    Shut(Box<Act>),
}

/// Looks whether an encrypted disk is open, and if not whether it may be.
pub(super) fn door<'a>(
    name: &str,
    spec: &DiskSpec,
    (disk, uuid): (&'a DiskSeen, &str),
    half: Option<HalfKey>,
    view: &DisksView,
) -> Result<Door<'a>, Refusal> {
    let Some(luks) = disk.luks(uuid) else {
        let message =
            format!("{} is encrypted, and its header can't be read; keep it as it is", first_called(name, disk));
        return Err(("HeaderUnreadable", message));
    };
    if spec.filesystem == Filesystem::Swap {
        let is_made = |it: &&Opened| it.whole().is_some_and(|it| it.kind == Filesystem::Swap.as_str());
        let anew = || act(spec, (luks, half), KeyAct::OpenAnew { discard: spec.trim });
        return Ok(luks
            .opened
            .as_ref()
            .filter(is_made)
            .map_or_else(|| Door::Shut(Box::new(anew())), |it| Door::Open(luks, it)));
    }
    if let Some(opened) = &luks.opened {
        return Ok(Door::Open(luks, opened));
    }
    if let Some(locked) = view.locked.iter().find(|it| it.subject == name && it.uuid == luks.uuid) {
        return Err(("DiskLocked", told(name, disk, &locked.why)));
    }
    let passphrase = spec.encryption.as_ref().and_then(|it| it.passphrase.clone());
    let others = named(luks).filter(|it| passphrase.as_ref() != Some(it)).collect();
    let open = KeyAct::Open { passphrase, others, discard: spec.trim };
    Ok(Door::Shut(Box::new(act(spec, (luks, half), open))))
}

/// Looks into an encrypted disk.
pub(super) fn inside(
    name: &str,
    spec: &DiskSpec,
    (disk, uuid): (&DiskSeen, &str),
    view: &DisksView,
) -> Result<Inside, Refusal> {
    match door(name, spec, (disk, uuid), None, view)? {
        Door::Shut(act) => Ok(Inside::First(*act)),
        Door::Open(_, opened) => {
            let found = what_is_inside(name, spec, (disk, uuid), opened)?;
            Ok(Inside::There(found.to_owned(), opened.device.clone()))
        }
    }
}

/// Returns the UUID of what is inside of an open disk, if that is what the manifest means.
pub(super) fn what_is_inside<'a>(
    name: &str,
    spec: &DiskSpec,
    (disk, header): (&DiskSeen, &str),
    opened: &'a Opened,
) -> Result<&'a str, Refusal> {
    if let Some(why) = opened.trouble.as_ref().filter(|_| opened.signatures.is_empty()) {
        return Err(("DiskUnreadable", format!("What is inside of {} can't be told: {why}", called(name, disk))));
    }
    let whole = opened.whole().and_then(|it| Some((it, it.uuid.as_deref()?)));
    let is_it = |label: &Option<String>| spec.adopt.is_some() || *label == Some(disk_label(name));
    match whole {
        Some((found, uuid)) if found.kind == spec.filesystem.as_str() && is_it(&found.label) => Ok(uuid),
        found => {
            let holds = found.as_ref().map_or("nothing that is known", |(it, _)| it.kind.as_str());
            // A partition is taken over with the table that it is in.
            let adopt = part_of(name).and(disk.table.as_deref()).unwrap_or(header);
            let help = if holds == spec.filesystem.as_str() {
                format!("that was not made for this manifest; to use it as it is, write `adopt = \"{adopt}\"`")
            } else {
                "correct `filesystem`".to_owned()
            };
            Err(("WrongFilesystem", format!("Inside of {} is {holds}; {help}", called(name, disk))))
        }
    }
}

/// Says that what is inside of an open disk can't be told, which is another thing than that it is nothing.
pub(super) fn unreadable(disk: &DiskSeen, why: &str) -> Refusal {
    ("DiskUnreadable", format!("What is inside of {} can't be told: {why}", disk.name()))
}

/// Names a disk, or the partition of it that is meant, for people.
pub(super) fn called(name: &str, disk: &DiskSeen) -> String {
    match part_of(name) {
        Some(part) => format!("partition `{part}` of {}", disk.name()),
        None => disk.name(),
    }
}

/// Does so at the beginning of a sentence.
pub(super) fn first_called(name: &str, disk: &DiskSeen) -> String {
    match part_of(name) {
        Some(part) => format!("Partition `{part}` of {}", disk.name()),
        None => disk.name(),
    }
}

fn told(name: &str, disk: &DiskSeen, why: &str) -> String {
    let (what, manifest) = (first_called(name, disk), manifest_of(name));
    format!("{what} is locked: {why}; `piccolo disk unlock {manifest}` opens it with its recovery key")
}

/// Plans how the keys of a disk come to be as its manifest asks: first what is new, then what is asked for no more. The keys
/// of an adopted disk are its owner's.
pub(super) fn keys(
    name: &str,
    spec: &DiskSpec,
    (luks, half): (&LuksSeen, Option<HalfKey>),
    view: &DisksView,
) -> Result<Vec<Act>, Refusal> {
    let Some(encryption) = spec.encryption.as_ref().filter(|_| spec.adopt.is_none()) else { return Ok(Vec::new()) };
    let bound = by_the_chip(encryption, view)?;
    if let Some(key) = luks.lacks(encryption, bound.as_ref()).into_iter().next() {
        if let Some(locked) = view.locked.iter().find(|it| it.subject == name && it.uuid == luks.uuid) {
            return Err(not_added(name, &key, &locked.why));
        }
        let passphrase = named(luks).next().or_else(|| encryption.passphrase.clone());
        return Ok(vec![act(spec, (luks, half), KeyAct::Add { key, passphrase })]);
    }
    let Some(key) = luks.keys.iter().find(|it| is_left(encryption, bound.as_ref(), it)) else { return Ok(Vec::new()) };
    // Where the secret that is asked for has another value since, there are as many ways in as before.
    let is_replaced = key.outdated && key.secret == encryption.passphrase.as_ref().map(ToString::to_string);
    let proved = encryption.recovery && !is_replaced;
    if proved && !is_retrieved(luks) {
        let (slot, what) = slot_of(name, key);
        let message = format!(
            "Slot {slot} ({what}) is asked for no more, and stays until the recovery key was proved: `piccolo disk \
             recovery-key {}`",
            manifest_of(name)
        );
        return Err(("RecoveryKeyNotRetrieved", message));
    }
    if let Some(locked) = view.locked.iter().find(|it| it.subject == name && it.uuid == luks.uuid) {
        return Err(not_removed(name, key, &locked.why));
    }
    let passphrase = encryption.passphrase.clone();
    Ok(vec![act(spec, (luks, half), KeyAct::Remove { slot: key.slot, what: key.words(), proved, passphrase })])
}

/// Says what a person can do where nothing of this machine opens a disk so that a key could be added.
fn not_added(name: &str, key: &NewKey, why: &str) -> Refusal {
    let (what, before) = match key {
        NewKey::Tpm2(bound) => (format!("The TPM ({bound})"), ""),
        NewKey::Tang(tang) => (format!("The server {}", tang.url), ""),
        NewKey::Passphrase(it) => (format!("The value that the secret {it} has by now"), " or the value of before"),
    };
    let disk = part_of(name).map_or_else(|| "the disk".to_owned(), |part| format!("partition `{part}`"));
    let message = format!(
        "{what} does not open {disk} yet, and nothing of this machine does ({why}): `piccolo disk unlock {}` with the recovery \
         key{before} lets it",
        manifest_of(name)
    );
    ("KeyNotAdded", message)
}

/// Says why a slot stays where no other key of this machine opens the disk.
fn not_removed(name: &str, key: &KeySeen, why: &str) -> Refusal {
    let (slot, what) = slot_of(name, key);
    let message = format!(
        "Slot {slot} ({what}) is asked for no more, and stays until something else of this machine opens the disk ({why})"
    );
    ("KeyNotRemoved", message)
}

/// Names a slot, of one of several partitions with that, and what opens it.
fn slot_of(name: &str, key: &KeySeen) -> (String, String) {
    let part = part_of(name).map(|part| format!(" of partition `{part}`")).unwrap_or_default();
    (format!("{}{part}", key.slot), key.words())
}

/// Returns true if somebody has proved to have a recovery key of the disk.
pub(super) fn is_retrieved(luks: &LuksSeen) -> bool {
    luks.keys.iter().any(|it| it.by == OpenedBy::Recovery && it.proved.is_some())
}

/// Returns the secrets whose passphrases open the disk by now.
fn named(luks: &LuksSeen) -> impl Iterator<Item = Passphrase> {
    let secrets = luks.keys.iter().filter_map(|it| it.secret.as_ref()?.split_once('/'));
    secrets.map(|(secret, key)| Passphrase { secret: secret.to_owned(), key: key.to_owned() })
}

/// Returns what the slot of the TPM shall be bound to, if one is asked for.
pub(super) fn by_the_chip(encryption: &Encryption, view: &DisksView) -> Result<Option<Bound>, Refusal> {
    bound(encryption, view.signer.as_deref()).map_err(|error| ("SignerMissing", error.message))
}

/// Returns true for a key of ours that the manifest asks for no more.
fn is_left(encryption: &Encryption, bound: Option<&Bound>, key: &KeySeen) -> bool {
    match key.by {
        // Of a slot that is somebody else's it is not known what it is bound to.
        OpenedBy::Tpm2 => key.bound().is_some_and(|it| Some(&it) != bound),
        OpenedBy::Passphrase => key.outdated || key.secret != encryption.passphrase.as_ref().map(ToString::to_string),
        OpenedBy::Tang => key.tang.is_some() && key.tang != encryption.tang,
        OpenedBy::Recovery | OpenedBy::Unknown => false,
    }
}

fn act(spec: &DiskSpec, (luks, half): (&LuksSeen, Option<HalfKey>), act: KeyAct) -> Act {
    let tang = spec.encryption.as_ref().and_then(|it| it.tang.clone());
    Act::Key { order: KeyOrder { device: luks.device.clone(), uuid: luks.uuid.clone(), tang, half, act } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_disk_is_opened_by_what_its_header_names_too() {
        let new = Passphrase { secret: "disks".to_owned(), key: "new".to_owned() };
        let key = |slot, secret: &str| KeySeen { slot, secret: Some(secret.to_owned()), ..KeySeen::default() };
        let keys = vec![key(0, "disks/old"), key(1, "disks/new"), key(2, "without a key")];
        let luks = LuksSeen { uuid: "6c1b7e0a".to_owned(), keys, ..LuksSeen::default() };
        let disk = DiskSeen { luks: vec![luks], ..DiskSeen::default() };
        let encryption = Encryption { passphrase: Some(new.clone()), ..Encryption::default() };
        let spec = DiskSpec { encryption: Some(encryption), ..DiskSpec::default() };
        let first = inside("media", &spec, (&disk, "6c1b7e0a"), &DisksView::default());
        let act = if let Ok(Inside::First(Act::Key { order })) = first { Some(order.act) } else { None };
        let others = vec![Passphrase { key: "old".to_owned(), ..new.clone() }];
        assert_eq!(act, Some(KeyAct::Open { passphrase: Some(new), others, discard: false }));
    }
}

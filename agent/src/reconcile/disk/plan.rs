//! The plan for all disks.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{
    Declared, Desired, Disk, DiskSpec,
    disk::{MountOption, part_key},
    volume::lies_in,
};

use super::{
    choose::choose,
    guard::{Case, Verdict, guard},
    keys::{Inside, by_the_chip, called, inside, keys},
    pair::Pair,
    parted, places, scrub,
    step::{Act, DiskStep},
};
use crate::{
    host::{
        DiskSeen, DisksView, HalfKey, KeyAct, KeyOrder, MakeOrder, Mirrored, Mount, MountSeen, Unlocked, label_of,
        mapped_name,
        parted::{manifest_of, part_of},
    },
    reconcile::{Plan, Waiting},
};

/// How often a disk is told which blocks are free.
const TRIMMED_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 7);

/// Plans the whole kind: first what goes, then each subject by name.
pub(super) fn plan(desired: &Desired<Disk>, observed: &DisksView) -> Plan<DiskStep> {
    let wanted: BTreeMap<&str, &DiskSpec> = desired.manifests.iter().map(|it| (it.name(), &it.spec)).collect();
    let mut plan = Plan::default();
    let goes = |name: &str| !wanted.contains_key(name) && (desired.complete || desired.consented.contains(name));
    for it in observed.mounts.iter().filter(|it| goes(manifest_of(&it.subject))) {
        plan.steps.push(DiskStep { removal: true, ..unmount(it) });
    }
    let is_mounted = |name: &str| observed.mounts.iter().any(|it| it.subject == name);
    let is_used = |it: &Unlocked| is_mounted(&it.subject) || is_mounted(manifest_of(&it.subject));
    for it in observed.unlocked.iter().filter(|it| goes(manifest_of(&it.subject)) && !is_used(it)) {
        plan.steps.push(DiskStep { removal: true, ..close(it, observed) });
    }
    let mut taken = Taken::default();
    for (name, spec) in &wanted {
        match one(name, spec, observed, &mut taken, desired.complete) {
            Ok(steps) => plan.steps.extend(steps),
            Err((reason, message)) => {
                plan.waiting.push(Waiting { subject: (*name).to_owned(), reason: reason.to_owned(), message });
            }
        }
    }
    places::keep(&mut plan, observed);
    plan
}

/// What manifests before this one have.
#[derive(Default)]
struct Taken<'a> {
    disks: BTreeMap<u64, &'a str>,
    places: BTreeSet<(String, &'a str)>,
}

fn one<'a>(
    name: &'a str,
    spec: &'a DiskSpec,
    view: &DisksView,
    taken: &mut Taken<'a>,
    complete: bool,
) -> Result<Vec<DiskStep>, (&'static str, String)> {
    taken.place(name, spec)?;
    let keys = spec.keys(name);
    let is_left = |it: &&MountSeen| it.is_of(name) && !keys.contains(&it.subject);
    let left: Vec<DiskStep> = view.mounts.iter().filter(is_left).map(unmount).collect();
    if !left.is_empty() {
        return Ok(left);
    }
    // A partition that is asked for no more is closed like one whose manifest is gone.
    let is_open = |it: &&Unlocked| {
        manifest_of(&it.subject) == name && !keys.contains(&it.subject) && it.part(&view.disks).is_some()
    };
    let left: Vec<DiskStep> = view.unlocked.iter().filter(is_open).map(|it| close(it, view)).collect();
    if !left.is_empty() {
        return Ok(left);
    }
    if !spec.partitions.is_empty() {
        let disk = choose(name, spec, view)?;
        taken.disk(name, disk)?;
        return parted::plan(Case { name, spec, disk, view, pair: None }, complete);
    }
    let step = |act| DiskStep { subject: name.to_owned(), part: None, removal: false, act };
    Ok(of_whole(name, spec, view, taken, complete)?.into_iter().map(step).collect())
}

/// Plans for a disk, or two, with one file system.
fn of_whole<'a>(
    name: &'a str,
    spec: &'a DiskSpec,
    view: &DisksView,
    taken: &mut Taken<'a>,
    complete: bool,
) -> Result<Vec<Act>, (&'static str, String)> {
    if let Some(pair) = Pair::find(name, spec, view) {
        pair.disks().try_for_each(|it| taken.disk(name, it))?;
        return pair.plan(complete);
    }
    let disk = choose(name, spec, view)?;
    taken.disk(name, disk)?;
    match guard(Case { name, spec, disk, view, pair: None }) {
        Verdict::Leave(reason, message) => Err((reason, message)),
        Verdict::Make { .. } if !complete => Err(incomplete()),
        Verdict::Make { ticket, resumes } => {
            // What shall open it has to be there before anything is written.
            spec.encryption.as_ref().map_or(Ok(None), |it| by_the_chip(it, view))?;
            Ok(vec![make(name, spec, disk, ticket, resumes)])
        }
        Verdict::Close { part, device, uuid } => {
            // What was begun with partitions stays open under the name of one of them, whatever is asked for by now.
            let half = part.map(|it| half_of(name, &it, disk));
            Ok(vec![Act::Key { order: KeyOrder { device, uuid, half, act: KeyAct::Close, tang: None } }])
        }
        Verdict::Use { uuid, .. } if spec.encryption.is_some() => {
            encrypted(name, spec, (disk, &uuid, disk.identity.size), view)
        }
        Verdict::Use { uuid, device, .. } => {
            let size = disk.identity.size;
            Ok(put_in_place(name, spec, disk, Found { uuid, device, size, mirror: None }, view))
        }
    }
}

/// Returns the step that takes a mount away.
fn unmount(it: &MountSeen) -> DiskStep {
    DiskStep {
        subject: manifest_of(&it.subject).to_owned(),
        part: part_of(&it.subject).map(str::to_owned),
        removal: false,
        act: Act::Unmount { at: it.mount.at.clone() },
    }
}

/// Returns the step that closes what was opened. A half, or what is there no more, is named by its inside.
fn close(it: &Unlocked, view: &DisksView) -> DiskStep {
    let subject = manifest_of(&it.subject).to_owned();
    let part = it.part(&view.disks).map(|part| part.name.clone());
    let half = HalfKey { under: it.subject.clone(), what: it.device.clone() };
    let half = (subject != it.subject && part.is_none()).then_some(half);
    let order = KeyOrder { device: it.device.clone(), half, act: KeyAct::Close, ..KeyOrder::default() };
    DiskStep { subject, part, removal: false, act: Act::Key { order } }
}

/// Names a partition that is open for a manifest.
pub(super) fn half_of(name: &str, part: &str, disk: &DiskSeen) -> HalfKey {
    let under = part_key(name, part);
    HalfKey { what: called(&under, disk), under }
}

/// Plans for an encrypted disk or partition that is as it should be, and fills so much: what is inside comes first, then its
/// keys.
pub(super) fn encrypted(
    name: &str,
    spec: &DiskSpec,
    (disk, uuid, size): (&DiskSeen, &str, u64),
    view: &DisksView,
) -> Result<Vec<Act>, (&'static str, String)> {
    let found = match inside(name, spec, (disk, uuid), view)? {
        Inside::First(act) => return Ok(vec![act]),
        Inside::There(uuid, device) => Found { uuid, device, size, mirror: None },
    };
    let acts = put_in_place(name, spec, disk, found, view);
    match disk.luks(uuid) {
        Some(luks) if acts.is_empty() => keys(name, spec, (luks, None), view),
        _ => Ok(acts),
    }
}

/// What a disk, or two, hold that is to be used.
pub(super) struct Found {
    pub(super) uuid: String,
    /// The disk or partition that holds it.
    pub(super) device: String,
    /// How much room there is for it.
    pub(super) size: u64,
    pub(super) mirror: Option<Mirrored>,
}

pub(super) fn incomplete() -> (&'static str, String) {
    let message = "A manifest can't be read, which may mean the same disk; mend it, then the disk is made";
    ("ManifestsIncomplete", message.to_owned())
}

pub(super) fn make(
    name: &str,
    spec: &DiskSpec,
    disk: &DiskSeen,
    ticket: Option<String>,
    resumes: Option<String>,
) -> Act {
    let order = MakeOrder {
        device: disk.device.clone(),
        seq: disk.seq,
        identity: disk.identity.clone(),
        digest: disk.digest(),
        filesystem: spec.filesystem,
        label: label_of(name, spec),
        quotas: spec.options.contains(&MountOption::ProjectQuota),
        encryption: spec.encryption.clone(),
        ticket,
        resumes,
        second: None,
        half: None,
        parts: Vec::new(),
    };
    Act::Make { order: Box::new(order), what: disk.name(), content: disk.content() }
}

/// Plans for a disk that holds what it should.
pub(super) fn put_in_place(
    name: &str,
    spec: &DiskSpec,
    disk: &DiskSeen,
    Found { uuid, device, size, mirror }: Found,
    view: &DisksView,
) -> Vec<Act> {
    let own = view.mounts.iter().find(|it| it.subject == name);
    // The file system fills what the disk had before, until it is grown.
    let filled = own.filter(|it| it.mount.uuid == uuid).map_or(u64::MAX, |it| it.mount.disk_size);
    let mount = Mount {
        uuid,
        device,
        filesystem: spec.filesystem,
        at: spec.plain_mount(),
        options: if spec.plain_mount().is_some() { spec.mount_options() } else { trim_alone(spec) },
        disk_size: size.min(filled),
        mirror,
    };
    let Some(own) = own else {
        return vec![Act::Mount { mount }];
    };
    if own.mount.at != mount.at || own.mount.uuid != mount.uuid {
        return vec![Act::Unmount { at: own.mount.at.clone() }, Act::Mount { mount }];
    }
    if !own.present {
        return vec![Act::Mount { mount }];
    }
    if own.mount.device != mount.device || own.mount.mirror != mount.mirror {
        // It is there, and the kernel calls its device otherwise than when it was written down. That is written down
        // first, with the options that it has, so that those asked for are still seen to differ.
        return vec![Act::Mount { mount: Mount { options: own.mount.options.clone(), ..mount } }];
    }
    if own.mount.options != mount.options {
        return vec![Act::Remount { mount }];
    }
    // What is inside of an encrypted disk fills it, unless that is a partition.
    let is_inside = mapped_name(&mount.device).is_some()
        && disk.luks.iter().any(|it| it.device == disk.device && it.opened.is_some());
    let is_whole = mount.device == disk.device || is_inside || part_of(name).is_some();
    let lacks = mount.mirror.as_ref().is_some_and(|it| it.device.is_none());
    let can_grow = mount.at.is_some() && is_whole && !lacks && !reads_only(&mount) && !disk.read_only;
    if can_grow && size > mount.disk_size {
        return vec![Act::Grow { mount: Mount { disk_size: size, ..mount } }];
    }
    let told = |last: jiff::Timestamp| view.now.duration_since(last) < TRIMMED_EVERY;
    // To tell what is free shows where on an encrypted disk something lies.
    let may_tell = spec.encryption.is_none() || spec.trim;
    if let Some(at) = mount.at.filter(|_| own.trims && may_tell && !own.trimmed.is_some_and(told)) {
        return vec![Act::Trim { at }];
    }
    scrub::due(spec, own, view.now).into_iter().collect()
}

fn reads_only(mount: &Mount) -> bool {
    mount.options.iter().any(|it| it == MountOption::ReadOnly.as_str())
}

fn trim_alone(spec: &DiskSpec) -> Vec<String> {
    spec.trim.then(|| "discard".to_owned()).into_iter().collect()
}

impl<'a> Taken<'a> {
    /// Takes a disk for a manifest. The first by name has it.
    fn disk(&mut self, name: &'a str, disk: &DiskSeen) -> Result<(), (&'static str, String)> {
        let first = *self.disks.entry(disk.seq).or_insert(name);
        if first != name {
            let message = format!("{} is the disk of the Disk manifest `{first}`; correct `select`", disk.name());
            return Err(("DiskTaken", message));
        }
        Ok(())
    }

    /// Takes a place for a manifest. The first by name has it, with all above and below.
    fn place(&mut self, name: &'a str, spec: &DiskSpec) -> Result<(), (&'static str, String)> {
        let places = spec.places(name);
        let lies_there = |it: &str| places.iter().any(|(_, at)| lies_in(it, at) || lies_in(at, it));
        if let Some((place, first)) = self.places.iter().find(|(it, _)| lies_there(it)) {
            let message = format!("`{place}` is the mount point of the Disk manifest `{first}`; give each its own");
            return Err(("MountTaken", message));
        }
        self.places.extend(places.into_iter().map(|(_, at)| (at, name)));
        Ok(())
    }
}

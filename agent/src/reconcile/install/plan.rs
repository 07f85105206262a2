//! Whether the installer is asked.

use piccolo_schema::{Declared, Desired, Install, InstallSpec, disk::Selector};

use super::step::{InstallStep, Onto};
use crate::{
    host::{DiskSeen, Ends, InstallView, Order, RunsFrom, Target, Tried},
    install::{Leave, chosen, judge},
    reconcile::{Plan, Waiting},
};

/// Plans the whole kind, which is one manifest at most.
pub(super) fn plan(desired: &Desired<Install>, observed: &InstallView) -> Plan<InstallStep> {
    let mut plan = Plan::default();
    for manifest in &desired.manifests {
        match decide(manifest, observed, desired.complete) {
            Ok(step) => plan.steps.extend(step),
            Err((reason, message)) => {
                let subject = manifest.name().to_owned();
                plan.waiting.push(Waiting { subject, reason: reason.to_owned(), message });
            }
        }
    }
    plan
}

/// Returns what a manifest asks the installer for, with these tickets.
pub(super) fn order(spec: &InstallSpec) -> Order {
    let InstallSpec { select, mirror, wipe, keep } = spec.clone();
    Order { select, wipe, mirror, keep }
}

/// Returns the disks that are meant, if each is one alone.
pub(super) fn meant<'a>(spec: &InstallSpec, observed: &'a InstallView) -> Option<Vec<&'a Target>> {
    chosen(&order(spec), &observed.targets).ok()
}

/// Returns true if the disk holds this very version of the system.
fn is_done(target: &Target, observed: &InstallView) -> bool {
    observed.version.as_deref().is_some_and(|version| target.has(version))
}

/// Returns true if what a manifest asks for is done: its disks hold this version, and what was to be erased for it is gone.
pub(super) fn is_settled(manifest: &Install, targets: &[&Target], observed: &InstallView) -> bool {
    let is_gone = |disk: &DiskSeen, name: &str| {
        let ticket = observed.tickets.iter().find(|it| it.ticket == name);
        // Where the disk was blank, or erased by other leave, it is not used up.
        ticket.is_some_and(|it| it.used.is_some() || it.identity == disk.identity && it.digest != disk.digest())
    };
    let by_us = observed.tried.as_ref().is_some_and(|it| is_of(it, targets) && it.failed.is_none());
    let order = order(&manifest.spec);
    let mut each = targets.iter().zip(order.disks());
    each.all(|(target, (_, wipe))| {
        is_done(target, observed) && (by_us || wipe.is_none_or(|name| is_gone(&target.disk, name)))
    })
}

/// Returns true if an installation was one on these very disks.
fn is_of(tried: &Tried, targets: &[&Target]) -> bool {
    std::iter::once(tried.seq).chain(tried.mirror).eq(targets.iter().map(|it| it.disk.seq))
}

/// Says why an installation is not begun anew, if it failed on these very disks as it is asked for now.
fn failed(manifest: &Install, targets: &[&Target], observed: &InstallView) -> Option<String> {
    // A ticket is worth nothing once it was used.
    let asked = |order: &Order| {
        let mirror = order.mirror.as_ref().map(|it| it.select.clone());
        (order.select.clone(), mirror, order.keep)
    };
    let same = |it: &&Tried| is_of(it, targets) && asked(&it.order) == asked(&order(&manifest.spec));
    let why = observed.tried.as_ref().filter(same)?.failed.as_ref()?;
    Some(format!(
        "{}: {why}; so that it is not written to for ever, it is begun anew once the manifest is another one, the disk was \
         plugged in anew, or by `piccolo install`",
        names(targets)
    ))
}

/// Names disks for people.
pub(super) fn names(targets: &[&Target]) -> String {
    targets.iter().map(|it| it.disk.name()).collect::<Vec<_>>().join(" and ")
}

/// Returns the step, none if there is nothing to do, or why it is waited.
fn decide(
    manifest: &Install,
    observed: &InstallView,
    complete: bool,
) -> Result<Option<InstallStep>, (&'static str, String)> {
    match observed.runs_from {
        RunsFrom::Stick => {}
        RunsFrom::Disk => return Ok(None),
        RunsFrom::Elsewhere => {
            let message = "This system does not run from a stick of Piccolo, so there is nothing to be installed; take the \
                           manifest away, or start from a stick";
            return Err(("NotOnAStick", message.to_owned()));
        }
    }
    if observed.under_way.is_some() {
        return Ok(None);
    }
    if let Some(why) = &observed.obstacle {
        return Err(("NoInstaller", format!("Nothing can be installed: {why}")));
    }
    let mut order = order(&manifest.spec);
    let targets = chosen(&order, &observed.targets).map_err(|why| (unchosen(&order, observed), sentence(&why.0)))?;
    let mut leaves = Vec::new();
    for (target, (_, wipe)) in targets.iter().zip(order.disks()) {
        match judge(target, &observed.targets, &observed.tickets, wipe, observed.now) {
            Ok(leave) => leaves.push(leave),
            // It is done, and done once.
            Err(_) if is_settled(manifest, &targets, observed) => return Ok(None),
            Err(why) => return Err((reason(target, observed, wipe.is_some()), why.0)),
        }
    }
    if let Some(why) = failed(manifest, &targets, observed) {
        return Err(("InstallFailed", why));
    }
    if !complete {
        let message = "A manifest can't be read, which may be another Install; mend it, then the system is installed";
        return Err(("ManifestsIncomplete", message.to_owned()));
    }
    // What was decided here holds for the disks as they are now: the installer looks again, and decides by the same rules.
    let asked = std::iter::once(&mut order.wipe).chain(order.mirror.as_mut().map(|it| &mut it.wipe));
    for (wipe, leave) in asked.zip(&leaves) {
        wipe.take_if(|_| !matches!(leave, Leave::Ticket(_)));
    }
    let one = |(target, leave): (&&Target, &Leave)| Onto { disk: target.disk.name(), why: why(leave) };
    let erased = targets.iter().zip(&leaves).filter(|(_, leave)| matches!(leave, Leave::Ticket(_)));
    let erased: Vec<_> = erased.map(|(it, _)| format!("{} on {}", it.disk.content(), it.disk.name())).collect();
    let erases = (!erased.is_empty()).then(|| erased.join(" and "));
    let onto = targets.iter().zip(&leaves).map(one).collect();
    Ok(Some(InstallStep { subject: manifest.name().to_owned(), onto, erases, order }))
}

/// Says why a disk may be written to.
fn why(leave: &Leave) -> String {
    match leave {
        Leave::Blank => "it is blank".to_owned(),
        Leave::Unfinished => "an installation that did not come to its end is begun anew".to_owned(),
        Leave::Ticket(ticket) => format!("by the ticket {ticket}"),
    }
}

/// Says by one word why it can't be told which disks are meant.
fn unchosen(order: &Order, observed: &InstallView) -> &'static str {
    let fitting = |select: &Selector| observed.targets.iter().filter(|it| it.disk.fits(select)).count();
    let counts: Vec<usize> = order.disks().map(|(select, _)| fitting(select)).collect();
    match () {
        () if counts.iter().all(|it| *it == 1) => "SameDisk",
        () if counts.contains(&0) => "NoSuchDisk",
        () => "AmbiguousDisk",
    }
}

/// Says by one word why a disk is not written to.
fn reason(target: &Target, observed: &InstallView, has_ticket: bool) -> &'static str {
    if target.in_use().is_some() {
        return "DiskInUse";
    }
    // Were there nothing on it, it might be fit.
    let disk = DiskSeen {
        signatures: Vec::new(),
        partitions: Vec::new(),
        marker: None,
        ends: Ends::Zero,
        ..target.disk.clone()
    };
    let blank = Target { disk, ..Target::default() };
    match judge(&blank, &observed.targets, &[], None, observed.now) {
        Err(_) => "DiskUnfit",
        Ok(_) if has_ticket => "TicketWorthless",
        Ok(_) => "DiskNotBlank",
    }
}

/// Makes a sentence of what is no more than its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

//! Whether the installer is asked.

use piccolo_schema::{Declared, Desired, Install, disk::Selector};

use super::step::InstallStep;
use crate::{
    host::{DiskSeen, Ends, InstallView, Order, RunsFrom, Target, Tried},
    install::{Leave, choose, judge},
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

/// Returns the disk that is meant, if there is one alone.
pub(super) fn meant<'a>(select: &Selector, observed: &'a InstallView) -> Option<&'a Target> {
    choose(select, &observed.targets).ok()
}

/// Returns true if the disk holds this very version of the system.
fn is_done(target: &Target, observed: &InstallView) -> bool {
    observed.version.as_deref().is_some_and(|version| target.has(version))
}

/// Returns true if what a manifest asks for is done: the disk holds this version, and what was to be erased for it is gone.
pub(super) fn is_settled(manifest: &Install, target: &Target, observed: &InstallView) -> bool {
    let disk = &target.disk;
    let is_gone = |name: &String| {
        let ticket = observed.tickets.iter().find(|it| it.ticket == *name);
        // Where the disk was blank, or erased by other leave, it is not used up.
        ticket.is_some_and(|it| it.used.is_some() || it.identity == disk.identity && it.digest != disk.digest())
    };
    let by_us = observed.tried.as_ref().is_some_and(|it| it.seq == disk.seq && it.failed.is_none());
    is_done(target, observed) && (by_us || manifest.spec.wipe.as_ref().is_none_or(is_gone))
}

/// Says why an installation is not begun anew, if it failed on this very disk as it is asked for now.
fn failed(manifest: &Install, disk: &DiskSeen, observed: &InstallView) -> Option<String> {
    let spec = &manifest.spec;
    let same = |it: &&Tried| it.seq == disk.seq && it.order.select == spec.select && it.order.keep == spec.keep;
    let why = observed.tried.as_ref().filter(same)?.failed.as_ref()?;
    Some(format!(
        "{}: {why}; so that it is not written to for ever, it is begun anew once the manifest is another one, the disk was \
         plugged in anew, or by `piccolo install`",
        disk.name()
    ))
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
    let spec = &manifest.spec;
    let target = choose(&spec.select, &observed.targets).map_err(|why| {
        let fits = observed.targets.iter().any(|it| it.disk.fits(&spec.select));
        (if fits { "AmbiguousDisk" } else { "NoSuchDisk" }, sentence(&why.0))
    })?;
    let judged = judge(target, &observed.targets, &observed.tickets, spec.wipe.as_deref(), observed.now);
    let leave = match judged {
        Ok(leave) => leave,
        // It is done, and done once.
        Err(_) if is_settled(manifest, target, observed) => return Ok(None),
        Err(why) => return Err((reason(target, observed, spec.wipe.is_some()), why.0)),
    };
    if let Some(why) = failed(manifest, &target.disk, observed) {
        return Err(("InstallFailed", why));
    }
    if !complete {
        let message = "A manifest can't be read, which may be another Install; mend it, then the system is installed";
        return Err(("ManifestsIncomplete", message.to_owned()));
    }
    let disk = &target.disk;
    let (why, erases) = match &leave {
        Leave::Blank => ("it is blank".to_owned(), None),
        Leave::Unfinished => ("an installation that did not come to its end is begun anew".to_owned(), None),
        Leave::Ticket(ticket) => {
            (format!("by the ticket {ticket}"), Some(format!("{} on {}", disk.content(), disk.name())))
        }
    };
    // What was decided here holds for the disk as it is now: the installer looks again, and decides by the same rules.
    let wipe = spec.wipe.clone().filter(|_| matches!(leave, Leave::Ticket(_)));
    let order = Order { select: spec.select.clone(), wipe, keep: spec.keep };
    Ok(Some(InstallStep { subject: manifest.name().to_owned(), disk: disk.name(), why, erases, order }))
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
    let blank = Target { disk, names: Vec::new() };
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

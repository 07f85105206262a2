//! Whether there is another image to update to, and whether it is time.

use piccolo_schema::{
    ContainerSpec,
    container::{Update, UpdatePolicy},
};

use super::{compare::same_image, machine::Machine};
use crate::host::{ContainerSeen, Previous, Record, Rollout, UpdatesSeen};

/// What the registry has for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offer<'a> {
    /// Nothing else than what runs, or nothing that is known.
    None,
    /// Another one that was made here, for which a person wants to be asked.
    MadeAnew,
    /// This digest was tried, and did not do well for this reason.
    Failed(&'a str, &'a str),
    /// This digest, which waits for this.
    Waits(&'a str, &'static str, String),
    /// This digest, now.
    Due(&'a str),
    /// What it ran before, now: a person wants that.
    Back(&'a Previous),
}

/// Returns what is written down of the image that a spec names.
pub(super) fn record<'a>(subject: &str, spec: &ContainerSpec, updates: &'a UpdatesSeen) -> Option<&'a Record> {
    updates.records.get(subject).filter(|record| same_image(&record.image, &spec.image))
}

/// Returns the digest that a container runs.
pub(super) fn digest(seen: &ContainerSeen) -> Option<&str> {
    let made_from = seen.stamp.as_ref().and_then(|stamp| stamp.rollout.as_ref());
    made_from.map(|it| it.digest.as_str()).or(seen.image_digest.as_deref())
}

/// Returns the image from which a container is made anew that was updated before: its data may have moved on with it,
/// and the tag may name an older one on this machine.
pub(super) fn pinned(subject: &str, spec: &ContainerSpec, machine: &Machine<'_>) -> Option<Rollout> {
    if machine.made(&spec.image).is_some() {
        return None;
    }
    let written = record(subject, spec, machine.updates).and_then(|record| record.current.clone());
    let stamped = || {
        let mut stamps = machine.of(subject).iter().filter_map(|seen| seen.stamp.as_ref());
        stamps.find_map(|stamp| {
            let same = same_image(&stamp.spec.as_ref()?.image, &spec.image);
            stamp.rollout.as_ref().filter(|_| same).map(|it| it.digest.clone())
        })
    };
    written.or_else(stamped).map(|digest| Rollout { digest, replaces: None, restores: None })
}

/// Returns true if a container runs an image that was made here and has since been made anew.
pub(super) fn is_made_anew(spec: &ContainerSpec, seen: &ContainerSeen, machine: &Machine<'_>) -> bool {
    machine.made(&spec.image).is_some_and(|id| !seen.image_id.is_empty() && seen.image_id != id)
}

/// Returns true if a person wants to be asked before the container runs another image.
pub(super) fn asks(spec: &ContainerSpec) -> bool {
    spec.update.as_ref().is_some_and(|update| update.policy == UpdatePolicy::Manual)
}

/// Returns true if a container that does not follow its tag runs another digest than it is to have. One that follows
/// goes there by an update.
pub(super) fn is_another(subject: &str, spec: &ContainerSpec, seen: &ContainerSeen, machine: &Machine<'_>) -> bool {
    let wanted = record(subject, spec, machine.updates).and_then(|record| record.current.as_deref());
    spec.update.is_none()
        && machine.made(&spec.image).is_none()
        && wanted.is_some_and(|wanted| digest(seen) != Some(wanted))
}

/// Says what there is for a container that is as its manifest asks.
pub(super) fn offer<'a>(subject: &str, spec: &ContainerSpec, runs: &ContainerSeen, machine: &Machine<'a>) -> Offer<'a> {
    let Some(update) = &spec.update else { return Offer::None };
    if machine.made(&spec.image).is_some() {
        // No tag of a registry is followed. Who does not want to be asked has the new one already.
        return if is_made_anew(spec, runs, machine) { Offer::MadeAnew } else { Offer::None };
    }
    let Some(record) = record(subject, spec, machine.updates) else { return Offer::None };
    if let Some(previous) =
        record.previous.as_ref().filter(|it| record.back && Some(it.digest.as_str()) != digest(runs))
    {
        return shared(subject, spec, &previous.digest, machine).unwrap_or(Offer::Back(previous));
    }
    let Some(offered) = record.offered.as_deref().filter(|offered| Some(*offered) != digest(runs)) else {
        return Offer::None;
    };
    if let Some(why) = record.failed.get(offered) {
        return Offer::Failed(offered, why);
    }
    if record.approved.as_deref() != Some(offered)
        && let Some((reason, message)) = early(subject, update, record, offered, machine.updates)
    {
        return Offer::Waits(offered, reason, message);
    }
    shared(subject, spec, offered, machine).unwrap_or(Offer::Due(offered))
}

/// Says if somebody else is on a volume, whose data could then not be brought back.
pub(super) fn shared<'a>(
    subject: &str,
    spec: &ContainerSpec,
    digest: &'a str,
    machine: &Machine<'_>,
) -> Option<Offer<'a>> {
    let shared = |volume| Some((volume, machine.other_on(volume, subject)?));
    let (volume, other) = snapshots_of(spec, machine).find_map(shared)?;
    let message = format!(
        "`{}` runs on the volume `{volume}` too, so its data could not be brought back; stop it for the update",
        other.name
    );
    Some(Offer::Waits(digest, "VolumeShared", message))
}

/// Returns the volumes of which an update takes a snapshot.
pub(super) fn snapshots_of<'s>(spec: &'s ContainerSpec, machine: &Machine<'_>) -> impl Iterator<Item = &'s str> {
    let kept = &machine.updates.kept_volumes;
    let writable = spec.mounts.iter().filter(|mount| !mount.read_only);
    let mut volumes: Vec<&str> =
        writable.filter_map(|mount| mount.volume.as_deref()).filter(|name| kept.contains(*name)).collect();
    volumes.sort_unstable();
    volumes.dedup();
    volumes.into_iter()
}

/// Says what an update that nobody has approved waits for.
fn early(
    subject: &str,
    update: &Update,
    record: &Record,
    offered: &str,
    updates: &UpdatesSeen,
) -> Option<(&'static str, String)> {
    if update.policy == UpdatePolicy::Manual {
        return Some(("NeedsApproval", format!("`piccolo update container/{subject}` makes the update")));
    }
    let (Some(now), Some(local)) = (updates.now, updates.local) else {
        return Some(("ClockUnknown", "It is not known what time it is".to_owned()));
    };
    let age = record.first_seen.get(offered).map_or(0, |seen| now.duration_since(*seen).as_secs());
    if let Some(least) = update.minimum_age
        && age < least.get().as_secs().cast_signed()
    {
        return Some(("TooYoung", format!("It has to be known for {least} before the update")));
    }
    let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
    let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
    let window = update.window.as_deref().unwrap_or_default();
    (!update.is_open(day, minute)).then(|| ("OutsideWindow", format!("The update is made in the window {window}")))
}

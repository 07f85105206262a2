//! When a disk is scrubbed, and what is said of what was found.

use jiff::{SignedDuration, Timestamp};
use piccolo_schema::{DiskSpec, disk::ScrubStatus};

use super::step::Act;
use crate::{
    host::{MountSeen, ScrubSeen},
    reconcile::Note,
};

/// Returns the step that begins a scrub, where one is due and none is under way.
pub(super) fn due(spec: &DiskSpec, own: &MountSeen, now: Timestamp) -> Option<Act> {
    let (every, at, scrub) = (spec.scrubbed_every()?, own.mount.at.clone()?, own.scrub.as_ref()?);
    if scrub.runs {
        return None;
    }
    let is_over = now.duration_since(scrub.begun) >= SignedDuration::from_hours(24 * every);
    (is_over || scrub.broken_off).then_some(Act::Scrub { at, resumes: scrub.broken_off })
}

/// Says what the last scrub found, if that is anything.
pub(super) fn found(own: &MountSeen) -> Option<Note> {
    let ScrubSeen { mended, lost, .. } = own.scrub.as_ref()?;
    let at = own.mount.at.as_deref().unwrap_or_default();
    let (reason, message) = match (mended, lost) {
        (0, 0) => return None,
        (_, 0) => {
            let message = format!(
                "The last scrub of {at} found {mended} errors and mended all of them; look at the cable, and have another \
                 disk at hand"
            );
            ("Mended", message)
        }
        (_, lost) => {
            let message = format!(
                "The last scrub of {at} found {lost} errors that it could not mend; the log of the kernel names the files: \
                 bring them back from a copy"
            );
            ("Unmended", message)
        }
    };
    Some(Note { name: "DiskDamaged", reason, message })
}

/// Returns what the status tells of the last scrub that has come to its end.
pub(super) fn status(own: &MountSeen) -> Option<ScrubStatus> {
    let scrub = own.scrub.as_ref().filter(|it| it.ended)?;
    Some(ScrubStatus { begun: scrub.begun.to_string(), mended: scrub.mended, lost: scrub.lost })
}

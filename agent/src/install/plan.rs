//! Whether a disk may be written to, and in which steps it becomes the system.

use std::fmt;

use jiff::Timestamp;

use super::Refusal;
use crate::host::{DiskSeen, Standing, Target, Ticket, human};

/// The size that a disk has at least: the start, two slots, and a state that has room for images of containers.
pub const LEAST: u64 = 3 << 30;

/// Why a disk may be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// There is nothing on it.
    Blank,
    /// There is what an installation left that did not come to its end.
    Unfinished,
    /// Its owner gave leave to erase it, by this ticket.
    Ticket(String),
}

/// One step. Each can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Uses the ticket for one of the disks up.
    UseUp(usize, String),
    /// Leaves our mark on one of the disks.
    Mark(usize),
    /// Writes partitions, start, system and an empty state.
    Write,
    /// Compares what was written with what it came from.
    ReadBack,
    /// Copies who this machine is.
    Keep,
    /// Makes the recovery key.
    Recovery,
    /// Makes one of the disks count.
    Finish(usize),
    /// Writes partitions, start and system, with room for one half of the state.
    WriteHalf,
    /// Has the state lie on the disk too.
    TakeIn,
}

/// Says whether a disk, one of all these, may be written to, and why.
///
/// # Errors
/// When it may not.
pub fn judge(
    target: &Target,
    all: &[Target],
    tickets: &[Ticket],
    wipe: Option<&str>,
    now: Timestamp,
) -> Result<Leave, Refusal> {
    let disk = &target.disk;
    let refuse = |why: String| Err(Refusal(format!("{}: {why}", disk.name())));
    if let Some(why) = target.in_use() {
        return refuse(format!("{why}, and a disk in use is never written to"));
    }
    let serial = &disk.identity.serial;
    let is_twin = |it: &DiskSeen| it.seq != disk.seq && !serial.is_empty() && it.identity.serial == *serial;
    if let Some(twin) = all.iter().map(|it| &it.disk).find(|it| is_twin(it)) {
        return refuse(format!(
            "{} says the same serial number; unplug one, or see whether it hangs on two cables",
            twin.name()
        ));
    }
    if disk.read_only {
        return refuse("it can only be read".to_owned());
    }
    if let Some(why) = disk.trouble.as_ref().or(disk.failing.as_ref()) {
        return refuse(why.clone());
    }
    if disk.identity.size < LEAST {
        return refuse(format!("it is too small; the system and its state take {} at least", human(LEAST)));
    }
    if target.is_unfinished() {
        return Ok(Leave::Unfinished);
    }
    if disk.is_blank() {
        return Ok(Leave::Blank);
    }
    let found = disk.content();
    let Some(name) = wipe else {
        return refuse(format!("it is not blank: there is {found} on it, which is kept without leave to erase it"));
    };
    match tickets.iter().find(|it| it.ticket == name).map(|it| it.standing(disk, now)) {
        Some(Standing::Valid) => Ok(Leave::Ticket(name.to_owned())),
        Some(standing) => refuse(format!("there is {found} on it, and the ticket `{name}` {}", standing.words())),
        None => refuse(format!("there is {found} on it, and no ticket is called `{name}`")),
    }
}

/// Returns the steps by which a disk becomes the system, or two that hold the same. Nothing is written to the one before both
/// may be written to, and neither counts before all that is on both was read back.
pub fn plan(leaves: &[Leave]) -> Vec<Step> {
    let tickets = leaves.iter().enumerate().filter_map(|(at, leave)| match leave {
        Leave::Ticket(name) => Some(Step::UseUp(at, name.clone())),
        Leave::Blank | Leave::Unfinished => None,
    });
    let marks = (0..leaves.len()).map(Step::Mark);
    let rest = [Step::Write, Step::ReadBack, Step::Keep, Step::Recovery];
    tickets.chain(marks).chain(rest).chain([Step::Finish(leaves.len())]).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UseUp(0, _) => "using the ticket up",
            Self::UseUp(..) => "using the ticket for the second disk up",
            Self::Mark(0) => "marking the disk",
            Self::Mark(_) => "marking the second disk",
            Self::Write | Self::WriteHalf => "writing the system",
            Self::ReadBack => "reading it back",
            Self::Keep => "copying who this machine is, and its manifests",
            Self::Recovery => "making the recovery key",
            Self::Finish(1) => "making the disk count",
            Self::Finish(_) => "making both disks count",
            Self::TakeIn => "taking the disk in",
        })
    }
}

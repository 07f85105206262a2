//! Why the registers are not as they were, in words.

use serde::Serialize;

use super::{Change, Kept, Part, RUNTIME, Story, Values, change, kept::registers};
use crate::host::{Measured, Pcrs, Versions};

/// What became of the last good start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything was measured as before.
    NothingChanged,
    /// Something was not, and the log says what.
    Changed,
    /// Registers hold something else, and no log ever told of them.
    Untold,
    /// The log of this start is not what was measured.
    LogUntrue,
    /// There is nothing to compare with yet.
    NothingKept,
    /// There is no log of this start.
    NoLog,
}

/// Why the registers are not as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The short answer.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub message: String,
    /// When the start was that it is compared with.
    pub since: Option<String>,
    /// The registers that the machine's keys are bound to.
    pub bound: Pcrs,
    /// What changed.
    pub causes: Vec<Cause>,
    /// Registers that changed without a log that says by what.
    pub untold: Pcrs,
    /// Registers that hold something else than the log of this start comes to.
    pub untrue: Pcrs,
}

/// A part that changed, and what that means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
    /// Whether keys are bound to its register.
    pub shuts: bool,
    /// What explains it, if anything is known that does.
    pub explained: Option<String>,
}

impl Why {
    /// Compares this start with the last good one.
    pub fn find(kept: Option<&Kept>, now: &Measured, bound: Pcrs) -> Self {
        let story = match Story::read(&now.firmware_log, &now.system_log) {
            Ok(story) => story,
            Err(error) => return Self::nothing(Verdict::NoLog, error.to_string(), bound),
        };
        let held = registers(now);
        let untrue = story.untrue(&held);
        let then = kept.and_then(|it| {
            let story = Story::read(&it.measured.firmware_log, &it.measured.system_log).ok()?;
            Some((it, story))
        });
        let Some((kept, before)) = then else {
            let message = "no log of a good start is kept yet: this machine keeps one when its keys open, or when you \
                           seal them";
            return Self { untrue, ..Self::nothing(Verdict::NothingKept, message.to_owned(), bound) };
        };
        let were = registers(&kept.measured);
        let never = before.untrue(&were);
        let untold = untold(&were, &held, [untrue, never]);
        let versions = (&kept.measured.versions, &now.versions);
        let changes = change::between(&before, &story).into_iter();
        let changes = changes.filter(|it| !untrue.has(it.pcr) && !never.has(it.pcr));
        let causes: Vec<Cause> = changes.map(|it| Cause::of(it, bound, versions)).collect();
        let is_false = untrue.iter().any(|pcr| !never.has(pcr));
        let verdict = match () {
            () if is_false => Verdict::LogUntrue,
            () if !causes.is_empty() => Verdict::Changed,
            () if !untold.is_empty() => Verdict::Untold,
            () => Verdict::NothingChanged,
        };
        let message = message(verdict, kept, &causes, [untold, untrue]);
        Self { verdict, message, since: Some(kept.at.clone()), bound, causes, untold, untrue }
    }

    /// Says what is different of that which keys are bound to; none if nothing of that is.
    pub fn shuts(&self) -> Option<String> {
        let is_bound = |pcrs: Pcrs| pcrs.iter().any(|it| self.bound.has(it));
        let causes: Vec<Cause> = self.causes.iter().filter(|it| it.shuts).cloned().collect();
        match (&self.since, self.verdict) {
            (_, Verdict::LogUntrue) => Some(self.message.clone()),
            (Some(since), _) if !causes.is_empty() => Some(changed(since, &causes)),
            (_, Verdict::Untold | Verdict::Changed) if is_bound(self.untold) => Some(format!(
                "registers {} hold something else than before, and no log says what was measured there",
                self.untold
            )),
            _ => None,
        }
    }

    /// Says that there is nothing to say, and why.
    pub fn nothing(verdict: Verdict, message: String, bound: Pcrs) -> Self {
        let none = Pcrs::NONE;
        Self { verdict, message, since: None, bound, causes: Vec::new(), untold: none, untrue: none }
    }
}

impl Cause {
    fn of(change: Change, bound: Pcrs, versions: (&Versions, &Versions)) -> Self {
        let (explained, shuts) = (explained(change.part, versions), bound.has(change.pcr));
        Self { change, shuts, explained }
    }
}

/// Returns the registers that differ where one of the logs does not say what they hold.
fn untold(were: &Values, held: &Values, untrue: [Pcrs; 2]) -> Pcrs {
    let differ = Pcrs::OF_A_START.iter().filter(|pcr| *pcr != RUNTIME).filter(|pcr| {
        let both = were.get(pcr).zip(held.get(pcr));
        both.is_some_and(|(before, after)| before != after) && untrue.iter().any(|it| it.has(*pcr))
    });
    Pcrs::of(differ.map(u64::from)).unwrap_or_default()
}

/// Says what is known to have changed on purpose that comes with such a change.
fn explained(part: Part, (before, after): (&Versions, &Versions)) -> Option<String> {
    let moved = |what: &str, from: &str, to: &str| {
        let is_known = !from.is_empty() && !to.is_empty() && from != to;
        is_known.then(|| format!("{what} was {from} and is {to}"))
    };
    let system = || moved("the system", &before.system, &after.system);
    let kernel = || moved("the kernel", &before.kernel, &after.kernel);
    match part {
        Part::Firmware | Part::FirmwareSettings | Part::Cards => {
            moved("the firmware", &before.firmware, &after.firmware)
        }
        Part::Kernel | Part::Initrd => system().or_else(kernel),
        Part::CommandLine | Part::Release | Part::ImageRest | Part::BootLoader | Part::BootLoaderSettings => system(),
        _ => None,
    }
}

fn message(verdict: Verdict, kept: &Kept, causes: &[Cause], [untold, untrue]: [Pcrs; 2]) -> String {
    let since = &kept.at;
    match verdict {
        Verdict::LogUntrue => format!(
            "the log does not add up to what the TPM holds (registers {untrue}): something was measured that is not written \
             down, or the log was changed; do not believe what it says of this start"
        ),
        Verdict::Untold => {
            format!("registers {untold} hold something else than on {since}, and no log says what was measured there")
        }
        Verdict::Changed => changed(since, causes),
        _ => format!("nothing changed since {since}: all that was measured is the same"),
    }
}

fn changed(since: &str, causes: &[Cause]) -> String {
    let listed = |wanted: bool| {
        let mut parts: Vec<String> = Vec::new();
        for cause in causes.iter().filter(|it| it.explained.is_some() == wanted) {
            let part = cause.change.part.to_string();
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts.join(", ")
    };
    let (known, unknown) = (listed(true), listed(false));
    let mut reasons: Vec<&str> = causes.iter().filter_map(|it| it.explained.as_deref()).collect();
    reasons.dedup();
    let explained = format!("explained, as {}: {known}", reasons.join(", and "));
    match (known.is_empty(), unknown.is_empty()) {
        (true, _) => format!("changed since {since}, and nothing that is known here explains it: {unknown}"),
        (false, true) => format!("changed since {since}, and {explained}"),
        (false, false) => {
            format!("changed since {since}; not explained by anything known here: {unknown}; {explained}")
        }
    }
}

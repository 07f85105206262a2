//! Two disks that hold the same: when they are made, used together or one alone, and when one is filled anew.
//!
//! # Which half is the right one
//!
//! A half that was away while the other one was written to is out of date; one that was written to elsewhere meanwhile is
//! another truth. So it is remembered which half is used alone, and from which generation on. What comes back with a later
//! generation was written to without us, and neither is taken for the other: a person has to give one away by a ticket.

mod locked;
mod side;

use std::cmp::Ordering;

use piccolo_schema::DiskSpec;

use self::side::{Side, Used, half_order, of_the_mirror, seqs, ways, written_apart};

use super::{
    choose::choose,
    guard::{Case, Verdict, guard},
    plan::{Found, incomplete, make, put_in_place},
    step::Act,
};
use crate::host::{Alone, DiskSeen, DisksView, Half, HalfOrder, Mirrored, MountSeen, PairSeen, RebuildOrder};

pub(super) type Refusal = (&'static str, String);
type Acts = Result<Vec<Act>, Refusal>;

/// A manifest that asks for two disks, and what is seen of them.
pub(super) struct Pair<'a> {
    name: &'a str,
    spec: &'a DiskSpec,
    view: &'a DisksView,
    sides: [Side<'a>; 2],
}

impl<'a> Pair<'a> {
    /// Finds the two disks of a manifest; none if it asks for one alone.
    pub(super) fn find(name: &'a str, spec: &'a DiskSpec, view: &'a DisksView) -> Option<Self> {
        let second = spec.second()?;
        let disks = [choose(name, spec, view), choose(name, &second, view).map_err(of_the_mirror)];
        let seq = |disk: &Result<&DiskSeen, Refusal>| disk.as_ref().ok().map(|it| it.seq);
        let seqs = [seq(&disks[0]), seq(&disks[1])];
        let selects = [&spec.select, &spec.mirror.as_ref()?.select];
        let [one, other] = disks;
        let side = |disk: Result<&'a DiskSeen, Refusal>, spec: &DiskSpec, number: usize| {
            let judged = |disk| guard(Case { name, spec, disk, view, pair: Some((seqs[1 - number], number == 1)) });
            let verdict = disk.clone().map(judged);
            Side { select: selects[number], disk, verdict, lock: None }.unlocked(name, spec, view)
        };
        Some(Self { name, spec, view, sides: [side(one, spec, 0), side(other, &second, 1)] })
    }

    /// Returns the disks that are there.
    pub(super) fn disks(&self) -> impl Iterator<Item = &'a DiskSeen> {
        self.sides.iter().filter_map(|it| it.disk.as_ref().ok().copied())
    }

    /// Returns the second disk, if it is there.
    pub(super) fn second(&self) -> Option<&'a DiskSeen> {
        self.sides[1].disk.as_ref().ok().copied()
    }

    /// Returns why tickets of the manifest mean nothing, if so.
    pub(super) fn spent(&self) -> impl Iterator<Item = &str> {
        self.sides.iter().filter_map(|side| match &side.verdict {
            Ok(Verdict::Use { spent, .. }) => spent.as_deref(),
            _ => None,
        })
    }

    /// Plans for both.
    pub(super) fn plan(&self, complete: bool) -> Acts {
        if let Some(acts) = self.is_alone_now() {
            return Ok(acts);
        }
        if let [Ok(one), Ok(other)] = self.sides.each_ref().map(|it| it.disk.as_ref())
            && one.seq == other.seq
        {
            let message = format!("`select` and `mirror.select` both choose {}; correct one of them", one.name());
            return Err(("AmbiguousDisk", message));
        }
        let first = self.comes_first();
        if !first.is_empty() {
            return Ok(first);
        }
        let acts = match (self.sides[0].used()?, self.sides[1].used()?) {
            (Some(one), Some(other)) => self.both(one, other),
            (Some(one), None) => self.one(one, 1, complete),
            (None, Some(one)) => self.one(one, 0, complete),
            (None, None) if self.spec.encryption.is_some() => return self.make_locked(complete),
            (None, None) => return self.neither(complete),
        }?;
        if acts.is_empty() { self.keys() } else { Ok(acts) }
    }

    /// Plans for a mounted pair of which a half was lost just now, whether the manifest means the other one or not: that is
    /// written down before anything else.
    fn is_alone_now(&self) -> Option<Vec<Act>> {
        let own = self.view.mounts.iter().find(|it| it.present && it.subject == self.name)?;
        let pair = own.pair.as_ref().filter(|it| it.lacks.is_some() && it.rebuilt.is_none())?;
        let disk = self.view.disks.iter().find(|it| pair.devices.contains(&it.device))?;
        let one = Used::of(disk, &own.mount.uuid)?;
        if self.alone().is_some_and(|it| it.half == one.half.uuid) {
            return None;
        }
        Some(self.settle(one, None, Some(one.alone(pair.generation)))).filter(|acts| !acts.is_empty())
    }

    /// Plans for two disks of which none is a half yet.
    fn neither(&self, complete: bool) -> Acts {
        let [one, other] = &self.sides;
        let (disk, verdict) = one.is_there()?;
        let (second, its_verdict) = other.is_there()?;
        let (Verdict::Make { ticket, resumes }, Verdict::Make { .. }) = (verdict, its_verdict) else {
            return Ok(Vec::new());
        };
        if !complete {
            return Err(incomplete());
        }
        let mut act = make(self.name, self.spec, disk, ticket.clone(), resumes.clone());
        if let Act::Make { order, what, content } = &mut act {
            order.second = half_order(second, its_verdict).map(Box::new);
            *what = format!("{what} and {}", second.name());
            *content = format!("{content} and {}", second.content());
        }
        Ok(vec![act])
    }

    /// Plans for two disks that each are a half.
    fn both(&self, one: Used<'_>, other: Used<'_>) -> Acts {
        if one.uuid != other.uuid {
            let message = format!(
                "{} and {} each hold a file system of their own; give one away: {}",
                one.disk.name(),
                other.disk.name(),
                ways(&[one, other])
            );
            return Err(("HalvesApart", message));
        }
        if one.half.number == other.half.number {
            let message = format!(
                "{} took the place of {}, or the other way round, and the half beside them is missing; plug that in and name it, \
                 or give one of these away: {}",
                one.disk.name(),
                other.disk.name(),
                ways(&[one, other])
            );
            return Err(("SameHalf", message));
        }
        match self.own(one.uuid).filter(|it| it.present) {
            Some(own) => self.both_used(own, one, other),
            None => self.both_at_rest(one, other),
        }
    }

    /// Plans for two halves of which what is on them is used, by both or by one alone.
    fn both_used(&self, own: &MountSeen, one: Used<'_>, other: Used<'_>) -> Acts {
        let Some(pair) = &own.pair else { return Ok(self.settle(one, Some(other), None)) };
        if pair.rebuilt.is_some() {
            return Ok(Vec::new());
        }
        let joined = usize::from(one.is_in(pair)) + usize::from(other.is_in(pair));
        if joined == 0 || (pair.lacks.is_none() && joined < 2) {
            return Err(self.mounted_elsewhere(pair));
        }
        let apart = [(one, other), (other, one)].into_iter().find(|(has, lost)| has.is_in(pair) && !lost.is_in(pair));
        let Some((has, lost)) = apart.filter(|_| pair.lacks.is_some()) else {
            let at = own.mount.at.clone().filter(|_| pair.uneven && !pair.moves && pair.lacks.is_none());
            let settled = self.settle(one, Some(other), None);
            return Ok(if settled.is_empty() { at.map(|at| Act::Even { at }).into_iter().collect() } else { settled });
        };
        match (self.alone(), pair.lacks) {
            // First it is written down from when on it is alone.
            (None, _) | (_, None) => Ok(self.settle(has, None, Some(has.alone(pair.generation)))),
            (Some(alone), Some(number)) if lost.half.generation <= alone.from => {
                Ok(vec![self.rebuild(own, number, lost.anew(), lost.disk, Some(lost.half.clone()))])
            }
            _ => Err(written_apart(has, lost)),
        }
    }

    /// Plans for two halves that nobody uses yet.
    fn both_at_rest(&self, one: Used<'_>, other: Used<'_>) -> Acts {
        let alone = self.alone();
        if one.half.number == 0 || other.half.number == 0 {
            // The machine went down while one of them was being filled; that goes on by itself.
            let (device, floor) = (Some(other.device.to_owned()), self.floor(one.uuid));
            let seqs = seqs(one, Some(other));
            let mirror = Mirrored { device, seqs, alone: alone.cloned(), floor, degraded: true };
            return Ok(self.put(one, one.disk.identity.size.min(other.disk.identity.size), mirror));
        }
        let (older, newer) = match one.half.generation.cmp(&other.half.generation) {
            Ordering::Less => (one, other),
            _ => (other, one),
        };
        if self.is_older(newer) {
            return Err(self.outdated(newer));
        }
        let is_one_step = newer.half.generation - older.half.generation <= 1;
        match alone {
            // One step apart is what a power cut leaves.
            None if is_one_step => Ok(self.settle(one, Some(other), None)),
            // Nothing was written since it is alone, nor before that was heard of.
            Some(alone) if newer.half.generation <= alone.from && is_one_step => {
                Ok(self.settle(one, Some(other), None))
            }
            Some(alone) if alone.half == newer.half.uuid && older.half.generation <= alone.from => {
                Ok(self.settle(newer, None, Some(alone.clone())))
            }
            _ => Err(written_apart(newer, older)),
        }
    }

    /// Plans for one half whose other one is missing, or is to be filled.
    fn one(&self, one: Used<'_>, which: usize, complete: bool) -> Acts {
        let other = &self.sides[which];
        let new = other.fillable();
        let alone = self.alone().cloned();
        if let Some(own) = self.own(one.uuid).filter(|it| it.present) {
            let pair = own.pair.clone().unwrap_or_default();
            if pair.rebuilt.is_some() {
                return Ok(Vec::new());
            }
            if !one.is_in(&pair) {
                return Err(self.mounted_elsewhere(&pair));
            }
            let known = alone.is_some() || pair.lacks.is_none();
            return match new {
                Some(_) if !complete => Err(incomplete()),
                // A new disk takes the place of the other half, whether that is gone or is asked for no longer.
                Some((disk, verdict, onto)) if known => {
                    if let Some(act) = self.lock_first(disk, verdict, which)? {
                        return Ok(vec![act]);
                    }
                    let onto = onto.unwrap_or_default();
                    let lost = pair.lacks.unwrap_or_else(|| 3_u64.saturating_sub(one.half.number));
                    Ok(vec![self.rebuild(own, lost, onto, disk, None)])
                }
                // What can't be told of the other half now is no reason to write down that this one is without it.
                _ if pair.lacks.is_none() => {
                    let other = self.stranger(one, &pair);
                    Ok(other.map(|it| self.settle(one, Some(it), None)).unwrap_or_default())
                }
                _ => Ok(self.settle(one, None, Some(alone.unwrap_or_else(|| one.alone(pair.generation))))),
            };
        }
        let is_another = alone.as_ref().is_some_and(|it| it.half != one.half.uuid);
        if is_another || self.is_older(one) {
            return Err(self.outdated(one));
        }
        let asked = self.spec.mirror.as_ref().is_some_and(|it| it.degraded);
        let is_known = self.own(one.uuid).is_some() || self.spec.adopt.is_some();
        if new.is_some() || (asked && is_known) {
            let alone = alone.unwrap_or_else(|| one.alone(one.half.generation));
            return Ok(self.settle(one, None, Some(alone)));
        }
        if let Ok(Verdict::Leave(reason @ ("DiskLocked" | "DiskUnreadable" | "WrongFilesystem"), message)) =
            &other.verdict
        {
            let help = if asked { "" } else { "; `degraded = true` in `mirror` uses the other half alone meanwhile" };
            return Err((reason, format!("{message}{help}")));
        }
        let help = if asked {
            "whether this half is the newer one is not known here; if it is, write `adopt` with the UUID that `piccolo disk \
             list` shows"
        } else {
            "to use one half alone meanwhile, write `degraded = true` into `mirror`"
        };
        Err(("HalfMissing", format!("{}; plug it in, or name a new disk; {help}", other.missing())))
    }

    /// Says that none of the disks that are asked for is a part of what is mounted.
    fn mounted_elsewhere(&self, pair: &PairSeen) -> Refusal {
        let live = self.view.disks.iter().filter(|it| pair.devices.contains(&it.device)).map(DiskSeen::name);
        let live = live.collect::<Vec<_>>().join(" and ");
        let message = format!(
            "What is mounted is on {live}, and a half that is asked for is out of date; name {live} in `select` or `mirror`"
        );
        ("OtherHalves", message)
    }

    /// Returns the other half of what is mounted, where the manifest means another disk.
    fn stranger<'b>(&'b self, one: Used<'b>, pair: &PairSeen) -> Option<Used<'b>> {
        let is_it = |it: &&DiskSeen| it.seq != one.disk.seq && pair.devices.contains(&it.device);
        let disk = self.view.disks.iter().find(is_it)?;
        Used::of(disk, one.uuid)
    }

    /// Says what is wrong with a mounted pair, if anything is.
    pub(super) fn trouble(&self) -> Option<(&'static str, String)> {
        let own = self.view.mounts.iter().find(|it| it.present && it.subject == self.name)?;
        let pair = own.pair.as_ref()?;
        if let Some(percent) = pair.rebuilt {
            let message = format!("{percent} % of the new half is filled; until it is whole, everything is kept once");
            return Some(("Rebuilding", message));
        }
        let joined = |side: &&Side<'_>| side.disk.as_ref().is_ok_and(|it| pair.devices.contains(&it.device));
        let away = self.sides.iter().find(|side| !joined(side));
        if pair.lacks.is_some() {
            let what = away.map_or_else(|| "A half is missing".to_owned(), Side::missing);
            return Some(("HalfMissing", format!("{what}; until it or a new disk is there, everything is kept once")));
        }
        if let Some(away) = away {
            let message = format!("{}; the disk that was the other half still is", away.missing());
            return Some(("OtherHalf", message));
        }
        pair.uneven.then(|| {
            let message = "What was written while a half was missing is still kept once; it is being copied".to_owned();
            ("Uneven", message)
        })
    }

    /// Plans for what is to be mounted, or is, with the other disk or alone.
    fn settle(&self, one: Used<'_>, other: Option<Used<'_>>, alone: Option<Alone>) -> Vec<Act> {
        let sizes = [Some(one), other].into_iter().flatten().map(|it| it.disk.identity.size);
        let own = self.own(one.uuid);
        let known = own.filter(|it| it.present).and_then(|it| it.mount.mirror.as_ref());
        // Once written down it stays, for as long as nothing happens to either.
        let floor = match known {
            Some(known) if known.device.is_some() == other.is_some() || other.is_none() => known.floor,
            _ => own.and_then(|it| it.pair.as_ref()).map_or(one.newest(other), |it| it.generation),
        };
        let floor = if other.is_none() { floor.max(self.floor(one.uuid)) } else { floor };
        let (device, seqs) = (other.map(|it| it.device.to_owned()), seqs(one, other));
        self.put(one, sizes.min().unwrap_or_default(), Mirrored { device, seqs, alone, floor, degraded: false })
    }

    fn put(&self, one: Used<'_>, size: u64, mirror: Mirrored) -> Vec<Act> {
        let found = Found { uuid: one.uuid.to_owned(), device: one.device.to_owned(), size, mirror: Some(mirror) };
        put_in_place(self.name, self.spec, one.disk, found, self.view)
    }

    fn rebuild(&self, own: &MountSeen, lost: u64, onto: HalfOrder, disk: &DiskSeen, stale: Option<Half>) -> Act {
        let (uuid, at) = (own.mount.uuid.clone(), own.mount.at.clone().unwrap_or_default());
        let is_new = onto.open.is_some() && stale.is_none();
        let content = if is_new { "nothing yet".to_owned() } else { disk.content() };
        let order = RebuildOrder { uuid, at, lost, stale, onto };
        Act::Rebuild { order: Box::new(order), what: disk.name(), content }
    }

    /// Returns what is remembered of this file system by this manifest.
    fn own(&self, uuid: &str) -> Option<&'a MountSeen> {
        self.view.mounts.iter().find(|it| it.subject == self.name && it.mount.uuid == uuid)
    }

    /// Returns the generation below which a half is out of date.
    fn floor(&self, uuid: &str) -> u64 {
        self.own(uuid).and_then(|it| it.mount.mirror.as_ref()).map_or(0, |it| it.floor)
    }

    /// Returns true if a half is from before what is known of the right one. Its UUID does not tell: a disk that is filled
    /// in its place has the same.
    fn is_older(&self, one: Used<'_>) -> bool {
        // The kernel tells a generation that it may not have written yet.
        let from = self.alone().map_or(0, |it| it.from.saturating_sub(1));
        one.half.generation < self.floor(one.uuid).max(from)
    }

    fn outdated(&self, one: Used<'_>) -> Refusal {
        let message = format!(
            "{} was away while another half was written to, so it is not used alone; plug that in, or give this one away: {}",
            one.disk.name(),
            ways(&[one])
        );
        ("HalfOutdated", message)
    }

    fn alone(&self) -> Option<&'a Alone> {
        let own = self.view.mounts.iter().find(|it| it.subject == self.name)?;
        own.mount.mirror.as_ref()?.alone.as_ref()
    }
}

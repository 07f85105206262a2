//! Two disks of which each is encrypted for itself: what is behind each lock, and what comes before it is known.
//!
//! Each is made alone, as any other encrypted disk is; what is inside says that it is a half that is still to be filled. Once
//! both are open, the file system is made on both at once. A new disk in the place of a lost half goes the same way.

use piccolo_schema::{DiskSpec, disk::Filesystem};

use super::{Acts, Pair, Refusal, Side, incomplete, make};
use crate::{
    host::{
        DiskSeen, DisksView, HALF_MADE, HalfKey, JoinOrder, KeyAct, KeyOrder, LuksSeen, OpenHalf, Opened, Unlocked,
        disk_label, parted::manifest_of,
    },
    reconcile::disk::{
        guard::Verdict,
        keys::{Door, by_the_chip, door, keys, unreadable, what_is_inside},
        plan::half_of,
        step::Act,
    },
};

/// What is behind the encryption of a half.
pub(super) enum Lock<'a> {
    /// This opens it.
    Shut(Box<Act>),
    /// Nothing yet: it is to be filled.
    Empty(OpenHalf),
    /// A file system by its UUID.
    Holds(&'a str, &'a Opened),
}

impl<'a> Side<'a> {
    /// Looks behind the encryption, where there is some. A half that nothing opens, or that holds something else, is taken for
    /// one that is missing.
    pub(super) fn unlocked(mut self, name: &str, spec: &DiskSpec, view: &DisksView) -> Self {
        if spec.encryption.is_none() {
            return self;
        }
        let (Ok(disk), Ok(Verdict::Use { uuid, .. })) = (&self.disk, &self.verdict) else { return self };
        match door(name, spec, (disk, uuid), Some(disk.half_key(name)), view) {
            Err((reason, message)) => self.verdict = Ok(Verdict::Leave(reason, message)),
            Ok(Door::Shut(act)) => self.lock = Some(Lock::Shut(act)),
            Ok(Door::Open(luks, opened)) => match behind(name, spec, (disk, luks), opened) {
                Err((reason, message)) => self.verdict = Ok(Verdict::Leave(reason, message)),
                Ok(lock) => self.lock = Some(lock),
            },
        }
        self
    }

    /// Returns the encrypted half that is open, if it is.
    fn luks(&self) -> Option<(&'a DiskSeen, &'a LuksSeen)> {
        let (Ok(disk), Ok(Verdict::Use { uuid, .. })) = (&self.disk, &self.verdict) else { return None };
        Some((disk, disk.luks(uuid).filter(|it| it.opened.is_some())?))
    }
}

fn behind<'a>(
    name: &str,
    spec: &DiskSpec,
    (disk, luks): (&'a DiskSeen, &'a LuksSeen),
    opened: &'a Opened,
) -> Result<Lock<'a>, Refusal> {
    if let Some(why) = &opened.trouble {
        return Err(unreadable(disk, why));
    }
    let is_half_made = opened
        .whole()
        .is_some_and(|it| it.kind == Filesystem::Btrfs.as_str() && it.label.as_deref() == Some(HALF_MADE));
    // Nothing inside allows nothing by itself: it counts where we wrote down that we would write over what was there.
    if is_half_made || (luks.filling && opened.signatures.is_empty()) {
        let (disk, header) = (luks.device.clone(), luks.uuid.clone());
        return Ok(Lock::Empty(OpenHalf { disk, header, device: opened.device.clone() }));
    }
    Ok(Lock::Holds(what_is_inside(name, spec, (disk, &luks.uuid), opened)?, opened))
}

impl Pair<'_> {
    /// Returns what has to be done before it is known what is inside: what was half made is closed, the rest opened.
    pub(super) fn comes_first(&self) -> Vec<Act> {
        let close = |(number, side): (usize, &Side<'_>)| match (&side.disk, &side.verdict) {
            (Ok(disk), Ok(Verdict::Close { part, device, uuid })) => {
                let whole = || HalfKey { under: self.making(number), what: disk.name() };
                let half = Some(part.as_ref().map_or_else(whole, |it| half_of(self.name, it, disk)));
                let (device, uuid) = (device.clone(), uuid.clone());
                Some(Act::Key { order: KeyOrder { device, uuid, half, act: KeyAct::Close, tang: None } })
            }
            _ => None,
        };
        let open = |side: &Side<'_>| match &side.lock {
            Some(Lock::Shut(act)) => Some((**act).clone()),
            _ => None,
        };
        let closes = self.sides.iter().enumerate().filter_map(close);
        closes.chain(self.sides.iter().filter_map(open)).collect()
    }

    /// Plans for two disks of which none is a half yet: each is encrypted, and once both are open they are filled together.
    pub(super) fn make_locked(&self, complete: bool) -> Acts {
        for side in &self.sides {
            side.is_there()?;
        }
        if !complete {
            return Err(incomplete());
        }
        if let [Some(Lock::Empty(one)), Some(Lock::Empty(other))] = self.sides.each_ref().map(|it| it.lock.as_ref()) {
            let halves = [one.clone(), other.clone()];
            return Ok(vec![Act::Join { order: Box::new(JoinOrder { label: disk_label(self.name), halves }) }]);
        }
        let mut acts = Vec::new();
        for (number, side) in self.sides.iter().enumerate() {
            let (disk, verdict) = side.is_there()?;
            acts.extend(self.lock_first(disk, verdict, number)?);
        }
        Ok(acts)
    }

    /// Returns how a disk is encrypted before anything is put on it, if it is to be.
    pub(super) fn lock_first(&self, disk: &DiskSeen, verdict: &Verdict, number: usize) -> Result<Option<Act>, Refusal> {
        let (Some(encryption), Verdict::Make { ticket, resumes }) = (&self.spec.encryption, verdict) else {
            return Ok(None);
        };
        by_the_chip(encryption, self.view)?;
        let mut act = make(self.name, self.spec, disk, ticket.clone(), resumes.clone());
        if let Act::Make { order, .. } = &mut act {
            order.half = Some(self.making(number));
        }
        Ok(Some(act))
    }

    /// Plans for the keys of both, and closes what was opened of disks that are a part of it no more.
    pub(super) fn keys(&self) -> Acts {
        if self.spec.encryption.is_none() {
            return Ok(Vec::new());
        }
        let (mut acts, mut refused) = (Vec::new(), None);
        for (disk, luks) in self.sides.iter().filter_map(Side::luks) {
            match keys(self.name, self.spec, (luks, Some(disk.half_key(self.name))), self.view) {
                Ok(some) => acts.extend(some),
                Err(refusal) => drop(refused.get_or_insert(refusal)),
            }
        }
        if acts.is_empty() {
            acts = self.strays();
        }
        match refused {
            Some(refusal) if acts.is_empty() => Err(refusal),
            _ => Ok(acts),
        }
    }

    /// Closes what stays open of a disk in whose place another one is. What was pulled out may still be held while a half is
    /// missing.
    fn strays(&self) -> Vec<Act> {
        let own = self.view.mounts.iter().find(|it| it.present && it.subject == self.name);
        let pair = own.and_then(|it| it.pair.as_ref()).filter(|it| it.lacks.is_none() && it.rebuilt.is_none());
        let Some(pair) = pair else { return Vec::new() };
        let joined = self.view.disks.iter().filter(|it| pair.devices.contains(&it.device));
        let meant = self.disks().chain(joined).flat_map(|it| &it.luks).filter_map(|it| it.opened.as_ref());
        let meant: Vec<&str> = meant.map(|it| it.device.as_str()).collect();
        let is_stray = |it: &&Unlocked| {
            manifest_of(&it.subject) == self.name && it.subject != self.name && !meant.contains(&it.device.as_str())
        };
        let close = |it: &Unlocked| {
            let half = Some(HalfKey { under: it.subject.clone(), what: it.device.clone() });
            let device = it.device.clone();
            Act::Key { order: KeyOrder { device, half, act: KeyAct::Close, ..KeyOrder::default() } }
        };
        self.view.unlocked.iter().filter(is_stray).map(close).collect()
    }

    /// Returns the name under which a making on one of the two is remembered.
    fn making(&self, number: usize) -> String {
        if number == 1 { DisksView::second(self.name) } else { self.name.to_owned() }
    }
}

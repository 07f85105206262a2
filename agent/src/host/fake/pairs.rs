//! File systems on two disks in memory. Each slot keeps what was stored on it, so that a half that is out of date, or was
//! written to elsewhere, is told from the other one, whatever the reconciler believes.

use std::collections::BTreeMap;

use super::{
    FakeEngine,
    disks::{STAGES, Slot},
    world::{World, gone},
};
use crate::host::{
    DisksView, Ends, HALF_MADE, Half, HostError, JoinOrder, MakeOrder, Making, Mount, PairSeen, Reason, RebuildOrder,
    Signature, Standing,
};

/// A mounted file system on two disks.
#[derive(Clone, Debug, Default)]
pub(super) struct Live {
    /// The plugging-in of each half, by its number.
    members: BTreeMap<u64, u64>,
    /// The UUID of each half. One that is filled anew has that of the lost one.
    uuids: BTreeMap<u64, String>,
    generation: u64,
    uneven: bool,
}

impl FakeEngine {
    /// Stores something on what is mounted for a manifest.
    pub fn store_on(&self, subject: &str, what: &str) {
        self.by_hand(|world| {
            let own = world.shelf.mounts.get(subject).filter(|own| own.present);
            if let Some(uuid) = own.map(|own| own.mount.uuid.clone()) {
                world.write_to(&uuid, what);
            }
        });
    }

    /// Stores something on one half alone, as another machine does.
    pub fn store_elsewhere(&self, seq: u64, what: &str) {
        self.by_hand(|world| {
            let is_live = world.shelf.pairs.values().any(|live| live.members.values().any(|it| *it == seq));
            // Nobody keeps anything in what says that it is half made.
            let is_whole = |slot: &Slot| slot.insides().iter().all(|it| it.label.as_deref() != Some(HALF_MADE));
            if let Some(slot) = world.shelf.disks.get_mut(&seq).filter(|slot| !is_live && is_whole(slot))
                && let Some(half) = &mut slot.seen.half
            {
                half.generation += 7;
                slot.data += what;
            }
        });
    }
}

impl World {
    /// Begins a making on the second disk.
    pub(super) fn make_half(&mut self, subject: &str, order: &MakeOrder) -> Result<(), HostError> {
        let (now, name) = (self.now(), DisksView::second(subject));
        let slot = self.shelf.disks.get(&order.seq).ok_or_else(|| gone(&order.device))?;
        if slot.seen.identity != order.identity || slot.seen.digest() != order.digest {
            return Err(HostError::new(Reason::Refused, "The second disk is not as it was"));
        }
        let leave = order.ticket.as_ref().and_then(|it| self.shelf.tickets.get_mut(it));
        let is_left = leave.as_ref().is_some_and(|it| it.standing(&slot.seen, now) == Standing::Valid);
        let begun = self.shelf.making.get(&name).filter(|it| Some(&it.nonce) == order.resumes.as_ref());
        let in_use = slot.seen.system || !slot.seen.holders.is_empty() || !slot.seen.mounted.is_empty();
        if in_use || !(is_left || begun.is_some() || slot.seen.is_blank()) {
            self.trespasses.push(format!("format {}", order.device));
        }
        if let Some(ticket) = leave {
            ticket.used = Some(now);
        }
        let nonce = format!("{}-{}", order.seq, order.label);
        let ticket = order.ticket.clone().or_else(|| begun.and_then(|it| it.ticket.clone()));
        let making = Making { subject: name.clone(), identity: order.identity.clone(), nonce, ticket };
        self.shelf.making.insert(name, making);
        Ok(())
    }

    /// Takes a half out of what is mounted. Returns true if the other one carries on.
    pub(super) fn lose_half(&mut self, seq: u64) -> bool {
        let lost = self.shelf.pairs.iter_mut().find(|(_, live)| live.members.values().any(|it| *it == seq));
        let Some((uuid, live)) = lost else { return false };
        live.members.retain(|_, it| *it != seq);
        live.uneven = true;
        let (uuid, is_gone) = (uuid.clone(), live.members.is_empty());
        if is_gone {
            self.shelf.pairs.remove(&uuid);
        } else {
            self.write_to(&uuid, "");
        }
        !is_gone
    }

    /// Returns how the two disks of a mount stand.
    pub(super) fn pair_seen(&self, mount: &Mount) -> Option<PairSeen> {
        let live = self.shelf.pairs.get(&mount.uuid)?;
        let device = |seq: &u64| Some(self.shelf.disks.get(seq)?.seen.device.clone());
        Some(PairSeen {
            devices: live.members.values().filter_map(device).collect(),
            lacks: (1..=2).find(|number| !live.members.contains_key(number)),
            generation: live.generation,
            uneven: live.uneven && live.members.len() == 2,
            ..PairSeen::default()
        })
    }

    /// Takes the halves in that a mount names.
    pub(super) fn mount_pair(&mut self, mount: &Mount, at: &str) {
        let Some(mirror) = &mount.mirror else { return };
        if self.shelf.pairs.contains_key(&mount.uuid) {
            return;
        }
        let wanted = [Some(&mount.device), mirror.device.as_ref()];
        let is_named = |device: &String| wanted.into_iter().flatten().any(|it| it == device);
        let is_it = |slot: &Slot| slot.seen.device_of(&mount.uuid).is_some_and(|it| is_named(&it.to_owned()));
        let mut live = Live { uneven: mirror.device.is_none(), ..Live::default() };
        let mut stored: Vec<String> = Vec::new();
        for slot in self.shelf.disks.values_mut().filter(|slot| is_it(slot)) {
            let Some(half) = slot.seen.half.as_ref() else { continue };
            live.members.insert(half.number, slot.seen.seq);
            live.uuids.insert(half.number, half.uuid.clone());
            live.generation = live.generation.max(half.generation);
            stored.push(slot.data.clone());
            if !slot.seen.mounted.iter().any(|it| it == at) {
                slot.seen.mounted.push(at.to_owned());
            }
        }
        if stored.windows(2).any(|it| it[0] != it[1]) {
            self.trespasses.push(format!("mount halves together that are not alike: {stored:?}"));
        }
        self.shelf.pairs.insert(mount.uuid.clone(), live);
        self.write_to(&mount.uuid, "");
    }

    /// Writes to all halves of what is mounted.
    fn write_to(&mut self, uuid: &str, what: &str) {
        let Some(live) = self.shelf.pairs.get_mut(uuid) else { return };
        live.generation += 1;
        for seq in live.members.values() {
            let Some(slot) = self.shelf.disks.get_mut(seq) else { continue };
            slot.data += what;
            if let Some(half) = &mut slot.seen.half {
                half.generation = live.generation;
            }
        }
    }

    pub(super) fn rebuild(&mut self, subject: &str, order: &RebuildOrder) -> Result<(), HostError> {
        let now = self.now();
        let live = self.shelf.pairs.get(&order.uuid).ok_or_else(|| gone(&order.uuid))?;
        let other = live.members.values().next().and_then(|seq| self.shelf.disks.get(seq));
        let (signatures, inside, data, ends) = other
            .map(|it| (it.seen.signatures.clone(), it.insides(), it.data.clone(), it.seen.ends))
            .ok_or_else(|| gone(&order.uuid))?;
        let slot = self.shelf.disks.get_mut(&order.onto.seq).ok_or_else(|| gone(&order.onto.device))?;
        let is_begun = order.onto.open.as_ref().is_some_and(|it| self.shelf.locks.fills(&it.header));
        if slot.seen.identity != order.onto.identity || slot.seen.digest() != order.onto.digest {
            return Err(HostError::new(Reason::Refused, "The disk is not as it was"));
        }
        let ticket = order.onto.ticket.as_ref().and_then(|it| self.shelf.tickets.get_mut(it));
        let leave = ticket.as_ref().is_some_and(|it| it.standing(&slot.seen, now) == Standing::Valid);
        let is_stale = order.stale.is_some() && slot.seen.half == order.stale && data.starts_with(&slot.data);
        if !slot.seen.mounted.is_empty()
            || !(leave || is_stale || slot.seen.is_blank() || slot.is_empty_half(order, is_begun))
        {
            self.trespasses.push(format!("fill {} which holds {:?}", order.onto.device, slot.data));
        }
        if let Some(ticket) = ticket {
            ticket.used = Some(now);
        }
        let uuid = order.stale.as_ref().map(|it| it.uuid.clone()).or_else(|| live.uuids.get(&order.lost).cloned());
        let uuid = uuid.unwrap_or_else(|| format!("lost-{}", order.lost));
        if let Some(open) = &order.onto.open {
            self.shelf.locks.filling.entry(subject.to_owned()).or_default().push(open.header.clone());
            if self.shelf.breaks_at.is_some_and(|it| it < STAGES) {
                (slot.seen.half, slot.data) = (None, String::new());
                slot.hold(&[]);
                return Err(HostError::new(Reason::Failed, "It broke off"));
            }
        }
        slot.seen.half = Some(Half { uuid, number: order.lost, of: 2, generation: live.generation });
        slot.data = data;
        if order.onto.open.is_some() {
            slot.hold(&inside);
        } else {
            (slot.seen.signatures, slot.seen.partitions, slot.seen.marker) = (signatures, Vec::new(), None);
            slot.seen.ends = if ends == Ends::Zero { Ends::Data } else { ends };
        }
        slot.seen.mounted.push(order.at.clone());
        let seq = order.onto.seq;
        let before = self.shelf.pairs.get_mut(&order.uuid).and_then(|live| {
            live.uneven = true;
            live.members.insert(order.lost, seq)
        });
        // The one whose place it takes is no half any more, and the kernel says so on it.
        if let Some(slot) = before.and_then(|seq| self.shelf.disks.get_mut(&seq)) {
            (slot.seen.half, slot.data) = (None, String::new());
            slot.seen.mounted.clear();
            if slot.seen.luks.is_empty() {
                slot.seen.signatures.clear();
            } else {
                slot.hold(&[]);
            }
        }
        self.count(None);
        Ok(())
    }

    /// Makes one file system on two encrypted halves: what is there is wiped, one is made that says that it is half made, and
    /// that gets its label. It may break off in between.
    pub(super) fn join(&mut self, subject: &str, order: &JoinOrder) -> Result<(), HostError> {
        let mut name = None;
        let last = self.shelf.breaks_at.unwrap_or(STAGES);
        let before = self.shelf.locks.clone();
        let headers = order.halves.iter().map(|it| it.header.clone());
        self.shelf.locks.filling.entry(subject.to_owned()).or_default().extend(headers);
        for (number, half) in (1..).zip(&order.halves) {
            let slot = self.shelf.disks.values_mut().find(|slot| slot.seen.device == half.disk);
            let slot = slot.ok_or_else(|| gone(&half.disk))?;
            let opened = slot.seen.luks(&half.header).and_then(|it| it.opened.as_ref());
            if opened.is_none_or(|it| it.device != half.device) {
                return Err(gone(&half.device));
            }
            if !slot.is_to_be_filled(before.fills(&half.header)) || !slot.seen.mounted.is_empty() {
                self.trespasses.push(format!("join {} which holds {:?}", half.disk, slot.inside));
            }
            let uuid = name.get_or_insert_with(|| format!("2222{:04x}-{}", slot.seen.seq, half.header)).clone();
            let kind = "btrfs".to_owned();
            let label = if last < STAGES { HALF_MADE } else { &order.label };
            let made = Signature { offset: 65600, kind, uuid: Some(uuid), label: Some(label.to_owned()) };
            if last < 3 && number == 2 {
                break;
            }
            if last < 4 {
                slot.seen.half = None;
                slot.hold(&[]);
                continue;
            }
            slot.seen.half = Some(Half { uuid: format!("half-{}", half.header), number, of: 2, generation: 1 });
            slot.hold(&[made]);
        }
        self.count(None);
        if last < STAGES {
            return Err(HostError::new(Reason::Failed, "It broke off"));
        }
        self.shelf.locks.filling.remove(subject);
        Ok(())
    }

    pub(super) fn even(&mut self, subject: &str) -> Result<(), HostError> {
        let uuid = self.shelf.mounts.get(subject).map(|own| own.mount.uuid.clone()).ok_or_else(|| gone(subject))?;
        self.shelf.pairs.get_mut(&uuid).ok_or_else(|| gone(subject))?.uneven = false;
        self.count(None);
        Ok(())
    }
}

impl Slot {
    /// Puts something inside of what is encrypted and open.
    fn hold(&mut self, inside: &[Signature]) {
        let opened = self.seen.luks.iter_mut().filter_map(|it| it.opened.as_mut());
        opened.for_each(|it| it.signatures = inside.to_vec());
        self.inside = self.seen.luks.iter().map(|it| (it.uuid.clone(), inside.to_vec())).collect();
    }

    fn is_to_be_filled(&self, is_begun: bool) -> bool {
        let inside = self.insides();
        let says_so = inside.iter().all(|it| it.label.as_deref() == Some(HALF_MADE));
        self.data.is_empty() && says_so && (is_begun || !inside.is_empty())
    }

    fn is_empty_half(&self, order: &RebuildOrder, is_begun: bool) -> bool {
        let open = order.onto.open.as_ref().and_then(|it| self.seen.luks(&it.header));
        open.is_some_and(|it| it.opened.is_some()) && self.is_to_be_filled(is_begun)
    }
}

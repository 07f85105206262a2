use std::{collections::BTreeMap, future::Future};

use piccolo_schema::disk::Filesystem;

use super::{
    FakeEngine, Verb,
    locks::Locks,
    pairs::Live,
    world::{World, gone},
};
use crate::host::{
    DiskSeen, Disks, DisksView, Ends, Ground, GroundPlaces, Grounds, HALF_MADE, Half, HostError, JoinOrder, KeyOrder,
    LuksSeen, MakeOrder, Making, Marker, Mount, MountSeen, Reason, RebuildOrder, ScrubSeen, Signature, Standing,
    Ticket, parted::manifest_of,
};

/// How many steps a making has: record, first mark, erasure, file system, label, end.
pub(super) const STAGES: u8 = 6;

/// The disks of the machine in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) disks: BTreeMap<u64, Slot>,
    pub(super) mounts: BTreeMap<String, MountSeen>,
    pub(super) locks: Locks,
    pub(super) tickets: BTreeMap<String, Ticket>,
    /// What is mounted of two disks, by its UUID.
    pub(super) pairs: BTreeMap<String, Live>,
    pub(super) making: BTreeMap<String, Making>,
    /// What is inside of encrypted disks that were pulled out, by their UUID.
    insides: BTreeMap<String, Vec<Signature>>,
    /// When disks were mounted.
    since: BTreeMap<String, jiff::Timestamp>,
    /// After how many steps makings break off.
    pub(super) breaks_at: Option<u8>,
}

/// A disk with what people stored on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) seen: DiskSeen,
    pub(super) data: String,
    /// What is inside of what is encrypted, by the UUIDs of headers.
    pub(super) inside: BTreeMap<String, Vec<Signature>>,
}

impl Disks for FakeEngine {
    async fn disks(&self) -> Result<DisksView, HostError> {
        let view = self.look().disks_view();
        self.verb_of_looking(Verb::Disks, view).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.disks_changed.notified()
    }

    async fn make(&self, subject: &str, order: &MakeOrder) -> Result<(), HostError> {
        self.verb(Verb::MakeDisk, |world| world.make_disk(subject, order)).await
    }

    async fn mount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| world.mount_disk(subject, mount)).await
    }

    async fn remount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| {
            let own = world.shelf.mounts.get_mut(subject).ok_or_else(|| gone(subject))?;
            own.mount.options.clone_from(&mount.options);
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn grow_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| {
            let own = world.shelf.mounts.get_mut(subject).ok_or_else(|| gone(subject))?;
            own.mount.disk_size = mount.disk_size;
            world.extend(mount);
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn trim_disk(&self, subject: &str) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| {
            let now = world.now();
            world.shelf.mounts.get_mut(subject).ok_or_else(|| gone(subject))?.trimmed = Some(now);
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn turn_key(&self, subject: &str, order: &KeyOrder) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| world.turn_key(subject, order)).await
    }

    async fn scrub_disk(&self, subject: &str, _resumes: bool) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| {
            let now = world.now();
            let own = world.shelf.mounts.get_mut(subject).ok_or_else(|| gone(subject))?;
            own.scrub = Some(ScrubSeen { begun: now, ended: true, ..ScrubSeen::default() });
            world.count(None);
            Ok(())
        })
        .await
    }

    async fn rebuild_disk(&self, subject: &str, order: &RebuildOrder) -> Result<(), HostError> {
        self.verb(Verb::MakeDisk, |world| world.rebuild(subject, order)).await
    }

    async fn join_disk(&self, subject: &str, order: &JoinOrder) -> Result<(), HostError> {
        self.verb(Verb::MakeDisk, |world| world.join(subject, order)).await
    }

    async fn even_disk(&self, subject: &str) -> Result<(), HostError> {
        self.verb(Verb::MountDisk, |world| world.even(subject)).await
    }

    async fn unmount_disk(&self, subject: &str) -> Result<(), HostError> {
        self.verb(Verb::UnmountDisk, |world| {
            world.take_away(subject);
            world.shelf.mounts.remove(subject);
            world.count(None);
            Ok(())
        })
        .await
    }
}

impl Grounds for FakeEngine {
    fn grounds(&self) -> Vec<Ground> {
        self.lock().world.grounds_seen()
    }
}

impl FakeEngine {
    /// Says what manifests say of mount points and directories.
    pub fn declare_places(&self, places: GroundPlaces) {
        self.lock().world.grounds = places;
    }

    /// Plugs a disk in, on which this is stored.
    pub fn plug_in(&self, seen: DiskSeen, data: &str) {
        self.by_hand(|world| {
            // What is inside of one that was pulled out is there when it comes back.
            let kept = |it: &LuksSeen| Some((it.uuid.clone(), world.shelf.insides.get(&it.uuid)?.clone()));
            let inside = seen.luks.iter().filter_map(kept).collect();
            drop(world.shelf.disks.insert(seen.seq, Slot { seen, data: data.to_owned(), inside }));
        });
    }

    /// Pulls a disk out, and returns it with what is stored on it.
    pub fn pull_out(&self, seq: u64) -> Option<(DiskSeen, String)> {
        let mut pulled = None;
        self.by_hand(|world| {
            let carries_on = world.lose_half(seq);
            let Some(mut slot) = world.shelf.disks.remove(&seq) else { return };
            for own in world.shelf.mounts.values_mut().filter(|own| slot.seen.device_of(&own.mount.uuid).is_some()) {
                own.present &= carries_on;
            }
            slot.seen.mounted.clear();
            slot.shut();
            world.shelf.insides.extend(slot.inside.clone());
            pulled = Some((slot.seen, slot.data));
        });
        pulled
    }

    /// Changes how a disk is.
    pub fn change_disk(&self, seq: u64, change: impl FnOnce(&mut DiskSeen)) {
        self.by_hand(|world| {
            if let Some(slot) = world.shelf.disks.get_mut(&seq) {
                change(&mut slot.seen);
            }
        });
    }

    /// Makes a ticket for a disk as it is, and returns it.
    pub fn write_ticket(&self, seq: u64, ticket: &str) {
        self.by_hand(|world| {
            let now = world.now();
            if let Some(slot) = world.shelf.disks.get(&seq) {
                let made = Ticket::new(ticket.to_owned(), &slot.seen, now);
                world.shelf.tickets.insert(ticket.to_owned(), made);
            }
        });
    }

    /// Lets the machine lose power after so many steps of each making from now on; never if none.
    pub fn break_makings_off(&self, at: Option<u8>) {
        self.by_hand(|world| world.shelf.breaks_at = at);
    }

    /// Takes all mounts away, as a start of the machine does.
    pub fn lose_mounts(&self) {
        self.by_hand(|world| {
            let subjects: Vec<String> = world.shelf.mounts.keys().cloned().collect();
            subjects.iter().for_each(|subject| world.take_away(subject));
            world.shelf.disks.values_mut().for_each(Slot::shut);
            world.shelf.locks.forget();
        });
    }

    /// Returns what is stored on each disk.
    pub fn on_disks(&self) -> BTreeMap<u64, String> {
        self.lock().world.shelf.disks.iter().map(|(seq, slot)| (*seq, slot.data.clone())).collect()
    }
}

impl World {
    /// Returns the places of disks, as containers stand on them.
    pub(super) fn grounds_seen(&self) -> Vec<Ground> {
        let mut places = self.grounds.clone();
        for own in self.shelf.mounts.values() {
            if let Some(at) = &own.mount.at {
                places.disks.entry(own.subject.clone()).or_insert_with(|| at.clone());
            }
        }
        let mut grounds = places.grounds(|disk, at| {
            self.shelf.mounts.get(disk).is_some_and(|own| own.present && own.mount.at.as_deref() == Some(at))
        });
        for ground in grounds.iter_mut().filter(|it| it.mounted) {
            ground.since = self.shelf.since.get(&ground.disk).copied();
        }
        grounds
    }

    /// Nobody may start a container beside a disk that is not mounted.
    pub(super) fn watch_its_ground(&mut self, id: &str) {
        let Some(spec) = self.find(id).and_then(|it| it.stamp.as_ref()?.spec.clone()) else { return };
        let bare = self.grounds_seen().into_iter().find(|it| !it.mounted && spec.mounts.iter().any(|m| it.carries(m)));
        if let Some(bare) = bare {
            self.trespasses.push(format!("start {id} on the bare {}", bare.at));
        }
    }

    fn disks_view(&self) -> DisksView {
        let mounts = self.shelf.mounts.values();
        let mounts = mounts.map(|own| MountSeen { pair: self.pair_seen(&own.mount), ..own.clone() });
        DisksView {
            disks: self.shelf.disks.values().map(|it| it.shown(&self.shelf.locks)).collect(),
            mounts: mounts.collect(),
            tickets: self.shelf.tickets.values().cloned().collect(),
            making: self.shelf.making.values().cloned().collect(),
            unlocked: self.shelf.locks.unlocked(),
            locked: self.shelf.locks.locked(),
            signer: self.shelf.locks.signer.clone(),
            now: self.now(),
            ..DisksView::default()
        }
    }

    fn make_disk(&mut self, subject: &str, order: &MakeOrder) -> Result<(), HostError> {
        let now = self.now();
        let slot = self.shelf.disks.get(&order.seq).ok_or_else(|| gone(&order.device))?;
        if slot.seen.identity != order.identity || slot.seen.digest() != order.digest {
            return Err(HostError::new(Reason::Refused, "The disk is not as it was"));
        }
        let leave = order.ticket.as_ref().and_then(|it| self.shelf.tickets.get(it));
        let leave = leave.is_some_and(|it| it.standing(&slot.seen, now) == Standing::Valid);
        let begun = self.shelf.making.get(subject).filter(|it| Some(&it.nonce) == order.resumes.as_ref()).cloned();
        let in_use = slot.seen.system || !slot.seen.holders.is_empty() || !slot.seen.mounted.is_empty();
        if in_use || !(leave || begun.is_some() || slot.seen.is_blank()) {
            self.trespasses.push(format!("format {}", order.device));
        }
        if let Some(half) = order.second.as_ref().map(|it| order.of_half(it)) {
            self.make_half(subject, &half)?;
        }
        let nonce = begun.as_ref().map_or_else(|| format!("{}-{}", order.seq, order.label), |it| it.nonce.clone());
        let before = begun.and_then(|it| it.ticket.clone());
        if let Some(ticket) = order.ticket.as_ref().and_then(|it| self.shelf.tickets.get_mut(it)) {
            ticket.used = Some(now);
        }
        let making = Making {
            subject: subject.to_owned(),
            identity: order.identity.clone(),
            nonce: nonce.clone(),
            ticket: order.ticket.clone().or(before),
        };
        self.shelf.making.insert(subject.to_owned(), making);
        self.count(None);
        let last = self.shelf.breaks_at.unwrap_or(STAGES);
        for stage in 2..=last.min(STAGES) {
            self.advance(subject, order, &nonce, stage);
        }
        if last < STAGES { Err(HostError::new(Reason::Failed, "It broke off")) } else { Ok(()) }
    }

    /// Does one step of a making.
    fn advance(&mut self, subject: &str, order: &MakeOrder, nonce: &str, stage: u8) {
        if stage == STAGES {
            self.shelf.making.remove(subject);
            if order.second.is_some() {
                self.shelf.making.remove(&DisksView::second(subject));
            }
            return;
        }
        if let Some(half) = &order.second {
            let second = self.shelf.making.get(&DisksView::second(subject)).map(|it| it.nonce.clone());
            self.advance_one(subject, &order.of_half(half), &second.unwrap_or_default(), stage, Some((order.seq, 2)));
            self.advance_one(subject, order, nonce, stage, Some((order.seq, 1)));
        } else {
            self.advance_one(subject, order, nonce, stage, None);
        }
    }

    /// Does it on one disk, which may be a half of something with the name of the first.
    fn advance_one(&mut self, subject: &str, order: &MakeOrder, nonce: &str, stage: u8, half: Option<(u64, u64)>) {
        let signer = self.shelf.locks.signer.clone();
        let Some(slot) = self.shelf.disks.get_mut(&order.seq) else { return };
        let seen = &mut slot.seen;
        let made = |label: &str| Signature {
            offset: 1080,
            kind: order.filesystem.as_str().to_owned(),
            uuid: Some(format!(
                "0000{:04x}-{}",
                half.map_or(order.seq, |(first, _)| first),
                order.label.trim_start_matches("pic-")
            )),
            label: Some(label.to_owned()),
        };
        match stage {
            2 => {
                seen.marker = Some(Marker { nonce: nonce.to_owned(), first: true });
                seen.ends = Ends::Data;
            }
            3 => {
                (seen.signatures, seen.partitions, slot.data) = (Vec::new(), Vec::new(), String::new());
                (seen.table, seen.luks) = (None, Vec::new());
                slot.inside.clear();
            }
            _ if !order.parts.is_empty() => slot.part(subject, (order, signer.as_deref()), stage == 4),
            _ if order.encryption.is_some() => {
                let label = if order.half.is_some() { HALF_MADE } else { &order.label };
                slot.encrypt(subject, (order, signer.as_deref()), stage == 4, made(label));
            }
            4 => {
                seen.marker = None;
                seen.signatures = vec![made(HALF_MADE)];
                let uuid = format!("half-{}", order.seq);
                seen.half = half.map(|(_, number)| Half { uuid, number, of: 2, generation: 1 });
            }
            _ => seen.signatures = vec![made(&order.label)],
        }
    }

    fn mount_disk(&mut self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let is_there =
            |(other, own): (&String, &MountSeen)| other != subject && own.present && own.mount.at == mount.at;
        if mount.at.is_some() && self.shelf.mounts.iter().any(is_there) {
            return Err(HostError::new(Reason::InUse, "Something else is mounted there"));
        }
        let found = |slot: &&mut Slot| slot.seen.device_of(&mount.uuid).is_some();
        let slot = self.shelf.disks.values_mut().find(found).ok_or_else(|| gone(&mount.uuid))?;
        let at = mount.at.clone().unwrap_or_else(|| "swap".to_owned());
        if mount.mirror.is_none() && !slot.seen.mounted.contains(&at) {
            slot.seen.mounted.push(at);
        }
        self.mount_pair(mount, &mount.at.clone().unwrap_or_default());
        let was_there = self.shelf.mounts.get(subject).is_some_and(|own| own.present && own.mount.at == mount.at);
        if !was_there {
            let now = self.now();
            self.shelf.since.insert(subject.to_owned(), now);
        }
        let own = MountSeen {
            subject: subject.to_owned(),
            mount: mount.clone(),
            present: true,
            trims: true,
            scrub: (mount.filesystem == Filesystem::Btrfs)
                .then(|| ScrubSeen { begun: self.now(), ..ScrubSeen::default() }),
            ..MountSeen::default()
        };
        self.shelf.mounts.insert(subject.to_owned(), own);
        // What is mounted was made to its end.
        if mount.mirror.as_ref().is_none_or(|it| it.device.is_some()) {
            self.shelf.making.remove(manifest_of(subject));
            self.shelf.making.remove(&DisksView::second(subject));
            self.shelf.locks.filling.remove(subject);
        }
        self.count(None);
        Ok(())
    }

    /// Takes a mount away, but remembers it.
    fn take_away(&mut self, subject: &str) {
        let Some(own) = self.shelf.mounts.get_mut(subject) else { return };
        own.present = false;
        self.shelf.pairs.remove(&own.mount.uuid);
        let at = own.mount.at.clone().unwrap_or_else(|| "swap".to_owned());
        for slot in self.shelf.disks.values_mut().filter(|slot| slot.seen.device_of(&own.mount.uuid).is_some()) {
            slot.seen.mounted.retain(|it| *it != at);
        }
    }
}

//! Encrypted disks in memory.

use std::collections::BTreeMap;

use piccolo_schema::disk::Filesystem;

use super::{
    FakeEngine,
    disks::Slot,
    world::{World, gone},
};
use crate::host::{
    Bound, DiskSeen, Ends, HALF_MADE, HostError, KeyAct, KeyOrder, KeySeen, LUKS, Locked, LuksSeen, MakeOrder, NewKey,
    Opened, OpenedBy, Reason, Signature, Unlocked, bound, disk_label, mapped, parted::table_id, swap_label,
};

/// What opens encrypted disks, and what was opened.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    /// True if neither the TPM nor a passphrase opens anything.
    jammed: bool,
    unlocked: BTreeMap<String, String>,
    locked: BTreeMap<String, Locked>,
    /// Whose signatures over its image come with the system.
    pub(super) signer: Option<String>,
    /// The headers of halves inside of which it is written over, by subject.
    pub(super) filling: BTreeMap<String, Vec<String>>,
}

impl Locks {
    pub(super) fn unlocked(&self) -> Vec<Unlocked> {
        let one = |(subject, device): (&String, &String)| Unlocked { subject: subject.clone(), device: device.clone() };
        self.unlocked.iter().map(one).collect()
    }

    pub(super) fn fills(&self, header: &str) -> bool {
        self.filling.values().flatten().any(|it| it == header)
    }

    pub(super) fn locked(&self) -> Vec<Locked> {
        self.locked.values().cloned().collect()
    }

    /// Forgets what does not outlive a start of the machine.
    pub(super) fn forget(&mut self) {
        self.unlocked.clear();
        self.locked.clear();
    }
}

impl FakeEngine {
    /// Lets nothing open encrypted disks any more, as another TPM does, or lets it be again.
    pub fn jam_locks(&self, jammed: bool) {
        self.by_hand(|world| {
            world.shelf.locks.jammed = jammed;
            world.shelf.locks.locked.clear();
        });
    }

    /// Gives every secret of disks another value.
    pub fn change_passphrases(&self) {
        self.by_hand(|world| {
            let disks = world.shelf.disks.values_mut();
            let keys = disks.flat_map(|slot| &mut slot.seen.luks).flat_map(|it| &mut it.keys);
            keys.filter(|it| it.by == OpenedBy::Passphrase).for_each(|it| it.outdated = true);
            world.shelf.locks.locked.clear();
        });
    }

    /// Starts a system whose image this key signs, or nobody.
    pub fn sign_images(&self, signer: Option<&str>) {
        self.by_hand(|world| {
            world.shelf.locks.signer = signer.map(str::to_owned);
            world.shelf.locks.locked.clear();
        });
    }

    /// Opens an encrypted disk as a person with its recovery key does.
    pub fn unlock_by_hand(&self, seq: u64, subject: &str) {
        self.by_hand(|world| {
            if let Some(slot) = world.shelf.disks.get_mut(&seq)
                && let Some(uuid) = slot.seen.luks.first().map(|it| it.uuid.clone())
            {
                slot.open(subject, &uuid);
                world.shelf.locks.unlocked.insert(subject.to_owned(), mapped(subject));
                world.shelf.locks.locked.retain(|_, it| slot.seen.luks(&it.uuid).is_none());
            }
        });
    }
}

impl Slot {
    /// Does one step of a making: the header with what is inside, open, and then its label, closed.
    pub(super) fn encrypt(
        &mut self,
        subject: &str,
        (order, signer): (&MakeOrder, Option<&str>),
        first: bool,
        inside: Signature,
    ) {
        let uuid = format!("1111{:04x}-{}", order.seq, order.label.trim_start_matches("pic-"));
        let label = if first { HALF_MADE } else { &order.label };
        let header =
            Signature { offset: 0, kind: LUKS.to_owned(), uuid: Some(uuid.clone()), label: Some(label.to_owned()) };
        (self.seen.marker, self.seen.ends, self.seen.signatures) = (None, Ends::Data, vec![header]);
        if !first {
            return self.shut();
        }
        (self.seen.luks, self.inside) = (Vec::new(), BTreeMap::new());
        self.lock(order, signer, &uuid, inside);
        if order.filesystem != Filesystem::Swap {
            self.open(subject, &uuid);
        }
    }

    /// Encrypts the device of an order, with this inside. Of swap that is made whenever it is opened.
    pub(super) fn lock(&mut self, order: &MakeOrder, signer: Option<&str>, uuid: &str, inside: Signature) {
        let mut luks = LuksSeen { device: order.device.clone(), uuid: uuid.to_owned(), ..LuksSeen::default() };
        let is_kept = order.filesystem != Filesystem::Swap;
        if is_kept {
            let encryption = order.encryption.clone().unwrap_or_default();
            let keys = bound(&encryption, signer).ok().flatten().map(NewKey::Tpm2).into_iter();
            let keys = keys.chain(encryption.tang.map(NewKey::Tang));
            keys.chain(encryption.passphrase.map(NewKey::Passphrase)).for_each(|key| add(&mut luks, &key));
        }
        self.seen.luks.push(luks);
        self.inside.insert(uuid.to_owned(), is_kept.then_some(inside).into_iter().collect());
    }

    pub(super) fn open(&mut self, subject: &str, header: &str) {
        let signatures = self.inside.get(header).cloned().unwrap_or_default();
        let opened = Opened { device: mapped(subject), signatures, ..Opened::default() };
        if let Some(luks) = self.seen.luks.iter_mut().find(|it| it.uuid == header) {
            self.seen.holders.retain(|it| it != opened.name());
            self.seen.holders.push(opened.name().to_owned());
            luks.opened = Some(opened);
        }
    }

    /// Opens it with a key that nobody keeps, and makes swap inside.
    fn open_anew(&mut self, subject: &str, header: &str) {
        let (kind, uuid) = (Filesystem::Swap.as_str().to_owned(), Some(table_id(header)));
        let made = Signature { offset: 4086, kind, uuid, label: Some(disk_label(subject)) };
        self.inside.insert(header.to_owned(), vec![made]);
        self.open(subject, header);
    }

    /// Returns all that is inside of what is encrypted.
    pub(super) fn insides(&self) -> Vec<Signature> {
        self.inside.values().flatten().cloned().collect()
    }

    /// Returns the disk as it is seen: of a half that is encrypted, what is inside tells.
    pub(super) fn shown(&self, locks: &Locks) -> DiskSeen {
        let mut seen = self.seen.clone();
        seen.luks.iter_mut().for_each(|it| it.filling = locks.fills(&it.uuid));
        if !seen.luks.is_empty() {
            let half = seen.half.take();
            seen.luks.iter_mut().filter_map(|it| it.opened.as_mut()).for_each(|it| it.half.clone_from(&half));
        }
        seen
    }

    /// Closes all that is encrypted.
    pub(super) fn shut(&mut self) {
        self.shut_those(|_| true);
    }

    fn shut_those(&mut self, is_meant: impl Fn(&Opened) -> bool) {
        for luks in &mut self.seen.luks {
            let Some(opened) = luks.opened.take_if(|it| is_meant(it)) else { continue };
            self.seen.holders.retain(|it| it != opened.name());
            if let Some(inside) = self.inside.get_mut(&luks.uuid)
                && inside.iter().all(|it| it.kind == Filesystem::Swap.as_str())
            {
                // Nobody keeps the key.
                inside.clear();
            }
        }
    }
}

impl World {
    pub(super) fn turn_key(&mut self, subject: &str, order: &KeyOrder) -> Result<(), HostError> {
        self.count(None);
        let (manifest, subject) = (subject, order.under(subject));
        if order.act == KeyAct::Close {
            self.close(subject);
            return Ok(());
        }
        let (jammed, signer) = (self.shelf.locks.jammed, self.shelf.locks.signer.clone());
        let is_it = |slot: &&mut Slot| slot.seen.luks(&order.uuid).is_some();
        let slot = self.shelf.disks.values_mut().find(is_it).ok_or_else(|| gone(&order.uuid))?;
        if let KeyAct::OpenAnew { .. } = order.act {
            let header = slot.seen.holds(&order.uuid).map(|(_, it)| it);
            let is_ours = header.is_some_and(|it| it.label.as_ref() == Some(&swap_label(subject)));
            let inside = slot.inside.get(&order.uuid).cloned().unwrap_or_default();
            if !is_ours || !inside.iter().all(|it| it.kind == Filesystem::Swap.as_str()) {
                self.trespasses.push(format!("make swap in {} which holds {inside:?}", order.device));
            }
            slot.open_anew(subject, &order.uuid);
            self.shelf.locks.unlocked.insert(subject.to_owned(), mapped(subject));
            return Ok(());
        }
        let luks = slot.seen.luks.iter_mut().find(|it| it.uuid == order.uuid).ok_or_else(|| gone(&order.uuid))?;
        let is_own = |it: &KeySeen| matches!(it.by, OpenedBy::Tpm2 | OpenedBy::Tang | OpenedBy::Passphrase);
        let is_signed = |it: &KeySeen| it.signed.is_none() || it.signed == signer;
        // What opens a slot that goes is of no use for that.
        let goes = if let KeyAct::Remove { slot, .. } = order.act { Some(slot) } else { None };
        let opens = |it: &KeySeen| !jammed && !it.outdated && is_own(it) && is_signed(it) && goes != Some(it.slot);
        let is_open = luks.keys.iter().any(opens);
        match &order.act {
            KeyAct::Open { .. } if luks.opened.is_some() => {}
            KeyAct::Open { .. } if is_open => {
                slot.open(subject, &order.uuid);
                self.shelf.locks.unlocked.insert(subject.to_owned(), mapped(subject));
            }
            KeyAct::Open { .. } => {
                let why = "the TPM is another one".to_owned();
                let locked = Locked { subject: manifest.to_owned(), uuid: order.uuid.clone(), why: why.clone() };
                self.shelf.locks.locked.insert(subject.to_owned(), locked);
                return Err(HostError::new(Reason::Undecryptable, why));
            }
            KeyAct::Add { .. } | KeyAct::Remove { .. } if !is_open => {
                let why = "no key of this machine opens it".to_owned();
                let locked = Locked { subject: manifest.to_owned(), uuid: order.uuid.clone(), why: why.clone() };
                self.shelf.locks.locked.insert(subject.to_owned(), locked);
                return Err(HostError::new(Reason::Undecryptable, why));
            }
            KeyAct::Add { key, .. } => add(luks, key),
            KeyAct::Remove { slot, .. } => {
                luks.keys.retain(|it| it.slot != *slot);
                if luks.keys.is_empty() {
                    self.trespasses.push(format!("take the last key of {} away", order.device));
                }
            }
            KeyAct::Close | KeyAct::OpenAnew { .. } => {}
        }
        Ok(())
    }

    /// Closes what was opened for a manifest.
    pub(super) fn close(&mut self, subject: &str) {
        let device = mapped(subject);
        let used: Vec<&String> = self.shelf.mounts.values().filter(|it| it.present).map(|it| &it.mount.uuid).collect();
        for slot in self.shelf.disks.values_mut() {
            let is_used =
                |it: &Opened| it.whole().is_some_and(|it| it.uuid.as_ref().is_some_and(|it| used.contains(&it)));
            // What stands on one partition keeps no other one open.
            let in_use = !slot.seen.mounted.is_empty() && slot.seen.table.is_none();
            slot.shut_those(|it| it.device == device && !in_use && !is_used(it));
        }
        self.shelf.locks.unlocked.remove(subject);
    }
}

/// Adds a key, unless it is there.
fn add(luks: &mut LuksSeen, key: &NewKey) {
    let seen = match key {
        NewKey::Tpm2(Bound { pcrs, signed }) => {
            KeySeen { by: OpenedBy::Tpm2, pcrs: Some(*pcrs), signed: signed.clone(), ..KeySeen::default() }
        }
        NewKey::Tang(it) => KeySeen { by: OpenedBy::Tang, tang: Some(it.clone()), ..KeySeen::default() },
        NewKey::Passphrase(it) => {
            KeySeen { by: OpenedBy::Passphrase, secret: Some(it.to_string()), ..KeySeen::default() }
        }
    };
    let is_there = |it: &KeySeen| {
        !it.outdated && (it.by, it.bound(), &it.secret, &it.tang) == (seen.by, seen.bound(), &seen.secret, &seen.tang)
    };
    if !luks.keys.iter().any(is_there) {
        let slot = (0..32).find(|slot| !luks.keys.iter().any(|it| it.slot == *slot)).unwrap_or_default();
        luks.keys.push(KeySeen { slot, ..seen });
    }
}

//! What people do with the keys of a disk that a manifest means, of two that hold the same, or of the system's own.

use piccolo_schema::{
    DiskSpec,
    disk::{Partition, part_key},
};
use zeroize::Zeroizing;

use super::{
    Drives, beside_the_point,
    encrypt::Worked,
    hands::{Answer, KeyWork, Request},
    key::Key,
    locks::of,
};
use crate::{
    clock,
    host::{
        DisksView, HalfKey, HostError, KeyAct, KeyOrder, LuksSeen, Meant, NewKey, Reason, Undone, bound, disk_label,
        linux::luks,
    },
    secrets::{Plain, RecoveryKey},
};

/// An encrypted disk that is meant.
pub(super) struct Locked {
    pub(super) luks: LuksSeen,
    /// Which one, and the server that may be asked.
    pub(super) order: KeyOrder,
}

/// What became of one that a key was to open.
enum Tried {
    /// It is open. The error says why a key that its manifest asks for was not added.
    Opened(Result<(), HostError>),
    /// Another key opened it before.
    Before,
    /// It stays shut.
    Shut(HostError),
}

impl Drives {
    /// Opens a disk by a key that a person typed: its recovery key or a passphrase. Of two, or of partitions, it opens each that it
    /// can, and returns what it left undone.
    ///
    /// # Errors
    /// When there is no such disk, or the key opens nothing of it.
    pub async fn unlock(
        &self,
        name: &str,
        spec: &DiskSpec,
        typed: &Zeroizing<String>,
    ) -> Result<Option<Undone>, HostError> {
        let (all, key) = (declared(name, spec, &*self.seen().await?)?, typed_key(typed)?);
        let mut tried = Vec::new();
        for it in &all {
            let became = self.unlock_one((name, spec), it, &key).await.unwrap_or_else(Tried::Shut);
            tried.push((it.luks.device.as_str(), became));
        }
        unlocked(spec, tried)
    }

    async fn unlock_one(&self, (name, spec): (&str, &DiskSpec), it: &Locked, key: &Key) -> Result<Tried, HostError> {
        if it.luks.opened.is_some() && !self.does_open(it, key).await? {
            return Ok(Tried::Before);
        }
        let subject = it.order.under(name).to_owned();
        self.work(&it.order, KeyWork::Open { subject, key: key.clone(), discard: spec.trim }).await?;
        let renewed = self.renew(it, spec, key).await;
        // It is open, whatever became of that.
        self.opened_by_hand(&it.luks.uuid);
        self.keys_changed(&it.order);
        Ok(Tried::Opened(renewed))
    }

    /// Adds what the manifest asks for and does not open the disk yet, by the key that a person has typed: nothing else of this
    /// machine may open it, as where a secret has another value since.
    async fn renew(&self, it: &Locked, spec: &DiskSpec, typed: &Key) -> Result<(), HostError> {
        let Some(encryption) = spec.encryption.as_ref().filter(|_| spec.adopt.is_none()) else { return Ok(()) };
        let bound = bound(encryption, self.keyring()?.signer().as_deref());
        let mut lacking = it.luks.lacks(encryption, bound.as_ref().ok().and_then(Option::as_ref));
        // Whether its secret has another value since the header does not tell.
        lacking.retain(|it| !matches!(it, NewKey::Passphrase(_)));
        lacking.extend(encryption.passphrase.clone().map(NewKey::Passphrase));
        // What one of them is refused by is no reason to leave the others out.
        let mut renewed = bound.map(drop);
        for key in &lacking {
            renewed = renewed.and(self.renew_one(it, key, typed).await);
        }
        renewed
    }

    async fn renew_one(&self, it: &Locked, key: &NewKey, typed: &Key) -> Result<(), HostError> {
        let (new, token, is_chosen) = self.new_key(key).await?;
        if is_chosen && self.does_open(it, &new).await? {
            return Ok(());
        }
        self.work(&it.order, KeyWork::Add { with: typed.clone(), new, is_chosen, token }).await.map(drop)
    }

    /// Makes a recovery key of a disk, or one for both of two, by what this machine has or by a key that a person typed. It is
    /// told this once, with its slot where there is one alone, and counts for nothing before somebody has proved to have it.
    ///
    /// # Errors
    /// When there is no such disk, or one of two is missing, or the key, or nothing of this machine, opens it.
    pub async fn recovery_key(
        &self,
        meant: &Meant,
        typed: Option<&Zeroizing<String>>,
    ) -> Result<(Option<u8>, Zeroizing<String>), HostError> {
        let (all, typed) = (self.each(meant).await?, typed.map(typed_key).transpose()?);
        if all.len() < meant.many() {
            let message =
                "One of the two disks is missing, and a recovery key shall open both; plug it in, or name another one";
            return Err(HostError::new(Reason::Gone, message));
        }
        let made = Key::text(&RecoveryKey::of(&luks::random()?).text(), "The recovery key")?;
        let mut slots: Vec<(&Locked, u8)> = Vec::new();
        for it in &all {
            let add = |with| KeyWork::Recovery { with, made: made.clone() };
            match self.by_a_key(&it.order, (meant, typed.as_ref()), &add).await {
                Ok(Worked::Slot(slot)) => slots.push((it, slot)),
                other => {
                    // One that does not open both is worth nothing. The first error is the one to tell.
                    for (it, slot) in slots {
                        self.take_back(it, slot, (meant, typed.as_ref())).await;
                    }
                    return Err(other.err().unwrap_or_else(beside_the_point));
                }
            }
            self.keys_changed(&it.order);
        }
        let slot = the_one(slots.into_iter().map(|(_, slot)| slot));
        Ok((slot, Zeroizing::new(String::from_utf8_lossy(made.plain().expose()).into_owned())))
    }

    async fn take_back(&self, it: &Locked, slot: u8, by: (&Meant, Option<&Key>)) {
        let what = "a recovery key".to_owned();
        let act = KeyAct::Remove { slot, what: what.clone(), proved: false, passphrase: None };
        let remove = |with| KeyWork::Remove { with, slot, what: what.clone(), proved: false };
        drop(self.by_a_key(&KeyOrder { act, ..it.order.clone() }, by, &remove).await);
    }

    /// Does something by the key that a person typed, or else by what this machine has.
    async fn by_a_key(
        &self,
        order: &KeyOrder,
        (meant, typed): (&Meant, Option<&Key>),
        work: &(dyn Fn(Key) -> KeyWork + Send + Sync),
    ) -> Result<Worked, HostError> {
        match typed {
            Some(key) => self.work(order, work(key.clone())).await,
            None => self.with_own_key(order, &meant.passphrases(), work).await,
        }
    }

    /// Takes down that somebody has the recovery key of a disk, of each of two that is there, or of all partitions, and takes
    /// those away that were made before. Returns its slot where there is one alone.
    ///
    /// # Errors
    /// When there is no such disk, or a partition is missing, or this is no recovery key of it.
    pub async fn prove_recovery(&self, meant: &Meant, typed: &Zeroizing<String>) -> Result<Option<u8>, HostError> {
        let (all, key) = (self.each(meant).await?, typed_key(typed)?);
        for it in all.iter().filter(|_| all.len() > 1) {
            if !self.does_open(it, &key).await? {
                let message = format!("This is no recovery key of /dev/{}, or it was mistyped", it.luks.device);
                return Err(HostError::new(Reason::PermissionDenied, message));
            }
        }
        // Those of a disk that was adopted are its owner's.
        let (kept, mut slots) = (meant.is_adopted(), Vec::new());
        for it in &all {
            let proved = self.work(&it.order, KeyWork::Prove { key: key.clone(), now: clock::now(), kept }).await;
            self.keys_changed(&it.order);
            let Worked::Slot(slot) = proved? else { return Err(beside_the_point()) };
            slots.push(slot);
        }
        Ok(the_one(slots))
    }

    async fn does_open(&self, it: &Locked, key: &Key) -> Result<bool, HostError> {
        let work = KeyWork::Try { key: key.clone(), slot: None };
        Ok(!matches!(self.work(&it.order, work).await?, Worked::Opens(false)))
    }

    pub(super) fn keys_changed(&self, order: &KeyOrder) {
        self.forget(&order.device);
        self.hint.notify_one();
    }

    /// Finds the encrypted disk that is meant, or those two.
    pub(super) async fn encrypted(&self, meant: &Meant) -> Result<Vec<Locked>, HostError> {
        encrypted_of(meant, &*self.seen().await?)
    }

    /// Finds the same, of partitions each that was made for the manifest: one recovery key opens all of them, so that none has
    /// another one that its owner throws away.
    async fn each(&self, meant: &Meant) -> Result<Vec<Locked>, HostError> {
        let view = self.seen().await?;
        let all = encrypted_of(meant, &view)?;
        let Meant::Declared { name, spec } = meant else { return Ok(all) };
        if let Some((part, help)) = view.disks.iter().find_map(|it| it.left_out(name, spec)) {
            let message = format!(
                "Partition `{}` was encrypted for `{name}` too, and one recovery key shall open each: {help}, or erase what \
                 it holds",
                part.name
            );
            return Err(HostError::new(Reason::Gone, message));
        }
        if !spec.partitions.is_empty() && all.len() < spec.locks() {
            let message = "A partition is not there, or not encrypted, and a recovery key shall open each; see what is wrong \
                           with it, or take it out of `partitions`";
            return Err(HostError::new(Reason::Gone, message));
        }
        Ok(all)
    }

    pub(super) async fn seen(&self) -> Result<Box<DisksView>, HostError> {
        let mut known = self.known().clone();
        if self.has_turned() {
            known.forget_keys();
        }
        match self.ask(Request::Look(known)).await? {
            Answer::Seen(view, _) => Ok(view),
            _ => Err(beside_the_point()),
        }
    }
}

/// Returns the slot of a key, if it is one alone: each of several headers has its own numbers.
fn the_one(slots: impl IntoIterator<Item = u8>) -> Option<u8> {
    let mut slots = slots.into_iter();
    slots.next().filter(|_| slots.next().is_none())
}

fn encrypted_of(meant: &Meant, view: &DisksView) -> Result<Vec<Locked>, HostError> {
    let Meant::Declared { name, spec } = meant else {
        let none = || HostError::new(Reason::Gone, "This system has no encrypted state of its own");
        let luks = view.state().cloned().ok_or_else(none)?;
        return Ok(vec![Locked { order: of(&luks), luks }]);
    };
    declared(name, spec, view)
}

/// Says what a key left undone of all that it was to open. Of what was adopted each may have an owner's key of its own: there
/// another one that is open already is no trouble.
fn unlocked(spec: &DiskSpec, tried: Vec<(&str, Tried)>) -> Result<Option<Undone>, HostError> {
    let is_open = tried.iter().any(|(_, it)| matches!(it, Tried::Opened(_)));
    let (mut not_opened, mut not_added) = (Vec::new(), Vec::new());
    for (device, it) in tried {
        match it {
            Tried::Opened(Ok(())) => {}
            Tried::Opened(Err(error)) => not_added.push(format!(
                "/dev/{device} is open, and a key that its manifest asks for was not added ({})",
                error.message
            )),
            // A key that opens nothing is a wrong one, and one answer says so.
            Tried::Before if !is_open => {
                let message = format!("The key does not open /dev/{device}, which is open already");
                return Err(HostError::new(Reason::PermissionDenied, message));
            }
            Tried::Shut(error) if !is_open => return Err(error),
            Tried::Before if spec.adopt.is_some() => {}
            Tried::Before => not_opened.push(format!("Another key opened /dev/{device} before")),
            Tried::Shut(error) => not_opened.push(format!("/dev/{device} stays shut ({})", error.message)),
        }
    }
    let text = [&*not_opened, &*not_added].concat().join("; ");
    Ok(match (not_opened.is_empty(), not_added.is_empty()) {
        (false, _) => Some(Undone::Partly(text)),
        (true, false) => Some(Undone::NotAdded(text)),
        (true, true) => None,
    })
}

/// Finds the encrypted disk of a manifest, or those two that it means.
fn declared(name: &str, spec: &DiskSpec, view: &DisksView) -> Result<Vec<Locked>, HostError> {
    let (label, of_two) = (disk_label(name), spec.mirror.is_some());
    let tang = spec.encryption.as_ref().and_then(|it| it.tang.clone());
    let mut found = Vec::new();
    for disk in &view.disks {
        if !spec.partitions.is_empty() {
            let locked = |(part, luks): (&Partition, &LuksSeen)| {
                let half =
                    Some(HalfKey { under: part_key(name, &part.name), what: format!("partition `{}`", part.name) });
                Locked { luks: luks.clone(), order: KeyOrder { tang: tang.clone(), half, ..of(luks) } }
            };
            found.extend(disk.locked_parts(name, spec).map(locked));
            continue;
        }
        let whole = disk.whole().filter(|it| it.label.as_ref() == Some(&label)).and_then(|it| it.uuid.as_ref());
        let is_meant = !of_two || spec.selectors().any(|it| disk.fits(it));
        let is_it = |luks: &&LuksSeen| match &spec.adopt {
            Some(uuid) if luks.uuid.eq_ignore_ascii_case(uuid) => true,
            Some(_) if !of_two => false,
            _ => whole == Some(&luks.uuid) && is_meant,
        };
        let half = of_two.then(|| disk.half_key(name));
        let order = |luks: &LuksSeen| KeyOrder { tang: tang.clone(), half: half.clone(), ..of(luks) };
        found.extend(disk.luks.iter().filter(is_it).map(|it| Locked { luks: it.clone(), order: order(it) }));
    }
    let is_copied = |(at, it): (usize, &Locked)| found[..at].iter().any(|other| other.luks.uuid == it.luks.uuid);
    if found.iter().enumerate().any(is_copied) {
        let message = format!("Two disks hold the same header of `{name}`, as a copy does; unplug one");
        return Err(HostError::new(Reason::Refused, message));
    }
    match found.len() {
        0 => Err(HostError::new(Reason::Gone, format!("No encrypted disk of `{name}` is here"))),
        many if many <= spec.locks() => Ok(found),
        _ => {
            let message = format!("Several disks say that they are `{name}`; unplug what is too many");
            Err(HostError::new(Reason::Refused, message))
        }
    }
}

/// A recovery key may be typed with blanks and capital letters.
pub(super) fn typed_key(typed: &Zeroizing<String>) -> Result<Key, HostError> {
    let plain = match RecoveryKey::parse(typed) {
        Some(key) => key.text(),
        None => Plain::new(typed.as_bytes().to_vec()),
    };
    Key::text(&plain, "What was typed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what a key left undone that these were tried with, in the order of their devices.
    fn told(spec: &DiskSpec, tried: Vec<Tried>) -> Result<Option<Undone>, String> {
        let devices = ["sdb1", "sdb2", "sdb3"].into_iter();
        unlocked(spec, devices.zip(tried).collect()).map_err(|error| error.message)
    }

    fn shut() -> Tried {
        Tried::Shut(HostError::new(Reason::PermissionDenied, "no key does"))
    }

    fn not_renewed() -> Tried {
        Tried::Opened(Err(HostError::new(Reason::Failed, "no TPM")))
    }

    #[test]
    fn of_what_was_adopted_each_may_have_a_key_of_its_own() {
        let opened = || Tried::Opened(Ok(()));
        let adopted = DiskSpec { adopt: Some("6c1b7e0a".to_owned()), ..DiskSpec::default() };
        for (at, tried) in [(1, [Tried::Before, opened()]), (2, [opened(), Tried::Before])] {
            let message = format!("Another key opened /dev/sdb{at} before");
            assert_eq!(told(&DiskSpec::default(), tried.into()), Ok(Some(Undone::Partly(message))));
        }
        assert_eq!(told(&adopted, vec![Tried::Before, opened()]), Ok(None));
        assert_eq!(told(&adopted, vec![opened(), Tried::Before]), Ok(None));
        // What opens nothing is wrong, and one that stays shut is told.
        let already = "The key does not open /dev/sdb1, which is open already";
        assert_eq!(told(&adopted, vec![Tried::Before, Tried::Before]), Err(already.to_owned()));
        assert_eq!(told(&adopted, vec![Tried::Before, shut()]), Err(already.to_owned()));
        assert_eq!(told(&adopted, vec![shut(), Tried::Before]), Err("no key does".to_owned()));
        let left = "/dev/sdb2 stays shut (no key does)".to_owned();
        assert_eq!(told(&adopted, vec![opened(), shut()]), Ok(Some(Undone::Partly(left))));
    }

    #[test]
    fn all_that_a_key_left_undone_is_told_and_what_stays_shut_comes_first() {
        let spec = DiskSpec::default();
        let renewal =
            |at: u8| format!("/dev/sdb{at} is open, and a key that its manifest asks for was not added (no TPM)");
        let stays = |at: u8| format!("/dev/sdb{at} stays shut (no key does)");
        for (tried, text) in [
            (vec![not_renewed(), shut()], [stays(2), renewal(1)].join("; ")),
            (vec![shut(), not_renewed()], [stays(1), renewal(2)].join("; ")),
            (vec![shut(), not_renewed(), shut()], [stays(1), stays(3), renewal(2)].join("; ")),
        ] {
            assert_eq!(told(&spec, tried), Ok(Some(Undone::Partly(text))));
        }
        // What is wholly open counts as such, whatever its manifest asks for besides.
        assert_eq!(told(&spec, vec![not_renewed()]), Ok(Some(Undone::NotAdded(renewal(1)))));
        let both = [renewal(1), renewal(2)].join("; ");
        assert_eq!(told(&spec, vec![not_renewed(), not_renewed()]), Ok(Some(Undone::NotAdded(both))));
    }

    #[test]
    fn a_slot_is_told_where_it_is_one_alone() {
        assert_eq!((the_one([2]), the_one([2, 2]), the_one([])), (Some(2), None, None));
    }
}

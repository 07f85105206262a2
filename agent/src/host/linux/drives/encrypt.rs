//! Encrypted disks in the hands: how one is made, opened and closed, and how its keys are changed.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use piccolo_schema::disk::Filesystem;
use serde_json::Value;

use super::{
    blocking,
    content::{later_marks, signatures},
    halves,
    hands::{Hands, KeyWork},
    key::{FirstKeys, Key},
    make::{clear, flush, make, run, verify},
    table::Table,
};
use crate::host::{
    HALF_MADE, HostError, KeySeen, LUKS, LuksSeen, MakeOrder, Opened, OpenedBy, Reason, disk_label,
    linux::{
        luks::{
            self, Slots,
            whole::{self, Strength},
        },
        vault::is_in_memory,
    },
    mapped, mapped_name,
};

/// Where keys are handed over to programs, if it lies in memory.
const MEMORY: &str = "/run/piccolo/keys";
/// How old a key there is that no program takes any more.
const STALE: Duration = Duration::from_secs(600);
/// Where else: everybody may write there, and nobody reads or moves what is root's.
const SHARED_MEMORY: &str = "/dev/shm";

/// Returns the key slots of a device.
pub(super) fn slots(device: &str) -> Slots {
    let home = if is_in_memory("/run".as_ref()).unwrap_or_default() { MEMORY } else { SHARED_MEMORY };
    Slots::new(PathBuf::from(format!("/dev/{device}")), PathBuf::from(home))
}

/// Takes keys away that a process left behind which came to a sudden end.
pub(super) fn sweep() {
    luks::sweep(MEMORY.as_ref(), STALE);
}

/// Looks at what of a disk is encrypted.
pub(super) async fn look(device: &str, uuid: &str) -> Option<LuksSeen> {
    // One whose header can't be read is told by having none of this.
    let keys = slots(device).keys().await.ok()?;
    Some(LuksSeen { device: device.to_owned(), uuid: uuid.to_owned(), keys, ..LuksSeen::default() })
}

/// Looks whether it is open, and what is inside.
pub(super) async fn look_inside(luks: &mut LuksSeen, before: Option<Opened>, table: &Table) {
    let Some(name) = whole::opened(&luks.uuid, &luks.device) else { return };
    let device = format!("mapper/{name}");
    // What is inside of one that stays open does not change, but for a half, which is filled and mounted with others.
    let stays = |it: &Opened| match &it.half {
        Some(half) => half.number > 0 && table.is_half(&device),
        None => it.whole().is_none_or(|it| it.label.as_deref() != Some(HALF_MADE)),
    };
    luks.opened = Some(match before.filter(|it| it.device == device && stays(it)) {
        Some(before) => before,
        None => inside(device).await,
    });
}

/// Looks at what is inside. What can't be told now is told as that, for it may be there.
async fn inside(device: String) -> Opened {
    let mut opened = Opened { device, ..Opened::default() };
    match signatures(&opened.device).await {
        Ok(found) => opened.signatures = found,
        Err(error) => opened.trouble = Some(error.message),
    }
    match halves::half_of(&opened.device, &opened.signatures).await {
        Ok(half) => opened.half = half,
        Err(error) => opened.trouble = Some(error.message),
    }
    opened
}

impl Hands {
    /// Encrypts a disk, or a partition, and makes its file system inside. It ends closed, with a header that says that it is
    /// whole. Of a disk as a whole, the marks that we left further on are taken away in between.
    pub(super) async fn encrypt_one(
        &self,
        subject: &str,
        order: &MakeOrder,
        keys: Option<&FirstKeys>,
        marked: Option<&File>,
    ) -> Result<(), HostError> {
        if order.filesystem == Filesystem::Swap {
            self.encrypt_swap(order, marked).await?;
        } else {
            let none = || HostError::new(Reason::Refused, "There is no key to encrypt the disk with");
            self.encrypt(subject, order, keys.ok_or_else(none)?, marked).await?;
        }
        slots(&order.device).label(&order.label).await
    }

    /// Encrypts it, and makes its file system inside. It ends closed, and half made as its header says.
    async fn encrypt(
        &self,
        subject: &str,
        order: &MakeOrder,
        keys: &FirstKeys,
        marked: Option<&File>,
    ) -> Result<(), HostError> {
        let (slots, path) = (slots(&order.device), format!("/dev/{}", order.device));
        let random = keys.tpm.iter().chain(&keys.tang).map(|it| (it, Strength::Random));
        let mut all = random.chain(keys.passphrase.iter().map(|it| (it, Strength::Chosen)));
        let none = || HostError::new(Reason::Refused, "There is no key to encrypt the disk with");
        let ((key, token), strength) = all.next().ok_or_else(none)?;
        let first = key.plain();
        slots.format(&first, strength, HALF_MADE).await?;
        slots.tell(0, token.clone()).await?;
        for ((key, token), strength) in all {
            slots.add_with(&first, &key.plain(), strength, token.clone()).await?;
        }
        // From here on the header says that it is half made. What we left further on goes before anything is written
        // inside, past the memory that the kernel has of the disk as a whole.
        unmark(marked, order).await?;
        flush(&path).await?;
        let inside = mapped(subject);
        let name = mapped_name(&inside).unwrap_or_default();
        slots.open(&first, name, false).await?;
        let made = self.fill(order, &inside).await;
        let closed = whole::close(name).await;
        made.and(closed)?;
        let found = signatures(&order.device).await?;
        if found.is_empty() || !found.iter().all(|it| it.kind == LUKS && it.label.as_deref() == Some(HALF_MADE)) {
            return Err(HostError::new(Reason::Failed, format!("What was made on `{path}` is not what was asked for")));
        }
        Ok(())
    }

    async fn fill(&self, order: &MakeOrder, inside: &str) -> Result<(), HostError> {
        let path = format!("/dev/{inside}");
        // What is inside is reached by the header alone, whose label is the one that counts. A half says that it is to be filled.
        let label = if order.half.is_some() { HALF_MADE } else { &order.label };
        run(make(order, std::slice::from_ref(&path), label)).await?;
        verify(order, inside, label).await
    }

    /// Does what is asked with the keys of a disk that is still the one that was meant.
    pub(super) async fn work(&self, device: &str, uuid: &str, work: KeyWork) -> Result<Worked, HostError> {
        let is_it = |has: Option<&str>| has.is_some_and(|it| it.eq_ignore_ascii_case(uuid));
        if !signatures(device).await?.iter().any(|it| it.kind == LUKS && is_it(it.uuid.as_deref())) {
            return Err(HostError::new(Reason::Gone, format!("`/dev/{device}` is another disk by now")));
        }
        let slots = slots(device);
        Ok(match work {
            KeyWork::Tokens => Worked::Tokens(slots.opening_tokens().await?),
            KeyWork::Try { key, slot } => Worked::Opens(slots.opens(slot, &key.plain()).await?),
            KeyWork::Open { subject, key, discard } => {
                self.open(&subject, (device, uuid), (&key, discard)).await?;
                Worked::Done
            }
            KeyWork::OpenAnew { subject, discard } => {
                self.open_anew(&subject, (device, uuid), discard).await?;
                Worked::Done
            }
            KeyWork::Add { with, new, is_chosen, token } => {
                let strength = if is_chosen { Strength::Chosen } else { Strength::Random };
                Worked::Slot(slots.add_with(&with.plain(), &new.plain(), strength, token).await?)
            }
            KeyWork::Remove { with, slot, what, proved } => {
                may_go(&slots.keys().await?, slot, &what, proved)?;
                slots.kill(slot, &with.plain()).await?;
                Worked::Slot(slot)
            }
            KeyWork::Recovery { with, made } => Worked::Slot(slots.recovery_slot(&with.plain(), &made.plain()).await?),
            KeyWork::Prove { key, now, kept } => Worked::Slot(slots.prove(&key.plain(), now, kept).await?),
        })
    }

    async fn open(
        &self,
        subject: &str,
        (device, uuid): (&str, &str),
        (key, discard): (&Key, bool),
    ) -> Result<(), HostError> {
        let inside = mapped(subject);
        let name = mapped_name(&inside).unwrap_or_default();
        if whole::opened(uuid, device).is_some() {
            return self.book.unlocked(subject, &inside);
        }
        close_leftover(&inside).await?;
        // Written down first, so that it is closed whenever the manifest goes.
        self.book.unlocked(subject, &inside)?;
        slots(device).open(&key.plain(), name, discard).await
    }

    /// Closes what was opened for a manifest, and forgets it.
    pub(super) async fn close(&self, subject: &str) -> Result<(), HostError> {
        let inside = mapped(subject);
        let there = format!("/dev/{inside}");
        if blocking(move || Ok(fs::exists(there).unwrap_or_default())).await? {
            whole::close(&disk_label(subject)).await?;
        }
        self.book.closed(subject)
    }
}

/// Takes our marks away that lie where the disk is encrypted now.
pub(super) async fn unmark(marked: Option<&File>, order: &MakeOrder) -> Result<(), HostError> {
    match marked {
        Some(disk) => clear(disk, later_marks(order.identity.size)).await,
        None => Ok(()),
    }
}

/// Closes what was opened under a name before: a disk that was pulled out leaves what was inside behind.
pub(super) async fn close_leftover(inside: &str) -> Result<(), HostError> {
    if !fs::exists(format!("/dev/{inside}")).unwrap_or_default() {
        return Ok(());
    }
    whole::close(mapped_name(inside).unwrap_or_default()).await.map_err(|error| {
        let message = format!("What is left of the disk as it was before is still in use: {}", error.message);
        HostError::new(Reason::InUse, message)
    })
}

/// Looks whether a slot may go: what was planned was seen before, and other people change keys too.
fn may_go(keys: &[KeySeen], slot: u8, what: &str, proved: bool) -> Result<(), HostError> {
    if !keys.iter().any(|it| it.slot == slot && it.words() == what) {
        return Err(HostError::new(Reason::Gone, format!("Slot {slot} is not opened by {what} any more")));
    }
    if proved && !keys.iter().any(|it| it.by == OpenedBy::Recovery && it.proved.is_some()) {
        return Err(HostError::new(Reason::Gone, "The recovery key that was proved is there no more"));
    }
    Ok(())
}

/// What became of work with keys.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Worked {
    /// It was done.
    Done,
    /// It was done with this slot.
    Slot(u8),
    /// Whether a key opens it.
    Opens(bool),
    /// The tokens of a TPM and of servers.
    Tokens(Vec<String>),
}

/// A token that names the secret of a passphrase.
pub(super) fn names(secret: &str) -> Value {
    serde_json::json!({ "type": whole::PASSPHRASE, "secret": secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_goes_only_if_it_is_what_was_seen_and_a_recovery_key_stays() {
        let key = |slot, by, proved| KeySeen { slot, by, proved, ..KeySeen::default() };
        let now = "2026-11-28T12:00:00Z".parse().ok();
        let keys = [key(0, OpenedBy::Tpm2, None), key(1, OpenedBy::Recovery, now)];
        assert!(may_go(&keys, 0, "the TPM", true).is_ok());
        assert!(may_go(&keys, 0, "the secret disks/media", true).is_err());
        assert!(may_go(&keys[..1], 0, "the TPM", false).is_ok());
        assert!(may_go(&keys[..1], 0, "the TPM", true).is_err());
    }
}

//! Disks as the kernel and the programs of util-linux show them, and the verbs that keep them.

mod book;
mod check;
mod clevis;
mod content;
mod encrypt;
mod footing;
mod halves;
mod hands;
mod joined;
mod key;
mod keyring;
mod lend;
mod locks;
mod make;
mod outside;
mod owner;
mod parted;
mod pathed;
mod place;
mod proofs;
mod rebind;
mod refused;
mod reset;
mod scrub;
mod swap;
mod table;
mod tree;
mod writes;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crc32fast::hash;
use tokio::sync::Notify;

use self::{
    hands::{Answer, Hands, Known, Request},
    proofs::Proofs,
    refused::Refused,
    writes::Writes,
};
use super::{program, volumes::blocking};
use crate::host::{
    DiskSeen, Disks, DisksView, HostError, JoinOrder, KeyOrder, MakeOrder, Mount, Reason, RebuildOrder, Ticket,
};

pub use footing::Footing;
pub use hands::nonce;
pub use keyring::{Changes, Keyring, Starts};
pub use outside::{Outside, answer_for_disks};
pub use reset::ResetWork;

/// How long a program that only looks may take.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is looked whether a disk or a mount came or went, which takes no program.
const GLANCE: Duration = Duration::from_secs(5);
/// The places from which the machine itself runs.
const SYSTEM: &[&str] = &["/", "/usr", "/boot", "/boot/efi", "/efi", "/etc", "/var", "/oem", "/sysroot"];

/// The disks of this machine.
pub struct Drives {
    hands: Hands,
    /// The way out, where the daemon's own process is kept from devices and mounts.
    outside: Option<Outside>,
    hint: Notify,
    /// One verb at a time: each looks before it acts.
    turn: tokio::sync::Mutex<()>,
    /// One disk at a time is bound anew: each slot that is made or goes is a turn of its own.
    rebinding: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
    /// How often what is known was forgotten.
    forgets: AtomicU64,
    /// How often keys had been changed when it was last looked.
    turns: AtomicU64,
    /// What this machine has to open encrypted disks with.
    keyring: Option<Keyring>,
    /// Those that it did not open.
    locked: Mutex<BTreeMap<String, Refused>>,
    /// Whether keys still are what headers tell of them.
    proofs: Proofs,
}

impl Drives {
    /// Returns the disks, with what is remembered of them in this directory. Here alone it is decided whether the daemon
    /// touches them itself.
    pub fn open(state: &Path) -> Arc<Self> {
        Self::opened(state, Outside::needed(state), None)
    }

    /// Returns the disks, those among them that are encrypted too, which this opens.
    pub fn open_with(state: &Path, keyring: Keyring) -> Arc<Self> {
        Self::opened(state, Outside::needed(state), Some(keyring))
    }

    /// Returns the disks as a daemon sees them that is kept from devices and mounts.
    pub fn open_outside(state: &Path, outside: Outside, keyring: Option<Keyring>) -> Arc<Self> {
        Self::opened(state, Some(outside), keyring)
    }

    fn opened(state: &Path, outside: Option<Outside>, keyring: Option<Keyring>) -> Arc<Self> {
        Arc::new(Self {
            hands: Hands::new(state),
            outside,
            hint: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            rebinding: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            forgets: AtomicU64::default(),
            turns: AtomicU64::default(),
            keyring,
            locked: Mutex::default(),
            proofs: Proofs::default(),
        })
    }

    /// Makes a ticket by which a disk may be erased, if `typed` is its serial number.
    ///
    /// # Errors
    /// When not one disk alone is meant, when it is in use, or when the serial number is another one.
    pub async fn wipe_ticket(&self, which: &str, typed: &str) -> Result<(DiskSeen, Ticket), HostError> {
        let _turn = self.turn.lock().await;
        let request = Request::Ticket { which: which.to_owned(), typed: typed.to_owned() };
        match self.ask(request).await? {
            Answer::Ticket(disk, ticket) => {
                self.hint.notify_one();
                Ok((*disk, *ticket))
            }
            _ => Err(beside_the_point()),
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, HostError> {
        match &self.outside {
            Some(outside) => outside.ask(&request).await,
            None => self.hands.carry_out(request).await,
        }
    }

    /// Forgets what is known of a device, which was changed.
    fn forget(&self, device: &str) {
        self.known().forget(device);
        self.forgets.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often keys were changed by now, here or by `piccolo trust`.
    fn turns(&self) -> u64 {
        self.forgets.load(Ordering::SeqCst) + self.keyring.as_ref().map_or(0, Keyring::changes)
    }

    /// Returns what was written by hands to disks in use since they were looked at, by device.
    fn outrun(&self) -> BTreeMap<String, Writes> {
        let looked = self.known().writes();
        let now = |(device, before): (String, Writes)| {
            let now = before.again(&device)?;
            before.is_outrun_by(&now).then_some((device, now))
        };
        looked.into_iter().filter_map(now).collect()
    }

    /// Returns true if keys were changed since it was last looked.
    fn has_turned(&self) -> bool {
        self.turns.load(Ordering::SeqCst) != self.turns()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks for Drives {
    async fn disks(&self) -> Result<DisksView, HostError> {
        let turns = self.turns();
        if self.turns.swap(turns, Ordering::SeqCst) != turns {
            self.known().forget_keys();
        }
        let known = self.known().clone();
        let Answer::Seen(view, known) = self.ask(Request::Look(known)).await? else {
            return Err(beside_the_point());
        };
        // What was changed meanwhile may have been seen as it was before.
        if self.turns() == turns {
            *self.known() = known;
        }
        let locked = self.still_locked(&view).await;
        let signer = self.keyring.as_ref().and_then(Keyring::signer);
        let mut view = DisksView { locked, signer, ..*view };
        self.prove(&mut view).await;
        Ok(view)
    }

    async fn changed(&self) {
        let (before, mut last) = (glance(), BTreeMap::new());
        loop {
            tokio::select! {
                () = self.hint.notified() => return,
                () = Keyring::changed_by_others(self.keyring.as_ref()) => return,
                () = self.is_due() => return,
                () = tokio::time::sleep(GLANCE) => {
                    // While a hand is still at it there is nothing to be seen yet.
                    let now = self.outrun();
                    if glance() != before || (!now.is_empty() && now == last) {
                        return;
                    }
                    last = now;
                }
            }
        }
    }

    async fn make(&self, subject: &str, order: &MakeOrder) -> Result<(), HostError> {
        // A server may be asked for them, for which nobody else waits.
        let keys = self.first_keys(order).await?;
        let _turn = self.turn.lock().await;
        let request = Request::Make { subject: subject.to_owned(), order: Box::new(order.clone()), keys };
        let made = self.ask(request).await;
        self.forget(&order.device);
        order.second.iter().for_each(|it| self.forget(&it.device));
        self.hint.notify_one();
        made.map(drop)
    }

    async fn mount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Mount { subject: subject.to_owned(), mount: Box::new(mount.clone()) }).await?;
        self.hint.notify_one();
        Ok(())
    }

    async fn remount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Remount { subject: subject.to_owned(), mount: Box::new(mount.clone()) }).await.map(drop)
    }

    async fn grow_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let request = Request::Grow { subject: subject.to_owned(), mount: Box::new(mount.clone()) };
        let grown = self.ask(request).await.map(drop);
        // What was read of the table is another one by now, though the disk is in use.
        self.known().forget_parted();
        grown
    }

    async fn trim_disk(&self, subject: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Trim { subject: subject.to_owned() }).await.map(drop)
    }

    async fn turn_key(&self, subject: &str, order: &KeyOrder) -> Result<(), HostError> {
        let turned = self.turn(subject, order).await;
        self.forget(&order.device);
        self.hint.notify_one();
        turned
    }

    async fn scrub_disk(&self, subject: &str, resumes: bool) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Scrub { subject: subject.to_owned(), resumes }).await?;
        self.hint.notify_one();
        Ok(())
    }

    async fn rebuild_disk(&self, subject: &str, order: &RebuildOrder) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let request = Request::Rebuild { subject: subject.to_owned(), order: Box::new(order.clone()) };
        let begun = self.ask(request).await;
        self.forget(&order.onto.device);
        order.onto.open.iter().for_each(|it| self.forget(&it.device));
        self.hint.notify_one();
        begun.map(drop)
    }

    async fn join_disk(&self, subject: &str, order: &JoinOrder) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let request = Request::Join { subject: subject.to_owned(), order: Box::new(order.clone()) };
        let joined = self.ask(request).await;
        order.halves.iter().for_each(|it| self.forget(&it.device));
        self.hint.notify_one();
        joined.map(drop)
    }

    async fn even_disk(&self, subject: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Even { subject: subject.to_owned() }).await?;
        self.hint.notify_one();
        Ok(())
    }

    async fn unmount_disk(&self, subject: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.ask(Request::Unmount { subject: subject.to_owned() }).await?;
        self.hint.notify_one();
        Ok(())
    }
}

fn beside_the_point() -> HostError {
    HostError::new(Reason::Failed, "What was asked of disks was answered with something else")
}

/// Returns a number by which it shows that a disk or a mount came or went.
fn glance() -> u32 {
    let mut text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text += &fs::read_to_string("/proc/swaps").unwrap_or_default();
    text += &fs::read_to_string("/proc/partitions").unwrap_or_default();
    hash(text.as_bytes())
}

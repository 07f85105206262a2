//! Disks as the kernel and the programs of util-linux show them, and the verbs that keep them.

mod book;
mod check;
mod content;
mod lend;
mod make;
mod place;
mod table;
mod tree;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crc32fast::hash;
use tokio::sync::Notify;

use self::{
    book::Book,
    content::Content,
    table::Table,
    tree::{Drive, Node},
};
use super::{program, volumes::blocking};
use crate::{
    clock,
    host::{DiskSeen, Disks, DisksView, Ends, HostError, MakeOrder, Mount, MountSeen, Partition, Reason, Ticket},
};

/// How long a program that only looks may take.
const LOOK: Duration = Duration::from_secs(30);
/// How often it is looked whether a disk or a mount came or went, which takes no program.
const GLANCE: Duration = Duration::from_secs(5);
/// The places from which the machine itself runs.
const SYSTEM: &[&str] = &["/", "/usr", "/boot", "/boot/efi", "/efi", "/etc", "/var", "/oem", "/sysroot"];

/// The disks of this machine.
pub struct Drives {
    book: Book,
    hint: Notify,
    /// One verb at a time: each looks before it acts.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<BTreeMap<String, Known>>,
}

/// What was found on a disk, and by what it shows that this still holds.
#[derive(Clone)]
struct Known {
    seq: u64,
    size: u64,
    written: String,
    content: Content,
}

impl Drives {
    /// Returns the disks, with what is remembered of them in this directory.
    pub fn open(state: &Path) -> Arc<Self> {
        Arc::new(Self {
            book: Book::new(&state.join("disks")),
            hint: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// Makes a ticket by which a disk may be erased, if `typed` is its serial number.
    ///
    /// # Errors
    /// When not one disk alone is meant, when it is in use, or when the serial number is another one.
    pub async fn wipe_ticket(&self, which: &str, typed: &str) -> Result<(DiskSeen, Ticket), HostError> {
        let refuse = |message: String| Err(HostError::new(Reason::Refused, message));
        let _turn = self.turn.lock().await;
        let disks = self.look(true).await?;
        let fits = |disk: &&DiskSeen| {
            let names = [&disk.identity.serial, &disk.identity.wwn, &disk.device];
            names.iter().any(|name| !name.is_empty() && name.as_str() == which) || disk.ids.iter().any(|id| id == which)
        };
        let found: Vec<&DiskSeen> = disks.iter().filter(fits).collect();
        let [disk] = found.as_slice() else {
            return refuse(format!("{} disks are called `{which}`; `piccolo disk list` shows all", found.len()));
        };
        let serial = [&disk.identity.serial, &disk.identity.wwn].into_iter().find(|it| !it.is_empty());
        let Some(serial) = serial else {
            return refuse(format!("{} has no serial number, so no ticket can be bound to it", disk.name()));
        };
        if typed != serial {
            return refuse(format!("`{typed}` is not the serial number of {}", disk.name()));
        }
        if let Some(why) = in_use(disk) {
            return refuse(format!("{}: {why}; a disk in use is never erased", disk.name()));
        }
        let ticket = Ticket::new(format!("wipe-{}", &nonce()?[..24]), disk, clock::now());
        self.book.add_ticket(&ticket)?;
        self.hint.notify_one();
        Ok(((*disk).clone(), ticket))
    }

    /// Looks at all disks; `afresh` takes nothing on trust that was found before.
    async fn look(&self, afresh: bool) -> Result<Vec<DiskSeen>, HostError> {
        let text = program::run("lsblk", tree::ARGUMENTS, LOOK).await?;
        let drives = tree::parse(&text).map_err(|why| HostError::new(Reason::Failed, why))?;
        let table = Table::read()?;
        let mut seen = Vec::new();
        for drive in drives {
            seen.extend(self.seen(drive, &table, afresh).await);
        }
        seen.sort_by(|one, other| one.device.cmp(&other.device));
        self.known().retain(|device, _| seen.iter().any(|disk| disk.device == *device));
        Ok(seen)
    }

    async fn seen(&self, drive: Drive, table: &Table, afresh: bool) -> Option<DiskSeen> {
        let name = drive.node.name.clone();
        let attribute = |path: &str| fs::read_to_string(format!("/sys/block/{name}/{path}")).unwrap_or_default();
        let mut disk = drive.seen(&attribute)?;
        disk.ids = by_id(&name);
        disk.holders = drive.holders();
        let numbers: Vec<&str> = drive.numbers();
        disk.mounted = numbers.iter().flat_map(|number| table.places(number)).collect();
        let paths: Vec<String> = drive.nodes().iter().map(|node| format!("/dev/{}", node.name)).collect();
        disk.mounted.extend(paths.iter().any(|path| table.swaps(path)).then(|| "swap".to_owned()));
        disk.system = disk.mounted.iter().any(|at| SYSTEM.contains(&at.as_str()));
        disk.mounted.sort();
        disk.mounted.dedup();
        let in_use = disk.system || !disk.holders.is_empty() || !disk.mounted.is_empty();
        let written = attribute("stat").split_whitespace().nth(6).unwrap_or_default().to_owned();
        let known = self.known().get(&name).filter(|it| it.seq == disk.seq && it.size == disk.identity.size).cloned();
        let content = match known {
            Some(known) if !afresh && (in_use || known.written == written) => Ok(known.content),
            _ => content::look(&name, &drive.partitions(), disk.identity.size, in_use).await,
        };
        match content {
            Ok(content) => {
                let part = |node: &Node| Partition {
                    device: node.name.clone(),
                    size: node.size,
                    signatures: content.partitions.get(&node.name).cloned().unwrap_or_default(),
                };
                disk.partitions = drive.partitions().into_iter().map(part).collect();
                disk.signatures.clone_from(&content.signatures);
                disk.marker.clone_from(&content.marker);
                disk.ends = content.ends;
                let (seq, size) = (disk.seq, disk.identity.size);
                if content.ends != Ends::Unknown || in_use {
                    self.known().insert(name, Known { seq, size, written, content });
                }
            }
            Err(error) => disk.trouble = Some(format!("/dev/{name} can't be looked at: {}", error.message)),
        }
        disk.failing = check::failing(&disk.device).await;
        Some(disk)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disks for Drives {
    async fn disks(&self) -> Result<DisksView, HostError> {
        let disks = self.look(false).await?;
        let book = self.book.read()?;
        let table = Table::read()?;
        let present = |(subject, mount): (String, Mount)| {
            let at = mount.at.clone();
            let is_there = place::is_there(&mount, &disks, &table);
            let (total, used) = at.filter(|_| is_there).and_then(|at| place::room(&at)).unzip();
            MountSeen { subject, mount, present: is_there, total, used }
        };
        let mounts = book.mounts.into_iter().map(present).collect();
        Ok(DisksView { disks, mounts, tickets: book.tickets, making: book.making, now: clock::now() })
    }

    async fn changed(&self) {
        let before = glance();
        loop {
            tokio::select! {
                () = self.hint.notified() => return,
                () = tokio::time::sleep(GLANCE) => {
                    if glance() != before {
                        return;
                    }
                }
            }
        }
    }

    async fn make(&self, subject: &str, order: &MakeOrder) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let made = self.make_it(subject, order).await;
        self.known().remove(&order.device);
        self.hint.notify_one();
        made
    }

    async fn mount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        place::mount(&self.book, subject, mount).await?;
        self.hint.notify_one();
        Ok(())
    }

    async fn remount_disk(&self, subject: &str, mount: &Mount) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        place::remount(&self.book, subject, mount).await
    }

    async fn unmount_disk(&self, subject: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        place::unmount(&self.book, subject).await?;
        self.hint.notify_one();
        Ok(())
    }
}

/// Says what uses a disk, if anything does.
fn in_use(disk: &DiskSeen) -> Option<String> {
    if disk.system {
        return Some("the machine itself runs from it".to_owned());
    }
    if let Some(holder) = disk.holders.first() {
        return Some(format!("`{holder}` stands on it"));
    }
    disk.mounted.first().map(|at| format!("it is used at `{at}`"))
}

/// Returns a number by which it shows that a disk or a mount came or went.
fn glance() -> u32 {
    let mut text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text += &fs::read_to_string("/proc/swaps").unwrap_or_default();
    text += &fs::read_to_string("/proc/partitions").unwrap_or_default();
    hash(text.as_bytes())
}

/// Returns the names that a disk has in `/dev/disk/by-id`.
fn by_id(name: &str) -> Vec<String> {
    let directory = PathBuf::from("/dev/disk/by-id");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let leads_here = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.file_name().is_some_and(|it| it == name))
    };
    let mut ids: Vec<String> =
        entries.filter(leads_here).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    ids
}

/// Returns a word that nobody had before.
fn nonce() -> Result<String, HostError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid");
    let text = text.map_err(|error| HostError::new(Reason::Failed, format!("The kernel gives no chance ({error})")))?;
    let word: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    if word.len() == 32 { Ok(word) } else { Err(HostError::new(Reason::Failed, "The kernel gives no chance")) }
}

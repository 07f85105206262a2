//! The hands that touch disks. They work in the daemon's own process or in one outside of its bounds, and keep nothing in
//! mind from one request to the next: what is worth keeping goes to and fro.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    LOOK, SYSTEM,
    book::Book,
    check,
    check::Health,
    content,
    content::Content,
    encrypt,
    encrypt::Worked,
    halves,
    key::{FirstKeys, Key},
    parted, place, program,
    reset::ResetWork,
    scrub,
    table::Table,
    tree,
    tree::{Drive, Node},
    writes::Writes,
};
use crate::{
    clock,
    host::{
        DiskSeen, DisksView, Ends, HealthSeen, HostError, JoinOrder, LuksSeen, MakeOrder, Mount, MountSeen, Opened,
        Partition, Reason, RebuildOrder, ResetView, Ticket, Unlocked, named,
    },
};

/// What is asked of the hands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Request {
    /// To look at everything, with what is known already.
    Look(Known),
    /// To make a ticket for a disk whose serial number somebody typed.
    Ticket { which: String, typed: String },
    /// To make a file system, with these keys if it is to be encrypted, or what is in each of its partitions with keys of its own.
    Make { subject: String, order: Box<MakeOrder>, keys: Vec<FirstKeys> },
    /// To do something with the keys of an encrypted disk.
    Keys { device: String, uuid: String, work: Box<KeyWork> },
    /// To close what was opened for a manifest.
    Close { subject: String },
    /// To mount it.
    Mount { subject: String, mount: Box<Mount> },
    /// To change the options of a mount.
    Remount { subject: String, mount: Box<Mount> },
    /// To let a file system fill its disk.
    Grow { subject: String, mount: Box<Mount> },
    /// To tell a disk what is free.
    Trim { subject: String },
    /// To begin a scrub, or to go on with one.
    Scrub { subject: String, resumes: bool },
    /// To begin to fill a disk in the place of a lost half.
    Rebuild { subject: String, order: Box<RebuildOrder> },
    /// To make one file system on two encrypted halves.
    Join { subject: String, order: Box<JoinOrder> },
    /// To begin to keep everything twice again.
    Even { subject: String },
    /// To take a mount away.
    Unmount { subject: String },
    /// To do something for the reset of the machine.
    Reset(Box<ResetWork>),
}

impl Request {
    /// Returns true if what it begins goes on when it is answered.
    pub(super) const fn lasts(&self) -> bool {
        matches!(self, Self::Scrub { .. } | Self::Rebuild { .. } | Self::Even { .. })
    }
}

/// What is done with the keys of an encrypted disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum KeyWork {
    /// Tells its tokens of a TPM and of servers.
    Tokens,
    /// Tells whether a key opens it, and opens nothing.
    Try { key: Key, slot: Option<u8> },
    /// Opens it for a manifest.
    Open { subject: String, key: Key, discard: bool },
    /// Opens it for a manifest by a key that nobody keeps, and makes swap inside.
    OpenAnew { subject: String, discard: bool },
    /// Adds a key by one that opens it already.
    Add { with: Key, new: Key, is_chosen: bool, token: serde_json::Value },
    /// Takes a slot away by a key that opens another one, if it is still opened by this, and a recovery key was proved where
    /// one has to be.
    Remove { with: Key, slot: u8, what: String, proved: bool },
    /// Adds a recovery key that was made for it.
    Recovery { with: Key, made: Key },
    /// Takes down that somebody typed its recovery key. Others go with that, unless they are to be kept.
    Prove { key: Key, now: jiff::Timestamp, kept: bool },
}

/// What became of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// It was done.
    Done,
    /// What became of work with keys.
    Worked(Worked),
    /// What was seen, and what is known by now.
    Seen(Box<DisksView>, Known),
    /// A ticket, and the disk that it is for.
    Ticket(Box<DiskSeen>, Box<Ticket>),
    /// What there is to be reset.
    Reset(Box<ResetView>),
}

/// What one look leaves for the next.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Known {
    /// What was found, by device.
    found: BTreeMap<String, Found>,
    /// What disks said of their health and of their end before they fell asleep, by the number of their plugging-in.
    health: BTreeMap<u64, (HealthSeen, Option<String>)>,
    /// What is inside of encrypted disks that are open, by their UUID.
    inside: BTreeMap<String, Opened>,
}

/// What was found on a disk, and by what it shows that this still holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    seq: u64,
    size: u64,
    written: String,
    /// What was written to it where nobody of ours writes.
    #[serde(default)]
    writes: Option<Writes>,
    content: Content,
}

/// The hands of one process.
pub(super) struct Hands {
    pub(super) book: Book,
}

impl Known {
    /// Forgets what was found on a device.
    pub(super) fn forget(&mut self, device: &str) {
        self.found.retain(|name, it| name != device && !it.content.luks.iter().any(|luks| luks.device == device));
        self.inside.retain(|_, it| it.device != device);
    }
}

impl Known {
    /// Forgets what was found on disks with a table of partitions.
    pub(super) fn forget_parted(&mut self) {
        self.found.retain(|_, it| it.content.table.is_none());
    }

    /// Returns what was written to disks with partitions when they were looked at, by device.
    pub(super) fn writes(&self) -> BTreeMap<String, Writes> {
        self.found.iter().filter_map(|(device, it)| Some((device.clone(), it.writes.clone()?))).collect()
    }

    /// Forgets what was found on disks that are encrypted.
    pub(super) fn forget_keys(&mut self) {
        self.found.retain(|_, it| it.content.luks.is_empty());
    }
}

impl Hands {
    /// Returns hands that keep what is remembered of disks in this directory.
    pub(super) fn new(state: &Path) -> Self {
        encrypt::sweep();
        Self { book: Book::new(&state.join("disks")) }
    }

    /// Does what is asked.
    pub(super) async fn carry_out(&self, request: Request) -> Result<Answer, HostError> {
        match request {
            Request::Look(known) => return self.view(known).await,
            Request::Ticket { which, typed } => {
                let (disk, ticket) = self.wipe_ticket(&which, &typed).await?;
                return Ok(Answer::Ticket(Box::new(disk), Box::new(ticket)));
            }
            Request::Keys { device, uuid, work } => return self.work(&device, &uuid, *work).await.map(Answer::Worked),
            Request::Close { subject } => self.close(&subject).await?,
            Request::Make { subject, order, keys } => self.make_it(&subject, &order, &keys).await?,
            Request::Mount { subject, mount } => place::mount(&self.book, &subject, &mount).await?,
            Request::Remount { subject, mount } => place::remount(&self.book, &subject, &mount).await?,
            Request::Grow { subject, mount } => {
                parted::extend(&subject, &mount).await?;
                place::grow(&self.book, &subject, &mount).await?;
            }
            Request::Trim { subject } => place::trim(&self.book, &subject).await?,
            Request::Scrub { subject, resumes } => scrub::scrub(&self.book, &subject, resumes).await?,
            Request::Rebuild { subject, order } => self.rebuild(&subject, &order).await?,
            Request::Join { subject, order } => self.join(&subject, &order).await?,
            Request::Even { subject } => halves::even(self, &subject).await?,
            Request::Unmount { subject } => self.take_away(&subject).await?,
            Request::Reset(work) => return self.reset(*work).await,
        }
        Ok(Answer::Done)
    }

    /// Takes a mount of ours away, and forgets it. What was opened for it stays open: it may only move, and a person may have
    /// typed its key. A plan closes what no manifest means any more.
    async fn take_away(&self, subject: &str) -> Result<(), HostError> {
        match place::unmount(&self.book, subject).await? {
            Some(_) => self.book.forget(subject),
            None => Ok(()),
        }
    }

    async fn view(&self, mut known: Known) -> Result<Answer, HostError> {
        let mut disks = self.look(Some(&mut known)).await?;
        let book = self.book.read()?;
        let all = disks.iter_mut().flat_map(|it| &mut it.luks);
        all.for_each(|it| it.filling = book.filling.values().flatten().any(|header| *header == it.uuid));
        let table = Table::read()?;
        let mut mounts = Vec::new();
        for (subject, mount) in book.mounts {
            let at = mount.at.clone();
            let present = place::is_there(&mount, &disks, &table);
            let (total, used) = at.filter(|_| present).and_then(|at| place::room(&at)).unzip();
            let trims = present && place::trims(&mount);
            let trimmed = book.trimmed.get(&subject).copied();
            let begun = book.scrubbed.get(&subject).copied();
            let scrub = if present { scrub::seen(&mount, begun).await } else { None };
            let pair = if present { halves::seen(&mount, &disks).await } else { None };
            mounts.push(MountSeen { subject, mount, present, trims, trimmed, scrub, pair, total, used });
        }
        let one = |(subject, device)| Unlocked { subject, device };
        let unlocked = book.unlocked.into_iter().map(one).collect();
        let (tickets, making) = (book.tickets, book.making);
        let view = DisksView { disks, mounts, tickets, making, unlocked, now: clock::now(), ..DisksView::default() };
        Ok(Answer::Seen(Box::new(view), known))
    }

    async fn wipe_ticket(&self, which: &str, typed: &str) -> Result<(DiskSeen, Ticket), HostError> {
        let refuse = |message: String| Err(HostError::new(Reason::Refused, message));
        let disks = self.look(None).await?;
        let disk = named(&disks, which, typed).map_err(|why| HostError::new(Reason::Refused, why))?;
        if let Some(why) = in_use(disk) {
            return refuse(format!("{}: {why}; a disk in use is never erased", disk.name()));
        }
        let ticket = Ticket::new(format!("wipe-{}", &nonce()?[..24]), disk, clock::now());
        self.book.add_ticket(&ticket)?;
        Ok((disk.clone(), ticket))
    }

    /// Looks at all disks, and takes on trust only what is known of them.
    pub(super) async fn look(&self, known: Option<&mut Known>) -> Result<Vec<DiskSeen>, HostError> {
        let text = program::run("lsblk", tree::ARGUMENTS, LOOK).await?;
        let drives = tree::parse(&text).map_err(|why| HostError::new(Reason::Failed, why))?;
        let table = Table::read()?.with_halves(&halves::mounted());
        let (mut seen, mut nothing) = (Vec::new(), Known::default());
        let known = known.unwrap_or(&mut nothing);
        for drive in drives {
            seen.extend(look_at(drive, &table, known).await);
        }
        seen.sort_by(|one: &DiskSeen, other| one.device.cmp(&other.device));
        known.found.retain(|device, _| seen.iter().any(|disk| disk.device == *device));
        known.health.retain(|seq, _| seen.iter().any(|disk| disk.seq == *seq));
        let is_open = |uuid: &str| seen.iter().any(|it| it.luks(uuid).is_some_and(|it| it.opened.is_some()));
        known.inside.retain(|uuid, _| is_open(uuid));
        Ok(seen)
    }
}

/// Looks at one disk.
async fn look_at(drive: Drive, table: &Table, known: &mut Known) -> Option<DiskSeen> {
    let name = drive.node.name.clone();
    let attribute = |path: &str| fs::read_to_string(format!("/sys/block/{name}/{path}")).unwrap_or_default();
    let mut disk = drive.seen(&attribute)?;
    disk.ids = by_id(&name);
    disk.holders = drive.holders();
    let numbers: Vec<&str> = drive.numbers();
    disk.mounted = numbers.iter().flat_map(|number| table.places(number)).collect();
    // What is inside of what is encrypted has its name in a directory of its own.
    let names: Vec<String> =
        drive.nodes().iter().flat_map(|node| [node.name.clone(), format!("mapper/{}", node.name)]).collect();
    disk.mounted.extend(names.iter().flat_map(|it| table.places_of_its_other_half(it)));
    let paths: Vec<String> = names.iter().map(|it| format!("/dev/{it}")).collect();
    disk.mounted.extend(paths.iter().any(|path| table.swaps(path)).then(|| "swap".to_owned()));
    disk.system = disk.mounted.iter().any(|at| SYSTEM.contains(&at.as_str()));
    disk.mounted.sort();
    disk.mounted.dedup();
    let in_use = disk.system || !disk.holders.is_empty() || !disk.mounted.is_empty();
    let written = attribute("stat").split_whitespace().nth(6).unwrap_or_default().to_owned();
    let before = known.found.get(&name).filter(|it| it.seq == disk.seq && it.size == disk.identity.size);
    let parts: BTreeSet<String> = drive.partitions().into_iter().map(|it| it.name.clone()).collect();
    let is_used = |name: &str, number: &str| {
        !table.places(number).is_empty() || table.swaps(&format!("/dev/{name}")) || table.is_half(name)
    };
    let idle = drive.idle_partitions(is_used);
    let writes = Writes::count(&name, parts, |it| idle.contains(it));
    // The kernel may have heard of partitions since, or the other half of a state been replaced.
    let before =
        before.filter(|it| drive.partitions().iter().all(|part| it.content.partitions.contains_key(&part.name)));
    let before = before.filter(|it| it.content.fellows == tree::fellows(&drive.partitions()));
    // What a disk in use holds does not change, but for one that is being made a half of something, and by a hand.
    let is_half = |found: &Found| !table.is_half(&name) || found.content.half.as_ref().is_some_and(|it| it.number > 0);
    let by_hand =
        |found: &Found| writes.as_ref().is_some_and(|now| found.writes.as_ref().is_none_or(|it| it.is_outrun_by(now)));
    let written = before.filter(|_| in_use).map_or(written, |it| it.written.clone());
    let content = match before {
        Some(before) if (in_use && is_half(before) && !by_hand(before)) || (!in_use && before.written == written) => {
            Ok(before.content.clone())
        }
        _ => content::look(&name, &drive.partitions(), disk.identity.size, in_use).await,
    };
    match content {
        Ok(content) => {
            let place = |node: &Node| content.table.as_ref()?.parts.get(&node.name).cloned();
            let part = |node: &Node| Partition {
                device: node.name.clone(),
                name: place(node).map(|it| it.name).unwrap_or_default(),
                start: place(node).map_or(0, |it| it.start),
                size: node.size,
                joined: node.joined(),
                signatures: content.partitions.get(&node.name).cloned().unwrap_or_default(),
            };
            disk.partitions = drive.partitions().into_iter().map(part).collect();
            disk.signatures.clone_from(&content.signatures);
            disk.table = content.table.as_ref().map(|it| it.id.clone());
            disk.marker.clone_from(&content.marker);
            disk.half.clone_from(&content.half);
            disk.ends = content.ends;
            disk.luks = look_inside(&content.luks, known, table).await;
            let (seq, size) = (disk.seq, disk.identity.size);
            if content.ends != Ends::Unknown || in_use {
                let writes = writes.or_else(|| known.found.remove(&name)?.writes);
                known.found.insert(name, Found { seq, size, written, writes, content });
            }
        }
        Err(error) => disk.trouble = Some(format!("/dev/{name} can't be looked at: {}", error.message)),
    }
    match check::health(&disk.device).await {
        Health::Silent => {}
        Health::Told(seen, why) => drop(known.health.insert(disk.seq, (seen, why))),
    }
    (disk.health, disk.failing) = known.health.get(&disk.seq).cloned().map_or((None, None), |it| (Some(it.0), it.1));
    Some(disk)
}

/// Looks which encrypted disks are open. What is inside of one that stays open does not change, and asking would wake it.
async fn look_inside(closed: &[LuksSeen], known: &mut Known, table: &Table) -> Vec<LuksSeen> {
    let mut all = closed.to_vec();
    for luks in &mut all {
        let before = known.inside.remove(&luks.uuid);
        encrypt::look_inside(luks, before, table).await;
        if let Some(opened) = luks.opened.clone().filter(|it| !it.signatures.is_empty() && it.trouble.is_none()) {
            known.inside.insert(luks.uuid.clone(), opened);
        }
    }
    all
}

/// Says what uses a disk, if anything does.
pub(super) fn in_use(disk: &DiskSeen) -> Option<String> {
    if disk.system {
        return Some("the machine itself runs from it".to_owned());
    }
    if let Some(holder) = disk.holders.first() {
        return Some(format!("`{holder}` stands on it"));
    }
    disk.mounted.first().map(|at| format!("it is used at `{at}`"))
}

/// Returns the names that a disk has in `/dev/disk/by-id`.
fn by_id(name: &str) -> Vec<String> {
    let entries = fs::read_dir("/dev/disk/by-id").into_iter().flatten().flatten();
    let leads_here = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.file_name().is_some_and(|it| it == name))
    };
    let mut ids: Vec<String> =
        entries.filter(leads_here).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    ids.sort();
    ids
}

/// Returns a word that nobody had before.
///
/// # Errors
/// When the kernel gives no chance.
pub fn nonce() -> Result<String, HostError> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid");
    let text = text.map_err(|error| HostError::new(Reason::Failed, format!("The kernel gives no chance ({error})")))?;
    let word: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    if word.len() == 32 { Ok(word) } else { Err(HostError::new(Reason::Failed, "The kernel gives no chance")) }
}

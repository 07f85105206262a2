use std::sync::{Mutex, MutexGuard, PoisonError};

use piccolo_schema::install::Keep;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::power::{Power, Powered};
use crate::host::{
    DiskSeen, Ends, Halved, HostError, INSTALLING, Identity, InstallView, Installing, Installs, Marker, Order, Pace,
    Partition, Reason, RunsFrom, STATE, Signature, Standing, Target, Ticket, UNFINISHED,
};

/// The names of the partitions, the state last.
const NAMES: [&str; 6] = ["esp", "piccolo_1_v", "piccolo_1", "_empty", "_empty", UNFINISHED];

/// A stick in memory, and one disk beside it or two, whose power can be cut.
#[derive(Debug, Default)]
pub struct FakeStick(Mutex<Inner>, Notify);

#[derive(Debug, Default)]
struct Inner {
    disks: Vec<Beside>,
    tickets: Vec<Ticket>,
    power: Power,
    shown: Vec<String>,
    keys: usize,
    bad: bool,
    kept: Option<Keep>,
    hangs: bool,
    half_lost: bool,
    halved: Option<Halved>,
    lost_is_strange: bool,
}

/// A disk beside the stick.
#[derive(Debug, Default)]
struct Beside {
    target: Target,
    on_disk: OnDisk,
}

/// What is behind the names of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OnDisk {
    system: bool,
    identity: bool,
    key: Option<String>,
}

impl FakeStick {
    /// Returns a stick beside this disk.
    pub fn beside(disk: DiskSeen) -> Self {
        Self::beside_all([disk])
    }

    /// Returns a stick beside these disks.
    pub fn beside_all(disks: impl IntoIterator<Item = DiskSeen>) -> Self {
        let one = |disk| Beside { target: Target { disk, ..Target::default() }, ..Beside::default() };
        let disks = disks.into_iter().map(one).collect();
        Self(Mutex::new(Inner { disks, ..Inner::default() }), Notify::new())
    }

    /// Returns a disk of this size with nothing on it.
    pub fn blank(size: u64) -> DiskSeen {
        let identity = Identity { serial: "S4EVNX0N123456".to_owned(), wwn: String::new(), size };
        DiskSeen { device: "vdb".to_owned(), seq: 2, identity, ends: Ends::Zero, ..DiskSeen::default() }
    }

    /// Gives leave to erase the disk.
    pub fn give(&self, ticket: Ticket) {
        self.lock().tickets.push(ticket);
    }

    /// Has the power fail at this moment, counted from now; with none it stays.
    pub fn cut_at(&self, moment: Option<usize>) {
        self.lock().power.cut_at(moment);
    }

    /// Has what is read back be something else than what was written.
    pub fn spoil(&self) {
        self.lock().bad = true;
    }

    /// Has one of two disks no longer take part in the state from now on.
    pub fn lose_a_half(&self) {
        self.lock().half_lost = true;
    }

    /// Has the system run from two disks.
    pub fn run_from_two(&self, halved: Halved) {
        self.lock().halved = Some(halved);
    }

    /// Returns the disks that the state lies on.
    pub fn lies_on(&self) -> Vec<String> {
        self.lock().halved.clone().unwrap_or_default().halves.on
    }

    /// Returns true if the half that was lost belongs to the state no more.
    pub fn lost_is_strange(&self) -> bool {
        self.lock().lost_is_strange
    }

    /// Returns the first disk as it is.
    pub fn target(&self) -> Target {
        self.all_targets().into_iter().next().unwrap_or_default()
    }

    /// Returns all disks as they are.
    pub fn all_targets(&self) -> Vec<Target> {
        self.lock().disks.iter().map(|it| it.target.clone()).collect()
    }

    /// Returns the recovery key that opens a whole system on the first disk, none if there is no whole one.
    pub fn whole(&self) -> Option<String> {
        self.whole_on(0)
    }

    /// Returns the recovery key that opens a whole system on this disk, none if there is no whole one.
    pub fn whole_on(&self, at: usize) -> Option<String> {
        let it = self.lock();
        let Beside { target, on_disk } = it.disks.get(at)?;
        let is_named = target.names.last().is_some_and(|name| name == STATE);
        let is_whole = is_named && on_disk.system && on_disk.identity;
        on_disk.key.clone().filter(|_| is_whole)
    }

    /// Returns what came along.
    pub fn kept(&self) -> Option<Keep> {
        self.lock().kept
    }

    /// Returns how often something was changed.
    pub fn mutations(&self) -> u64 {
        self.lock().power.verbs()
    }

    /// Has the next installation come to its end without an answer.
    pub fn lose_the_next_answer(&self) {
        self.lock().hangs = true;
    }

    /// Answers from now on.
    pub fn calm(&self) {
        self.lock().hangs = false;
    }

    /// Returns what the screens showed.
    pub fn shown(&self) -> Vec<String> {
        self.lock().shown.clone()
    }

    /// Fails where a state on two disks lost one of them.
    fn are_both(&self, disks: &[DiskSeen]) -> Result<(), HostError> {
        let is_lost = disks.len() > 1 && self.lock().half_lost;
        if is_lost { Err(HostError::new(Reason::Failed, "One of the two takes no part in it")) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installs for FakeStick {
    fn obstacle(&self) -> Option<String> {
        None
    }

    async fn targets(&self) -> Result<Vec<Target>, HostError> {
        Ok(self.all_targets())
    }

    async fn tickets(&self) -> Result<Vec<Ticket>, HostError> {
        Ok(self.lock().tickets.clone())
    }

    async fn use_up(&self, ticket: &str, disk: &DiskSeen) -> Result<(), HostError> {
        let valid =
            self.lock().tickets.iter().any(|it| it.ticket == ticket && it.standing(disk, it.made) == Standing::Valid);
        if !valid {
            return Err(HostError::new(Reason::Refused, "The ticket is worth nothing"));
        }
        let used = |it: &mut Inner| {
            let of_it = it.tickets.iter_mut().filter(|it| it.ticket == ticket);
            of_it.for_each(|it| it.used = Some(it.made));
        };
        self.lock().verb(|_| {}, used)
    }

    async fn mark(&self, disk: &DiskSeen) -> Result<(), HostError> {
        if !self.all_targets().iter().any(|it| it.disk == *disk) {
            return Err(HostError::new(Reason::Refused, "It is not as it was seen"));
        }
        // The mark comes first, and then what else tells of the old content goes.
        let clear = |it: &mut Beside| it.target.disk.signatures.clear();
        self.lock().verb(|it| it.on(disk, Beside::mark), |it| it.on(disk, clear))
    }

    async fn write(&self, disks: &[DiskSeen], pace: Pace<'_>) -> Result<(), HostError> {
        // The names come last: until then all that tells of it is the mark.
        for disk in disks {
            let forget = |it: &mut Beside| it.on_disk = OnDisk::default();
            self.lock().verb(|it| it.on(disk, forget), |it| it.on(disk, Beside::write))?;
        }
        pace(1, 1);
        self.are_both(disks)
    }

    async fn read_back(&self, _disks: &[DiskSeen], pace: Pace<'_>) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |_| {})?;
        pace(1, 1);
        if self.lock().bad { Err(HostError::new(Reason::Failed, "It does not read back")) } else { Ok(()) }
    }

    async fn keep(&self, disks: &[DiskSeen], keep: Keep) -> Result<(), HostError> {
        // What is written to a state that lies on two disks is on both.
        let knows = |it: &mut Inner| {
            it.kept = Some(keep);
            disks.iter().for_each(|disk| it.on(disk, |it| it.on_disk.identity = true));
        };
        self.lock().verb(|_| {}, knows)?;
        self.are_both(disks)
    }

    async fn recovery(&self, disks: &[DiskSeen]) -> Result<Zeroizing<String>, HostError> {
        let mut it = self.lock();
        let key = format!("key-{}", it.keys + 1);
        let has = |it: &mut Inner| {
            it.keys += 1;
            disks.iter().for_each(|disk| it.on(disk, |it| it.on_disk.key = Some(key.clone())));
        };
        it.verb(|_| {}, has)?;
        drop(it);
        self.are_both(disks)?;
        Ok(key.into())
    }

    async fn finish(&self, disks: &[DiskSeen]) -> Result<(), HostError> {
        let counts = |it: &mut Beside| {
            if let Some(name) = it.target.names.last_mut() {
                STATE.clone_into(name);
            }
        };
        // The power may fail between the two all the same.
        disks.iter().try_for_each(|disk| self.lock().verb(|_| {}, |it| it.on(disk, counts)))
    }

    async fn halved(&self) -> Result<Option<Halved>, HostError> {
        Ok(self.lock().halved.clone())
    }

    async fn write_half(&self, disk: &DiskSeen, pace: Pace<'_>) -> Result<(), HostError> {
        let forget = |it: &mut Beside| it.on_disk = OnDisk::default();
        self.lock().verb(|it| it.on(disk, forget), |it| it.on(disk, Beside::write))?;
        pace(1, 1);
        Ok(())
    }

    async fn take_in(&self, disk: &DiskSeen) -> Result<(), HostError> {
        let strange = |it: &mut Inner| it.lost_is_strange = true;
        let joins = |it: &mut Inner| {
            let halves = it.halved.get_or_insert_default();
            halves.halves.on.retain(|it| *it != disk.device);
            halves.halves.on.push(disk.device.clone());
        };
        let counts = |it: &mut Beside| {
            if let Some(name) = it.target.names.last_mut() {
                STATE.clone_into(name);
            }
        };
        // The other UUID, the half, the table: the power may fail after each.
        self.lock().verb(|_| {}, strange)?;
        self.lock().verb(|_| {}, joins)?;
        self.lock().verb(|_| {}, |it| it.on(disk, counts))
    }

    fn show(&self, text: &str) {
        self.lock().shown.push(text.to_owned());
    }
}

/// The installer as a whole: the verbs in their order.
impl Installing for FakeStick {
    async fn installing(&self) -> Result<InstallView, HostError> {
        let it = self.lock();
        Ok(InstallView {
            runs_from: RunsFrom::Stick,
            version: Some("1".to_owned()),
            targets: it.disks.iter().map(|it| it.target.clone()).collect(),
            tickets: it.tickets.clone(),
            ..InstallView::default()
        })
    }

    async fn changed(&self) {
        self.1.notified().await;
    }

    async fn install(&self, order: &Order) -> Result<(), HostError> {
        let (targets, mut disks) = (self.all_targets(), Vec::new());
        for (select, wipe) in order.disks() {
            let Some(target) = targets.iter().find(|it| it.disk.fits(select)) else {
                return Err(HostError::new(Reason::Refused, "No disk is like that"));
            };
            if let Some(ticket) = wipe {
                self.use_up(ticket, &target.disk).await?;
            } else if !target.disk.is_blank() && !target.is_unfinished() {
                return Err(HostError::new(Reason::Refused, "It is not blank"));
            }
            disks.push(target.disk.clone());
        }
        for disk in &disks {
            self.mark(disk).await?;
        }
        self.write(&disks, &|_, _| {}).await?;
        self.read_back(&disks, &|_, _| {}).await?;
        self.keep(&disks, order.keep).await?;
        drop(self.recovery(&disks).await?);
        self.finish(&disks).await?;
        let hangs = std::mem::take(&mut self.lock().hangs);
        if hangs { std::future::pending().await } else { Ok(()) }
    }
}

impl Powered for Inner {
    fn power(&mut self) -> &mut Power {
        &mut self.power
    }
}

impl Inner {
    /// Does something with the disk that was plugged in as this one.
    fn on(&mut self, disk: &DiskSeen, does: impl FnOnce(&mut Beside)) {
        if let Some(it) = self.disks.iter_mut().find(|it| it.target.disk.seq == disk.seq) {
            does(it);
        }
    }
}

impl Beside {
    fn mark(&mut self) {
        let disk = &mut self.target.disk;
        disk.marker = Some(Marker { nonce: INSTALLING.to_owned(), first: true });
        disk.ends = Ends::Data;
        // What told of the old content lay at the beginning.
        disk.signatures.retain(|it: &Signature| it.offset >= 4096);
        disk.partitions.clear();
        self.target.names.clear();
    }

    fn write(&mut self) {
        self.on_disk.system = true;
        self.target.names = NAMES.map(str::to_owned).to_vec();
        let disk = &mut self.target.disk;
        (disk.marker, disk.ends) = (None, Ends::Data);
        disk.partitions = NAMES.map(|_| Partition::default()).to_vec();
    }
}

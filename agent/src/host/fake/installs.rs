use std::sync::{Mutex, MutexGuard, PoisonError};

use piccolo_schema::install::Keep;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::power::{Power, Powered};
use crate::host::{
    DiskSeen, Ends, HostError, INSTALLING, Identity, InstallView, Installing, Installs, Marker, Order, Pace, Partition,
    Reason, RunsFrom, STATE, Signature, Standing, Target, Ticket, UNFINISHED,
};

/// The names of the partitions, the state last.
const NAMES: [&str; 6] = ["esp", "piccolo_1_v", "piccolo_1", "_empty", "_empty", UNFINISHED];

/// A stick in memory, and one disk beside it, whose power can be cut.
#[derive(Debug, Default)]
pub struct FakeStick(Mutex<Inner>, Notify);

#[derive(Debug, Default)]
struct Inner {
    target: Target,
    tickets: Vec<Ticket>,
    on_disk: OnDisk,
    power: Power,
    shown: Vec<String>,
    keys: usize,
    bad: bool,
    kept: Option<Keep>,
    hangs: bool,
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
        let target = Target { disk, names: Vec::new() };
        Self(Mutex::new(Inner { target, ..Inner::default() }), Notify::new())
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

    /// Returns the disk as it is.
    pub fn target(&self) -> Target {
        self.lock().target.clone()
    }

    /// Returns the recovery key that opens a whole system on the disk, none if there is no whole one.
    pub fn whole(&self) -> Option<String> {
        let it = self.lock();
        let is_named = it.target.names.last().is_some_and(|name| name == STATE);
        let is_whole = is_named && it.on_disk.system && it.on_disk.identity;
        it.on_disk.key.clone().filter(|_| is_whole)
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Installs for FakeStick {
    fn obstacle(&self) -> Option<String> {
        None
    }

    async fn targets(&self) -> Result<Vec<Target>, HostError> {
        Ok(vec![self.target()])
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
        if self.target().disk != *disk {
            return Err(HostError::new(Reason::Refused, "It is not as it was seen"));
        }
        // The mark comes first, and then what else tells of the old content goes.
        self.lock().verb(Inner::mark, |it| it.target.disk.signatures.clear())
    }

    async fn write(&self, _disk: &DiskSeen, pace: Pace<'_>) -> Result<(), HostError> {
        // The names come last: until then all that tells of it is the mark.
        self.lock().verb(
            |it| it.on_disk = OnDisk::default(),
            |it| {
                it.on_disk.system = true;
                it.target.names = NAMES.map(str::to_owned).to_vec();
                it.target.disk.marker = None;
                it.target.disk.ends = Ends::Data;
                it.target.disk.partitions = NAMES.map(|_| Partition::default()).to_vec();
            },
        )?;
        pace(1, 1);
        Ok(())
    }

    async fn read_back(&self, _disk: &DiskSeen, pace: Pace<'_>) -> Result<(), HostError> {
        self.lock().verb(|_| {}, |_| {})?;
        pace(1, 1);
        if self.lock().bad { Err(HostError::new(Reason::Failed, "It does not read back")) } else { Ok(()) }
    }

    async fn keep(&self, _disk: &DiskSeen, keep: Keep) -> Result<(), HostError> {
        self.lock().verb(
            |_| {},
            |it| {
                it.on_disk.identity = true;
                it.kept = Some(keep);
            },
        )
    }

    async fn recovery(&self, _disk: &DiskSeen) -> Result<Zeroizing<String>, HostError> {
        self.lock().verb(
            |_| {},
            |it| {
                it.keys += 1;
                it.on_disk.key = Some(format!("key-{}", it.keys));
            },
        )?;
        Ok(self.lock().on_disk.key.clone().unwrap_or_default().into())
    }

    async fn finish(&self, _disk: &DiskSeen) -> Result<(), HostError> {
        self.lock().verb(
            |_| {},
            |it| {
                if let Some(name) = it.target.names.last_mut() {
                    STATE.clone_into(name);
                }
            },
        )
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
            targets: vec![it.target.clone()],
            tickets: it.tickets.clone(),
            ..InstallView::default()
        })
    }

    async fn changed(&self) {
        self.1.notified().await;
    }

    async fn install(&self, order: &Order) -> Result<(), HostError> {
        let Target { disk, names } = self.target();
        if let Some(ticket) = &order.wipe {
            self.use_up(ticket, &disk).await?;
        } else if !disk.is_blank() && !(Target { disk: disk.clone(), names }).is_unfinished() {
            return Err(HostError::new(Reason::Refused, "It is not blank"));
        }
        self.mark(&disk).await?;
        self.write(&disk, &|_, _| {}).await?;
        self.read_back(&disk, &|_, _| {}).await?;
        self.keep(&disk, order.keep).await?;
        drop(self.recovery(&disk).await?);
        self.finish(&disk).await?;
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
    fn mark(&mut self) {
        let disk = &mut self.target.disk;
        disk.marker = Some(Marker { nonce: INSTALLING.to_owned(), first: true });
        disk.ends = Ends::Data;
        // What told of the old content lay at the beginning.
        disk.signatures.retain(|it: &Signature| it.offset >= 4096);
        disk.partitions.clear();
        self.target.names.clear();
    }
}

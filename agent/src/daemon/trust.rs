//! The keys of this machine, and what the rest of the daemon is told of them.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::watch, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{Options, door};
use crate::{
    api::Trust,
    clock,
    host::{
        Above, StateSeen,
        linux::{Changes, Chip, Drives, Enrolment, Keyring, Logs, Slots, Starts, Vault, state_halves},
    },
    secrets::{Identity, Plain},
    store::{Event, Writer},
    trust::{
        DiskKey, DiskRebinding, DiskRecovery, DiskWish, Keeper, KeyFile, Pcrs, Quote, Rebinding, Rebound, Standing,
        StateStanding, TrustError, Verdict, Why, Wish,
    },
};

const SECRETS: &str = "secrets";
const AUTHORITY: &str = "authority";
/// How often it is looked whether a recovery key should be typed again.
const GLANCE: Duration = Duration::from_secs(3600);
/// How often it is looked at one that lies on two disks.
const HALVES: Duration = Duration::from_secs(10);

/// The keys of this machine, and who is told of them.
pub(super) struct Keys {
    keeper: Arc<Keeper<Chip>>,
    chip: Chip,
    /// Where keys are handed over to programs, in memory.
    memory: PathBuf,
    store: Arc<Writer>,
    /// How often keys of disks were changed here.
    changes: Arc<Changes>,
    /// Who looks after the disks of this machine.
    drives: OnceLock<Arc<Drives>>,
    /// How the encrypted state of the system stands, as whoever looks at disks tells it.
    state: watch::Sender<Option<StateSeen>>,
    /// True while it is told that the start is another one than keys are bound to.
    is_shut: AtomicBool,
}

/// What was measured, for those who look after disks.
struct Measurements(Arc<Keeper<Chip>>);

impl Starts for Measurements {
    fn changed(&self, pcrs: Pcrs) -> BoxFuture<'_, Option<String>> {
        Box::pin(self.0.changed(pcrs))
    }
}

/// Finds the chip and the keys of this machine.
pub(super) fn keeper(options: &Options, store: &Arc<Writer>) -> Keys {
    let keys = vec![
        KeyFile { name: SECRETS, path: options.identity_path() },
        KeyFile { name: AUTHORITY, path: options.state_dir.join("access").join("ca.key") },
    ];
    let lock = options.state_dir.join("trust").join("lock.json");
    let logs = Logs { firmware: options.event_log.clone(), system: options.system_log.clone() };
    let chip = Chip::new(options.tcti.as_deref()).with_logs(logs);
    let keeper = Arc::new(Keeper::new(chip.clone(), keys, lock));
    Keys {
        keeper,
        chip,
        memory: options.secrets_dir.clone(),
        store: Arc::clone(store),
        changes: Arc::default(),
        drives: OnceLock::new(),
        state: watch::Sender::new(None),
        is_shut: AtomicBool::default(),
    }
}

impl Keys {
    /// Opens the key of secrets, if it is sealed.
    pub(super) async fn open(&self) -> Result<Option<Identity>, String> {
        let Some(text) = self.opened(SECRETS).await.map_err(|error| error.to_string())? else { return Ok(None) };
        let key = Identity::parse(&text);
        key.map(Some).ok_or_else(|| "what is sealed is no key; open it with the recovery key and look".to_owned())
    }

    /// Opens the key of the authority, if it is sealed.
    pub(super) async fn authority(&self) -> door::Key {
        match self.opened(AUTHORITY).await {
            Ok(key) => Some(key.map(|it| Zeroizing::new(String::from_utf8_lossy(it.expose()).into_owned()))),
            Err(error) => {
                self.store.event(Event::new("CertificateUnusable", error.to_string()).warning());
                self.store.health("certificate", false, error.to_string());
                None
            }
        }
    }

    /// Returns what encrypted disks are opened with.
    pub(super) fn keyring(&self, vault: Vault) -> Keyring {
        let starts = Arc::new(Measurements(Arc::clone(&self.keeper)));
        Keyring::new(self.chip.clone(), vault)
            .counting(Arc::clone(&self.changes))
            .asking(starts)
            .telling(self.state.clone())
    }

    /// Says what the keys rest on.
    pub(super) fn tell(&self) {
        let standing = self.keeper.standing().on(self.state());
        let word = standing.level.reason().to_lowercase();
        self.store.health("trust", standing.is_well(), format!("{word}: {}", standing.message));
    }

    /// Says whether the start is another one than keys are bound to, where it is or was.
    async fn tell_start(&self) {
        if self.keeper.standing().is_well() && !self.is_shut.load(Ordering::SeqCst) {
            return;
        }
        let told = self.keeper.look().await.start();
        if self.is_shut.swap(told.is_some(), Ordering::SeqCst) || told.is_some() {
            let is_well = told.is_none();
            self.store.health("start", is_well, told.unwrap_or_else(|| "keys open as the machine started".to_owned()));
        }
    }

    /// Looks what changed since the last good start, writes it down, and keeps this one if it was good.
    pub(super) async fn remember(&self) {
        self.tell_start().await;
        let why = match self.keeper.remember(clock::now_text()).await {
            Ok(why) => why,
            Err(error) => return self.store.event(Event::new("StartNotKept", error.to_string()).warning()),
        };
        match why.verdict {
            Verdict::Changed => self.store.event(Event::new("StartChanged", why.message)),
            Verdict::Untold | Verdict::LogUntrue => self.store.event(Event::new("StartChanged", why.message).warning()),
            Verdict::NothingChanged | Verdict::NothingKept | Verdict::NoLog => {}
        }
    }

    /// Tells how the keys of the system's own disk stand, until the shutdown. May be dropped at any time.
    pub(super) async fn watch_state(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = self.state.subscribe();
        let mut told = Vec::new();
        let tell = async {
            loop {
                if let Some(state) = self.state() {
                    self.store.health("state", true, state.message());
                    let new = state.notes.iter().filter(|it| !told.contains(*it));
                    new.for_each(|it| self.store.event(Event::new(it.name, it.message.clone()).warning()));
                    told.clone_from(&state.notes);
                    self.tell();
                }
                // The day of a proof comes without anything being another way, and nothing tells of a half that is lost.
                let has_halves = seen.borrow().as_ref().is_some_and(|it| state_halves(&it.luks.device).is_some());
                drop(timeout(if has_halves { HALVES } else { GLANCE }, seen.changed()).await);
            }
        };
        shutdown.run_until_cancelled(tell).await;
    }

    /// Tells who looks after disks, which are opened with these keys.
    pub(super) fn look_after(&self, drives: &Arc<Drives>) {
        // There is one of them, and it is told once.
        drop(self.drives.set(Arc::clone(drives)));
    }

    /// Keeps this start for a good one, unless keys of the machine or of another of its disks don't open in it: whoever binds
    /// the last of them to it means it.
    pub(super) async fn mean_this_start(&self) {
        if !self.keeper.standing().is_well() {
            return;
        }
        let left = match self.drives.get() {
            Some(drives) => drives.unopened().await.map_err(|error| error.message),
            None => Ok(Vec::new()),
        };
        let kept = match left {
            Ok(left) if left.is_empty() => self.keeper.keep(clock::now_text()).await.map_err(|error| error.to_string()),
            Ok(left) => {
                let all = left.iter().map(|it| format!("/dev/{it}")).collect::<Vec<_>>().join(", ");
                Err(format!("the TPM is not known to open {all} in this start, so it does not count as a good one yet"))
            }
            Err(why) => Err(why),
        };
        if let Err(why) = kept {
            self.store.event(Event::new("StartNotKept", why).warning());
        }
    }

    async fn opened(&self, name: &'static str) -> Result<Option<Plain>, TrustError> {
        self.keeper.open(name).await
    }

    /// Returns who reaches disks where this process does not itself.
    fn outside(&self) -> Option<&Drives> {
        self.drives.get().map(Arc::as_ref).filter(|it| it.is_outside())
    }

    fn slots(&self, at: &DiskKey) -> (Slots, Plain) {
        let key = Plain::new(at.key.as_bytes().to_vec());
        (Slots::new(at.disk.clone(), self.memory.clone()), key)
    }

    /// Writes down that the slots of a disk are others now.
    fn changed(&self, disk: &Path, what: &str) {
        self.changes.count();
        self.store.event(Event::new("DiskKeysChanged", format!("{}: {what}", disk.display())));
    }

    /// Moves keys in a thread of its own, as files are written, to the end: whoever asked for it may be gone.
    async fn moved<F: Future<Output = Result<Standing, TrustError>>>(
        &self,
        event: Event,
        work: impl FnOnce(Arc<Keeper<Chip>>) -> F + Send + 'static,
    ) -> Result<Standing, String> {
        let (keeper, handle) = (Arc::clone(&self.keeper), Handle::current());
        let moved = spawn_blocking(move || handle.block_on(work(keeper))).await;
        self.tell();
        self.tell_start().await;
        let standing = moved.map_err(|_| "the daemon ends".to_owned())?.map_err(|error| error.to_string())?;
        self.store.event(event);
        Ok(standing)
    }
}

impl Trust for Keys {
    fn look(&self) -> BoxFuture<'_, Standing> {
        Box::pin(async { self.keeper.look().await.on(self.state()) })
    }

    fn state(&self) -> Option<StateStanding> {
        let seen = self.state.borrow().clone()?;
        Some(StateStanding::new(&seen, state_halves(&seen.luks.device).as_ref(), clock::now()))
    }

    fn quote<'a>(&'a self, nonce: &'a [u8], pcrs: Pcrs) -> BoxFuture<'a, Result<Quote, String>> {
        Box::pin(async move { self.keeper.quote(nonce, pcrs).await.map_err(|error| error.message) })
    }

    fn why(&self) -> BoxFuture<'_, Result<Why, String>> {
        Box::pin(async move { self.keeper.why().await.map_err(|error| error.to_string()) })
    }

    fn seal(&self, wish: Wish) -> BoxFuture<'_, Result<Standing, String>> {
        let event =
            Event::new("KeysSealed", "the keys of this machine open on its TPM alone, or with the recovery key");
        let now = clock::now_text();
        // Whoever seals keys means the start that they are sealed in.
        Box::pin(self.moved(event, move |keeper| async move {
            let standing = keeper.seal(&wish).await?;
            keeper.keep(now).await?;
            Ok(standing)
        }))
    }

    fn reseal(&self, wish: Rebinding) -> BoxFuture<'_, Result<Standing, String>> {
        let event = Event::new("KeysResealed", "the keys of this machine are bound to how it started this time");
        let now = clock::now_text();
        Box::pin(self.moved(event, move |keeper| async move { keeper.reseal(&wish, now).await }))
    }

    fn rebind(&self, wish: DiskRebinding) -> BoxFuture<'_, Result<Rebound, String>> {
        Box::pin(async move {
            let pin = wish.pin.as_deref().map(String::as_str);
            let rebound = if let Some(drives) = self.outside() {
                drives.rebind_at(&wish.disk, &wish.key, pin).await
            } else {
                let (slots, key) = self.slots(&DiskKey { disk: wish.disk.clone(), key: wish.key.clone() });
                slots.reseal(&self.chip, &key, pin).await
            };
            let rebound = rebound.map_err(|error| error.message)?;
            self.changed(&wish.disk, &rebound.to_string());
            if rebound.failed.is_none() {
                self.mean_this_start().await;
            }
            Ok(rebound)
        })
    }

    fn unseal(&self) -> BoxFuture<'_, Result<Standing, String>> {
        let event = Event::new("KeysUnsealed", "the keys of this machine lie in files that only root may read");
        Box::pin(self.moved(event.warning(), |keeper| async move { keeper.unseal().await }))
    }

    fn enrol(&self, wish: DiskWish) -> BoxFuture<'_, Result<u8, String>> {
        Box::pin(async move {
            let above = if wish.old_systemd { Above::Old } else { Above::Shared };
            let (pcrs, pin) = (wish.pcrs, wish.pin.as_deref().map(String::as_str));
            let signer = wish.signer().map_err(|error| error.to_string())?;
            let asked = Enrolment { pcrs, pin, above };
            let enrolled = if let Some(drives) = self.outside() {
                drives.enrol_at(&wish.disk, &wish.key, &asked, signer.as_ref()).await
            } else {
                let (slots, key) = self.slots(&DiskKey { disk: wish.disk.clone(), key: wish.key.clone() });
                slots.enrol_signed(&self.chip, &key, &asked, signer.as_ref()).await.map(|token| token.slot)
            };
            let slot = enrolled.map_err(|error| error.message)?;
            self.changed(&wish.disk, &format!("the TPM opens slot {slot}, registers {pcrs}"));
            Ok(slot)
        })
    }

    fn recovery(&self, at: DiskKey) -> BoxFuture<'_, Result<DiskRecovery, String>> {
        Box::pin(async move {
            let made = if let Some(drives) = self.outside() {
                drives.recovery_at(&at.disk, &at.key).await
            } else {
                let (slots, key) = self.slots(&at);
                let made = slots.recovery_key(&key).await;
                made.map(|(slot, made)| {
                    (slot, Zeroizing::new(String::from_utf8_lossy(made.text().expose()).into_owned()))
                })
            };
            let (slot, recovery_key) = made.map_err(|error| error.message)?;
            self.changed(&at.disk, &format!("a recovery key opens slot {slot}"));
            Ok(DiskRecovery { slot, recovery_key })
        })
    }

    fn forget(&self, at: DiskKey, slot: u8) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let killed = if let Some(drives) = self.outside() {
                drives.forget_at(&at.disk, &at.key, slot).await
            } else {
                let (slots, key) = self.slots(&at);
                slots.kill(slot, &key).await
            };
            killed.map_err(|error| error.message)?;
            self.changed(&at.disk, &format!("slot {slot} opens no more"));
            Ok(())
        })
    }
}

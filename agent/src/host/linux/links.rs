//! Links of this machine: the kernel tells what is there, networkd sets up what our files say.

mod checks;
mod files;
mod kernel;
mod keys;
mod listen;
mod proof;
mod trial;
mod watch;
mod wifi;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use piccolo_schema::link::{KeyFrom, Security};
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};

use self::{files::Places, keys::Keys, proof::SETTLES, watch::Watch, wifi::Radios};
pub use self::{
    keys::filled as with_password,
    trial::{Restored, TrialBook, put_links_back},
};
use super::{program::run, vault::Vault};
use crate::{
    clock,
    host::{CheckSeen, DeviceSeen, HostError, Links, LinksView, PREFIX, Reason, TrialSeen, Unit, Way, WifiFile},
};

/// How long networkd may take to take a word.
const PATIENCE: Duration = Duration::from_secs(20);
/// After which time a link is looked at again that networkd still works on: nobody tells when it is done.
const RECHECK: Duration = Duration::from_secs(2);

/// Its words for a link that it works on.
const UNDER_WAY: [&str; 3] = [files::UNHEARD, "initialized", "configuring"];

/// The links of this machine.
pub struct Networkd {
    places: Places,
    keys: Keys,
    radios: Radios,
    book: TrialBook,
    /// One at a time speaks to networkd.
    turn: Mutex<()>,
    hint: Arc<Notify>,
    /// Wakes whoever waits for a change to be on trial.
    begun: Notify,
    /// When networkd was told of something last.
    told: Arc<std::sync::Mutex<Instant>>,
    /// What was found last of whether the machine can be reached, while a change is on trial.
    checks: Arc<std::sync::Mutex<Vec<CheckSeen>>>,
    watched: Arc<AtomicBool>,
    busy: AtomicBool,
    /// Whether no file is ours.
    idle: AtomicBool,
}

impl Networkd {
    /// Returns the links of this machine, and listens to what the kernel tells of them until it is dropped.
    pub fn open(vault: Vault, state_dir: &Path) -> Self {
        let hint = Arc::new(Notify::new());
        tokio::spawn(listen::follow(Arc::downgrade(&hint)));
        let places = Places::default();
        let book = TrialBook::of(state_dir);
        let links = Self {
            places,
            keys: Keys::new(vault),
            radios: Radios::default(),
            book,
            turn: Mutex::default(),
            hint,
            begun: Notify::new(),
            told: Arc::new(std::sync::Mutex::new(Instant::now())),
            checks: Arc::default(),
            watched: Arc::default(),
            busy: AtomicBool::new(false),
            idle: AtomicBool::new(true),
        };
        // One that began before this daemon did goes on.
        links.watch();
        links.begun.notify_one();
        tokio::spawn(trial::rearm(links.book.clone()));
        links
    }

    /// Watches the change that is on trial, if one is.
    fn watch(&self) {
        let watch = Watch {
            places: self.places.clone(),
            book: self.book.clone(),
            hint: Arc::downgrade(&self.hint),
            told: Arc::clone(&self.told),
            found: Arc::clone(&self.checks),
            on: Arc::clone(&self.watched),
        };
        tokio::spawn(watch.run());
    }

    /// Keeps what is tried: the change of this name, or whichever it is if none is named. Each of the `ways` has
    /// to show that the machine is reached; without any, a person on this machine says so.
    ///
    /// # Errors
    /// When nothing is tried, or another change, when its time is over, and with [`Reason::InUse`] when the change is not in
    /// force yet, or the way is older than it.
    pub async fn confirm(&self, trial: Option<&str>, ways: &[Way]) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        if !ways.is_empty() {
            // Whoever names none has not seen it, and may mean what is over by now.
            if trial.is_none() {
                let message =
                    "Over a network the change is to be named that is confirmed; `piccolo net` shows whether one waits";
                return Err(HostError::new(Reason::Refused, message));
            }
            let (view, told, now) = (self.looked().await?, self.told().into_std(), Instant::now().into_std());
            ways.iter().try_for_each(|way| proof::judge(way, &view, told, now))?;
        }
        let (book, id) = (self.book.clone(), trial.map(str::to_owned));
        blocking(move || book.confirm(id.as_deref(), &clock::uptime())).await?;
        trial::disarm().await;
        self.hint.notify_one();
        Ok(())
    }

    /// Has what nobody confirmed tried once more.
    ///
    /// # Errors
    /// When it can't be forgotten.
    pub async fn retry(&self) -> Result<(), HostError> {
        let book = self.book.clone();
        blocking(move || book.forget_refused()).await?;
        self.hint.notify_one();
        Ok(())
    }

    /// Returns what is tried, and whether it is in force: whatever reaches the machine by a way that is made from now on
    /// shows that it is reached with it.
    ///
    /// # Errors
    /// When the machine can't be looked at.
    pub async fn on_trial(&self) -> Result<Option<(TrialSeen, bool)>, HostError> {
        let _turn = self.turn.lock().await;
        let view = self.looked().await?;
        let in_force = proof::in_force(&view, self.told().into_std(), Instant::now().into_std()).is_ok();
        Ok(view.trial.map(|trial| (trial, in_force)))
    }

    /// Sets the timer of a new trial, or ends the trial: nothing was changed yet.
    async fn arm(&self, left: Duration) -> Result<(), HostError> {
        // One that is left over from an earlier trial would keep this one from having its own.
        trial::disarm().await;
        let Err(error) = trial::arm(left, self.book.root()).await else { return Ok(()) };
        let book = self.book.clone();
        blocking(move || book.give_up()).await?;
        let message = format!("Nothing would put the change back, so it is not made: {}", error.message);
        Err(HostError::new(error.reason, message))
    }

    /// Waits until a change is on trial, also one that was when the daemon started.
    pub async fn trial_begins(&self) {
        self.begun.notified().await;
    }

    async fn tell(&self, words: &[&str]) -> Result<(), HostError> {
        let done = run("networkctl", words, PATIENCE).await.map(drop);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        done
    }

    /// Looks at all but secrets.
    async fn looked(&self) -> Result<LinksView, HostError> {
        let (places, book) = (self.places.clone(), self.book.clone());
        let mut devices = kernel::devices().await?;
        blocking(move || {
            let mut view = LinksView { problem: places.problem(), units: places.units()?, ..LinksView::default() };
            view.loaded = places.loaded()?;
            (view.trial, view.refused) = book.seen(&clock::uptime())?;
            view.failed = book.failed()?;
            for device in &mut devices.all {
                places.describe(device);
            }
            view.reached_by = devices.reached();
            view.devices = devices.into_seen();
            Ok(view)
        })
        .await
    }

    fn told(&self) -> Instant {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links for Networkd {
    async fn links(&self) -> Result<LinksView, HostError> {
        let mut view = self.looked().await?;
        if let Some(trial) = &mut view.trial {
            trial.checks.clone_from(&self.checks.lock().unwrap_or_else(PoisonError::into_inner));
        }
        (view.secrets, view.keys) = self.keys.seen().await?;
        view.wifi = self.radios.seen().await?;
        view.no_wifi = self.radios.missing();
        let settling = self.told().elapsed() < SETTLES;
        for device in &mut view.devices {
            let works = device.setup.as_deref().is_some_and(|it| UNDER_WAY.contains(&it));
            device.settling = settling && works;
        }
        let ours = |unit: &String| unit.contains(PREFIX);
        let unheard = |device: &DeviceSeen| device.setup.as_deref() == Some(files::UNHEARD);
        let idle = view.units.iter().all(|unit| unit.subject.is_none());
        let works = |device: &DeviceSeen| device.settling && device.unit.as_ref().is_some_and(ours);
        let busy = !idle && view.devices.iter().any(|device| unheard(device) || works(device));
        self.busy.store(busy, Ordering::Relaxed);
        self.idle.store(idle, Ordering::Relaxed);
        Ok(view)
    }

    async fn changed(&self) {
        if self.busy.load(Ordering::Relaxed) {
            drop(tokio::time::timeout(RECHECK, self.hint.notified()).await);
            return;
        }
        // Containers come and go on links of their own: that is nobody's business where no file is ours.
        loop {
            self.hint.notified().await;
            if !self.idle.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn begin_trial(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        // That networkd had read the same files once, before they were put back, is no sign that they are in force.
        let (places, name, tried) = (self.places.clone(), subject.to_owned(), digest.to_owned());
        blocking(move || places.forget_loaded(&name, &tried)).await?;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        // What works before the change is what has to work with it. Where that can't be told, only its time counts.
        let checks = checks::look(&seen(&self.places).await.unwrap_or_default()).await;
        let before: BTreeSet<String> = checks.into_iter().filter(|it| it.passes).map(|it| it.name).collect();
        let (book, subject, digest) = (self.book.clone(), subject.to_owned(), digest.to_owned());
        let begun = blocking(move || book.begin(&subject, &digest, &before, &clock::uptime(), clock::now())).await?;
        // Whatever joins is put back with the one that runs, by the timer of that one.
        if !begun.joined {
            self.arm(begun.left).await?;
        }
        self.watch();
        self.begun.notify_one();
        Ok(())
    }

    async fn write_units(&self, subject: &str, units: &[Unit], digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let (places, book, subject, units) =
            (self.places.clone(), self.book.clone(), subject.to_owned(), units.to_vec());
        let digest = digest.to_owned();
        let goes = units.is_empty().then(|| subject.clone());
        let made = blocking(move || {
            // What is put back right now must not be written over.
            let _lock = book.lock()?;
            book.allows(&subject, &digest, &clock::uptime())?;
            let made = places.makes(&subject);
            places.write(&subject, &units)?;
            Ok(made)
        })
        .await?;
        // Another's load may have made the link anew after it was found to be gone.
        match goes {
            Some(name) if made => kernel::remove(&name).await,
            _ => Ok(()),
        }
    }

    async fn write_key(&self, subject: &str, from: &KeyFrom, digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let (book, subject, digest) = (self.book.clone(), subject.to_owned(), digest.to_owned());
        let name = subject.clone();
        // What is put back right now must not be written over.
        let _lock = blocking(move || {
            let lock = book.lock()?;
            book.allows_key(&name, &digest, &clock::uptime())?;
            book.touch_key(&name)?;
            Ok(lock)
        })
        .await?;
        self.keys.write(&subject, from).await
    }

    async fn check_password(&self, from: &KeyFrom, security: Security) -> Result<(), HostError> {
        self.keys.password(from, security).await.map(drop)
    }

    async fn write_wifi(&self, subject: &str, file: &WifiFile, digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let text = self.keys.fill(file).await?;
        let (book, radios, digest) = (self.book.clone(), self.radios.clone(), digest.to_owned());
        let (subject, device, made) = (subject.to_owned(), file.device.clone(), file.digest.clone());
        blocking(move || {
            // What is put back right now must not be written over.
            let _lock = book.lock()?;
            book.allows(&subject, &digest, &clock::uptime())?;
            book.touch(&device)?;
            radios.write(&subject, &device, &text, &made)
        })
        .await
    }

    async fn serve_wifi(&self, device: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let done = self.radios.serve(device).await;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        done
    }

    async fn remove_wifi(&self, subject: &str, device: &str, digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let (book, name, digest, of) = (self.book.clone(), subject.to_owned(), digest.to_owned(), device.to_owned());
        // Held to the end: what is put back meanwhile must not be removed.
        let _lock = blocking(move || {
            let lock = book.lock()?;
            book.allows(&name, &digest, &clock::uptime())?;
            book.touch(&of)?;
            Ok(lock)
        })
        .await?;
        self.radios.remove(subject, device).await
    }

    async fn load(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.tell(&["reload"]).await?;
        let (places, subject, digest) = (self.places.clone(), subject.to_owned(), digest.to_owned());
        blocking(move || places.note_loaded(&subject, &digest)).await
    }

    async fn reconfigure(&self, device: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        self.tell(&["reconfigure", device]).await
    }

    async fn remove_device(&self, subject: &str) -> Result<(), HostError> {
        let _turn = self.turn.lock().await;
        let (places, name) = (self.places.clone(), subject.to_owned());
        if !blocking(move || Ok(places.makes(&name))).await? {
            return Err(HostError::new(Reason::Refused, format!("No file of ours makes the link `{subject}`")));
        }
        kernel::remove(subject).await
    }
}

/// Returns the links as they are now.
async fn seen(places: &Places) -> Result<Vec<DeviceSeen>, HostError> {
    let (places, mut devices) = (places.clone(), kernel::devices().await?);
    blocking(move || {
        for device in &mut devices.all {
            places.describe(device);
        }
        Ok(devices.into_seen())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(HostError::new(Reason::Failed, "The work on links was broken off")))
}

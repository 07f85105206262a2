//! Changes of links that are put back unless somebody confirms them.
//!
//! All there is of a trial is one file, which is there whole or not at all: what our files of networkd said before, and
//! until when the change may stay. A timer of systemd, not the daemon, runs `piccolod net-restore` when the time is over; a
//! unit does so at the start of the machine, before networkd reads its files. Both do the same as often as they are
//! asked, and the file goes last.

#[cfg(test)]
mod tests;
mod timer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::timer::put_links_back;
pub(super) use self::timer::{arm, disarm, rearm};
use super::{
    files::{Places, names, put, read, unwritable},
    keys::{KeptKey, KeyFiles},
    wifi::{Kept, Radios},
};
use crate::{
    clock::{self, Uptime},
    file,
    host::{HostError, KEYS, Reason, TrialSeen, Unit, UnitSeen},
};

/// How long a change may stay that nobody confirms.
const TIME: Duration = Duration::from_secs(90);
/// How the names of changes of links begin.
const CHANGE: &str = "net-";

/// Where trials are kept.
#[derive(Clone, Debug)]
pub struct TrialBook {
    root: PathBuf,
    /// The directory of our files of networkd.
    units: PathBuf,
    /// Our files of wpa_supplicant.
    pub(super) radios: Radios,
    /// The keys that networkd was given.
    keys: KeyFiles,
    /// What tells networkd to read its files.
    pub(super) networkctl: String,
}

/// A change that is on trial from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The time that is left.
    pub left: Duration,
    /// Whether another one runs already, and its timer with it.
    pub joined: bool,
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The names of the files that changed.
    pub files: Vec<String>,
    /// The links that were made, or were to be made otherwise, or with another key: networkd does not change one that is
    /// there.
    pub devices: BTreeSet<String>,
    /// The ports whose network may be another one.
    pub radios: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trial {
    /// What a confirmation names.
    #[serde(default)]
    id: String,
    begun: Uptime,
    until: String,
    tried: BTreeMap<String, String>,
    units: Vec<Unit>,
    /// By port, our files of wpa_supplicant that were changed since, as they were. The file of a trial is root's alone, as
    /// they are, and goes with it.
    #[serde(default)]
    wifi_before: BTreeMap<String, Option<Kept>>,
    /// By link, the keys of networkd that were changed since, as they were. They go with the file of the trial too.
    #[serde(default)]
    keys_before: BTreeMap<String, Option<KeptKey>>,
    /// What worked before.
    #[serde(default)]
    before: BTreeSet<String>,
    /// What worked no more, so that it is over before its time.
    #[serde(default)]
    failed: Option<String>,
}

impl TrialBook {
    /// Returns the book in this directory, for the files in that one, and the keys in the last.
    pub fn new(root: PathBuf, units: PathBuf, radios: Radios, keys: PathBuf) -> Self {
        Self { root, units, radios, keys: KeyFiles::new(keys), networkctl: "networkctl".to_owned() }
    }

    /// Returns the book of the machine whose state is in this directory.
    pub fn of(state_dir: &Path) -> Self {
        Self::new(state_dir.join("net-try"), Places::default().ours(), Radios::default(), KEYS.into())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps everybody else from what is tried and put back, until it is dropped.
    pub(super) fn lock(&self) -> Result<File, HostError> {
        let failed = |error: io::Error| unwritable(&self.root, &error);
        fs::create_dir_all(&self.root).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(self.root.join("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(lock)
    }

    /// Writes down what our files say now, or has a change join the trial that runs. That has another
    /// name from then on: who was to confirm the one has seen nothing of the other.
    ///
    /// # Errors
    /// When that can't be written, or the time of the trial that runs is over.
    pub fn begin(
        &self,
        subject: &str,
        digest: &str,
        before: &BTreeSet<String>,
        now: &Uptime,
        clock: Timestamp,
    ) -> Result<Begun, HostError> {
        let _lock = self.lock()?;
        let running = self.trial()?;
        let joined = running.is_some();
        let mut trial = match running {
            Some(trial) => trial,
            None => Trial {
                id: String::new(),
                begun: now.clone(),
                until: clock::text(clock.checked_add(TIME).unwrap_or(clock)),
                tried: BTreeMap::new(),
                units: self.ours()?,
                wifi_before: BTreeMap::new(),
                keys_before: BTreeMap::new(),
                before: before.clone(),
                failed: None,
            },
        };
        let left = left(&trial, now);
        if left.is_zero() {
            let message = "What nobody confirmed is being put back; it is tried again after that";
            return Err(HostError::new(Reason::InUse, message));
        }
        trial.id = format!("{CHANGE}{:06x}", fastrand::u32(..1 << 24));
        trial.tried.insert(subject.to_owned(), digest.to_owned());
        self.save("trial.json", &trial)?;
        Ok(Begun { left, joined })
    }

    /// Says whether a change may still be made: not while another is put back, nor once it was put back itself, which a daemon
    /// that was stopped in between does not know.
    pub(super) fn allows(&self, subject: &str, digest: &str, now: &Uptime) -> Result<(), HostError> {
        let trial = self.trial()?;
        let refused: BTreeMap<String, String> = self.load("refused.json")?.unwrap_or_default();
        let is_over = trial.as_ref().is_some_and(|trial| left(trial, now).is_zero());
        if is_over || (trial.is_none() && refused.get(subject).map(String::as_str) == Some(digest)) {
            let message = "It was tried and nobody confirmed it; what was before is put back";
            return Err(HostError::new(Reason::Refused, message));
        }
        Ok(())
    }

    /// Says the same of a change of a key. Where there is none, as after a start of the machine, nothing was put back that
    /// it could undo.
    pub(super) fn allows_key(&self, subject: &str, digest: &str, now: &Uptime) -> Result<(), HostError> {
        let is_first = self.trial()?.is_none() && !self.keys.has(subject);
        if is_first { Ok(()) } else { self.allows(subject, digest, now) }
    }

    /// Writes down what the file of wpa_supplicant for a port says, which is about to change, if a trial runs: it is put back
    /// with it.
    pub(super) fn touch(&self, device: &str) -> Result<(), HostError> {
        let Some(mut trial) = self.trial()? else { return Ok(()) };
        if trial.wifi_before.contains_key(device) {
            return Ok(());
        }
        trial.wifi_before.insert(device.to_owned(), self.radios.kept(device)?);
        self.save("trial.json", &trial)
    }

    /// Writes down the key of a link, which is about to change, if a trial runs: it is put back with it.
    pub(super) fn touch_key(&self, subject: &str) -> Result<(), HostError> {
        let Some(mut trial) = self.trial()? else { return Ok(()) };
        if trial.keys_before.contains_key(subject) {
            return Ok(());
        }
        trial.keys_before.insert(subject.to_owned(), self.keys.kept(subject)?);
        self.save("trial.json", &trial)
    }

    /// Ends the trial, and what was tried stays: of this name, or of any if none is given.
    ///
    /// # Errors
    /// When there is none, or another one, or its time is over.
    pub fn confirm(&self, id: Option<&str>, now: &Uptime) -> Result<(), HostError> {
        let _lock = self.lock()?;
        match self.trial()? {
            Some(trial) if id.is_some_and(|id| id != trial.id) => {
                Err(HostError::new(Reason::Gone, format!("Another change is on trial by now, `{}`", trial.id)))
            }
            Some(trial) if !left(&trial, now).is_zero() => self.end(),
            Some(_) => Err(HostError::new(Reason::TimedOut, "It is too late: what was before is being put back")),
            None => Err(HostError::new(Reason::Gone, "No change of links waits to be confirmed")),
        }
    }

    /// Returns what worked before the change that is on trial; nothing if none is.
    pub(super) fn before(&self, now: &Uptime) -> Result<Option<BTreeSet<String>>, HostError> {
        Ok(self.trial()?.filter(|trial| !left(trial, now).is_zero()).map(|trial| trial.before))
    }

    /// Returns the time that is left to the trial: none if it is over and not put back. `None` if there is no trial.
    pub(super) fn left(&self, now: &Uptime) -> Result<Option<Duration>, HostError> {
        Ok(self.trial()?.map(|trial| left(&trial, now)))
    }

    /// Writes down that something works no more, so that the time of the trial is over.
    pub(super) fn fail(&self, why: &str) -> Result<(), HostError> {
        let _lock = self.lock()?;
        let Some(mut trial) = self.trial()? else { return Ok(()) };
        trial.failed = Some(why.to_owned());
        self.save("trial.json", &trial)
    }

    /// Returns what worked no more with changes that were put back, by manifest.
    pub(super) fn failed(&self) -> Result<BTreeMap<String, String>, HostError> {
        Ok(self.load("failed.json")?.unwrap_or_default())
    }

    /// Ends a trial before anything was changed.
    pub(super) fn give_up(&self) -> Result<(), HostError> {
        let _lock = self.lock()?;
        self.end()
    }

    /// Returns the trial that runs, and what was put back before.
    pub(super) fn seen(&self, now: &Uptime) -> Result<(Option<TrialSeen>, BTreeMap<String, String>), HostError> {
        let trial = self.trial()?.filter(|trial| !left(trial, now).is_zero());
        Ok((
            trial.map(|it| TrialSeen { id: it.id, until: it.until, tried: it.tried, checks: Vec::new() }),
            self.load("refused.json")?.unwrap_or_default(),
        ))
    }

    /// Has what was put back be tried again.
    pub(super) fn forget_refused(&self) -> Result<(), HostError> {
        let _lock = self.lock()?;
        for name in ["failed.json", "refused.json"] {
            let path = self.root.join(name);
            file::gone(fs::remove_file(&path)).map_err(|error| unwritable(&path, &error))?;
        }
        Ok(())
    }

    /// Puts back what was before, if a trial's time is over or the machine was started since. `None` if there is nothing
    /// to put back. May be broken off at any moment and repeated; the trial is over when `finish` was called.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn restore(&self, now: &Uptime) -> Result<Option<Restored>, HostError> {
        let _lock = self.lock()?;
        let Some(trial) = self.trial()?.filter(|trial| left(trial, now).is_zero()) else { return Ok(None) };
        // First of all, or the daemon would do the same change again.
        let mut refused: BTreeMap<String, String> = self.load("refused.json")?.unwrap_or_default();
        refused.extend(trial.tried.clone());
        self.save("refused.json", &refused)?;
        let earlier = self.failed()?;
        let mut failed = earlier.clone();
        failed.retain(|subject, _| !trial.tried.contains_key(subject));
        failed.extend(trial.failed.iter().flat_map(|why| trial.tried.keys().map(|it| (it.clone(), why.clone()))));
        if failed != earlier {
            self.save("failed.json", &failed)?;
        }
        let mut restored = Restored::default();
        // A key before the file that has networkd read it.
        let keys = self.keys.put_back(&trial.keys_before)?;
        restored.files.extend(keys.iter().map(|it| format!("{it}.key")));
        restored.devices.extend(trial.keys_before.into_keys());
        let there = self.ours()?;
        let changed = |unit: &&Unit| !trial.units.contains(unit);
        for unit in there.iter().filter(changed).filter(|unit| !trial.units.iter().any(|it| it.name == unit.name)) {
            let path = self.units.join(&unit.name);
            file::gone(fs::remove_file(&path)).map_err(|error| unwritable(&path, &error))?;
            restored.note(&unit.name);
        }
        for unit in trial.units.iter().filter(|unit| !there.contains(unit)) {
            let path = self.units.join(&unit.name);
            put(&path, &unit.text).map_err(|error| unwritable(&path, &error))?;
            restored.note(&unit.name);
        }
        if let Ok(home) = File::open(&self.units) {
            home.sync_all().map_err(|error| unwritable(&self.units, &error))?;
        }
        restored.files.extend(self.radios.put_back(&trial.wifi_before)?);
        restored.radios = trial.wifi_before.into_keys().collect();
        Ok(Some(restored))
    }

    /// Ends a trial whose files are back. One that began since, as somebody else had ended this one, goes on.
    ///
    /// # Errors
    /// When its file can't be removed.
    pub fn finish(&self, now: &Uptime) -> Result<(), HostError> {
        let _lock = self.lock()?;
        if self.left(now)?.is_some_and(|left| !left.is_zero()) {
            return Ok(());
        }
        self.end()
    }

    fn end(&self) -> Result<(), HostError> {
        let path = self.root.join("trial.json");
        let removed = file::gone(fs::remove_file(&path))
            .and_then(|()| file::sweep(&path))
            .and_then(|()| File::open(&self.root)?.sync_all());
        removed.map_err(|error| unwritable(&path, &error))
    }

    fn trial(&self) -> Result<Option<Trial>, HostError> {
        self.load("trial.json")
    }

    /// Returns our files as they are.
    fn ours(&self) -> Result<Vec<Unit>, HostError> {
        let failed = |error: io::Error| unwritable(&self.units, &error);
        let mut all = Vec::new();
        for name in names(&self.units).map_err(failed)? {
            let text = read(&self.units.join(&name)).map_err(failed)?;
            let seen = UnitSeen::of("", &name, text);
            if seen.subject.is_some() && (name.ends_with(".network") || name.ends_with(".netdev")) {
                all.push(Unit { name, text: seen.text });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, HostError> {
        let path = self.root.join(name);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map(Zeroizing::new).map_err(|error| unwritable(&path, &error))?,
        };
        let unusable = |error| HostError::new(Reason::Failed, format!("`{}` is damaged ({error})", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(unusable)
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), HostError> {
        let path = self.root.join(name);
        // It may hold passwords and keys.
        let bytes = serde_json::to_vec(value).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| HostError::new(Reason::Failed, error.to_string()))?;
        file::replace(&path, &bytes).map_err(|error| unwritable(&path, &error))
    }
}

impl Restored {
    fn note(&mut self, file: &str) {
        self.files.push(file.to_owned());
        let made = file.strip_prefix(crate::host::PREFIX).and_then(|it| it.strip_suffix(".netdev"));
        self.devices.extend(made.map(str::to_owned));
    }
}

/// Returns how long a trial goes on; nothing if the machine was started since, or something worked no more.
fn left(trial: &Trial, now: &Uptime) -> Duration {
    if trial.failed.is_some() {
        return Duration::ZERO;
    }
    now.since(&trial.begun).map_or(Duration::ZERO, |passed| TIME.saturating_sub(passed))
}

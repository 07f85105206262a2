//! Links in memory, and a networkd that knows as much of its files as ours say.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
};

use piccolo_schema::link::{KeyFrom, Security};
use tokio::sync::Notify;

use crate::host::{
    DeviceSeen, HostError, Links, LinksView, Reason, RouteSeen, TrialSeen, Unit, UnitSeen, WifiFile, WifiSeen, firewall,
};

/// The directory of our files.
const HOME: &str = "/etc/systemd/network";

/// The links of a machine in memory.
#[derive(Default)]
pub struct FakeLinks {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Clone, Default)]
struct Inner {
    view: LinksView,
    /// What each link was set up by, as networkd read it last.
    applied: BTreeMap<String, String>,
    /// Our files of before the trial.
    before: Vec<UnitSeen>,
    /// Our files of wpa_supplicant of before the trial.
    wifi_before: Vec<WifiSeen>,
    /// The keys of links of before the trial.
    keys_before: BTreeMap<String, String>,
    /// Digests of values that are no passwords.
    unusable: BTreeSet<String>,
    mutations: u64,
    trespasses: Vec<String>,
    lose: bool,
}

impl FakeLinks {
    /// Returns a machine with these links.
    pub fn new(view: LinksView) -> Self {
        Self { inner: Mutex::new(Inner { view, ..Inner::default() }), changed: Notify::new() }
    }

    /// Changes the machine behind the daemon's back.
    pub fn by_hand(&self, change: impl FnOnce(&mut LinksView)) {
        change(&mut self.lock().view);
        self.changed.notify_one();
    }

    /// Makes the next verb take effect and never answer.
    pub fn lose_the_next_answer(&self) {
        self.lock().lose = true;
    }

    /// Lets every verb answer again.
    pub fn calm(&self) {
        self.lock().lose = false;
    }

    /// Has a value, by its digest, be no password.
    pub fn spoil_password(&self, digest: &str) {
        self.lock().unusable.insert(digest.to_owned());
    }

    /// Returns the machine as it is.
    pub fn links_now(&self) -> LinksView {
        self.lock().view.clone()
    }

    /// Returns how often something was changed by a verb.
    pub fn mutations(&self) -> u64 {
        self.lock().mutations
    }

    /// Returns what was done to things that are not ours.
    pub fn trespasses(&self) -> Vec<String> {
        self.lock().trespasses.clone()
    }

    /// Keeps what is tried.
    pub fn confirm(&self) {
        let mut inner = self.lock();
        inner.view.trial = None;
        inner.before.clear();
        inner.wifi_before.clear();
        inner.keys_before.clear();
    }

    /// Lets the time of a trial run out, as the timer of systemd does, whether the daemon lives or not.
    pub fn run_out(&self) {
        let mut inner = self.lock();
        let Some(trial) = inner.view.trial.take() else { return };
        inner.view.refused.extend(trial.tried);
        let before = std::mem::take(&mut inner.before);
        inner.view.units.retain(|unit| unit.subject.is_none());
        inner.view.units.extend(before);
        inner.view.keys = std::mem::take(&mut inner.keys_before);
        let wifi = std::mem::take(&mut inner.wifi_before);
        inner.view.wifi.retain(|it| it.subject.is_none());
        // Whoever puts a file back has wpa_supplicant run with it.
        inner.view.wifi.extend(wifi.into_iter().map(|it| WifiSeen { serves: true, ..it }));
        inner.read_files();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn verb(&self, effect: impl FnOnce(&mut Inner) -> Result<(), HostError> + Send) -> Result<(), HostError> {
        let (lost, done) = {
            let mut inner = self.lock();
            let done = effect(&mut inner);
            inner.mutations += 1;
            (std::mem::take(&mut inner.lose), done)
        };
        self.changed.notify_one();
        if lost {
            pending::<()>().await;
        }
        done
    }
}

impl Links for FakeLinks {
    async fn links(&self) -> Result<LinksView, HostError> {
        Ok(self.lock().view.clone())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn begin_trial(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            if inner.view.trial.is_none() {
                inner.before = inner.view.units.iter().filter(|it| it.subject.is_some()).cloned().collect();
                inner.keys_before = inner.view.keys.clone();
                inner.wifi_before = inner.view.wifi.iter().filter(|it| it.subject.is_some()).cloned().collect();
            }
            let trial = inner.view.trial.get_or_insert_with(TrialSeen::default);
            trial.tried.insert(subject.to_owned(), digest.to_owned());
            Ok(())
        })
        .await
    }

    async fn write_units(&self, subject: &str, units: &[Unit], _digest: &str) -> Result<(), HostError> {
        self.verb(|inner| inner.write(subject, units)).await
    }

    async fn write_key(&self, subject: &str, from: &KeyFrom, _digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            let digest = inner.view.secrets.get(&from.secret).and_then(|keys| keys.get(&from.key)).cloned();
            let digest = digest.ok_or_else(|| HostError::new(Reason::Gone, "The key is gone"))?;
            inner.view.keys.insert(subject.to_owned(), digest);
            Ok(())
        })
        .await
    }

    async fn check_password(&self, from: &KeyFrom, _security: Security) -> Result<(), HostError> {
        let inner = self.lock();
        let digest = inner.view.secrets.get(&from.secret).and_then(|keys| keys.get(&from.key));
        if digest.is_none_or(|digest| inner.unusable.contains(digest)) {
            return Err(HostError::new(Reason::Refused, "The value is no password"));
        }
        Ok(())
    }

    async fn write_wifi(&self, subject: &str, file: &WifiFile, _digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.guard(subject, &file.device);
            inner.view.wifi.retain(|it| it.device != file.device);
            inner.view.wifi.push(WifiSeen {
                device: file.device.clone(),
                subject: Some(subject.to_owned()),
                digest: Some(file.digest.clone()),
                serves: false,
            });
            inner.view.wifi.sort_by(|a, b| a.device.cmp(&b.device));
            Ok(())
        })
        .await
    }

    async fn serve_wifi(&self, device: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.view.wifi.iter_mut().filter(|it| it.device == device).for_each(|it| it.serves = true);
            Ok(())
        })
        .await
    }

    async fn remove_wifi(&self, subject: &str, device: &str, _digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.guard(subject, device);
            inner.view.wifi.retain(|it| it.device != device);
            Ok(())
        })
        .await
    }

    async fn load(&self, subject: &str, digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.read_files();
            if digest == firewall::digest("") {
                inner.view.loaded.remove(subject);
            } else {
                inner.view.loaded.insert(subject.to_owned(), digest.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn reconfigure(&self, device: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.applied.remove(device);
            inner.read_files();
            Ok(())
        })
        .await
    }

    async fn remove_device(&self, subject: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            let file = format!("{subject}.netdev");
            if !inner.view.units.iter().any(|it| it.subject.as_deref() == Some(subject) && it.name.ends_with(&file)) {
                inner.trespasses.push(format!("remove {subject}"));
            }
            inner.view.devices.retain(|device| device.name != subject);
            inner.applied.remove(subject);
            Ok(())
        })
        .await
    }
}

impl Inner {
    /// Notes what is done to a file of wpa_supplicant that is not of this manifest.
    fn guard(&mut self, subject: &str, device: &str) {
        let is_others = |it: &&WifiSeen| it.device == device && it.subject.as_deref() != Some(subject);
        if let Some(other) = self.view.wifi.iter().find(is_others) {
            self.trespasses.push(format!("wpa_supplicant of {}", other.device));
        }
    }

    fn write(&mut self, subject: &str, units: &[Unit]) -> Result<(), HostError> {
        let is_others = |it: &&UnitSeen| it.directory == HOME && it.subject.as_deref() != Some(subject);
        if let Some(other) =
            self.view.units.iter().filter(is_others).find(|it| units.iter().any(|unit| unit.name == it.name))
        {
            return Err(HostError::new(Reason::NameTaken, format!("{} is not ours", other.name)));
        }
        // Another's load may have made the link anew after it was found to be gone.
        let made = |it: &UnitSeen| it.subject.as_deref() == Some(subject) && it.name.ends_with(".netdev");
        if units.is_empty() && self.view.units.iter().any(made) {
            self.view.devices.retain(|device| device.name != subject);
            self.applied.remove(subject);
        }
        self.view.units.retain(|it| it.subject.as_deref() != Some(subject));
        self.view.units.extend(units.iter().map(|it| UnitSeen::of(HOME, &it.name, it.text.clone())));
        self.view.units.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// Does what networkd does when it reads its files: makes what is missing, sets up what is told otherwise than before.
    fn read_files(&mut self) {
        let units = self.view.units.clone();
        let asked: BTreeSet<&str> =
            units.iter().flat_map(|it| values(&it.text, "VLAN").chain(values(&it.text, "MACVLAN"))).collect();
        for unit in units.iter().filter(|it| it.name.ends_with(".netdev")) {
            let (Some(name), Some(kind)) = (values(&unit.text, "Name").next(), values(&unit.text, "Kind").next())
            else {
                continue;
            };
            let stands_alone = !["vlan", "macvlan"].contains(&kind) || asked.contains(name);
            if stands_alone && !self.view.devices.iter().any(|it| it.name == name) {
                let made = DeviceSeen {
                    name: name.to_owned(),
                    kind: Some(kind.to_owned()),
                    carrier: true,
                    mtu: 1500,
                    ..DeviceSeen::default()
                };
                self.view.devices.push(made);
            }
        }
        self.view.devices.sort_by(|a, b| a.name.cmp(&b.name));
        for device in &mut self.view.devices {
            let unit = units
                .iter()
                .find(|it| it.subject.is_some() && it.name.ends_with(".network") && is_for(&it.text, device));
            match unit {
                Some(unit) if self.applied.get(&device.name) != Some(&unit.text) => {
                    set_up(device, unit);
                    self.applied.insert(device.name.clone(), unit.text.clone());
                }
                Some(_) => {}
                None => {
                    let was_set_up = self.applied.remove(&device.name).is_some();
                    // It may bear another name since: what set it up is known by the file.
                    let is_gone = |path: &String| !units.iter().any(|it| it.path() == *path);
                    if was_set_up || device.unit.as_ref().is_some_and(is_gone) {
                        (device.unit, device.setup) = (None, Some("unmanaged".to_owned()));
                    }
                }
            }
        }
    }
}

fn set_up(device: &mut DeviceSeen, unit: &UnitSeen) {
    let all = |key| values(&unit.text, key).map(str::to_owned).collect::<Vec<_>>();
    device.unit = Some(unit.path());
    device.setup = Some("configured".to_owned());
    device.up = true;
    device.addresses = all("Address");
    device.master = all("Bond").into_iter().chain(all("Bridge")).next();
    device.mtu = all("MTUBytes").first().and_then(|it| it.parse().ok()).unwrap_or(device.mtu);
    device.routes = unit.text.split("[Route]").skip(1).map(route).collect();
}

fn route(text: &str) -> RouteSeen {
    let value = |key| values(text, key).next().unwrap_or_default();
    let metric = value("Metric").parse().unwrap_or_default();
    RouteSeen { to: value("Destination").to_owned(), via: value("Gateway").parse().ok(), metric, leased: false }
}

fn is_for(text: &str, device: &DeviceSeen) -> bool {
    let choice = text.split("[Network]").next().unwrap_or_default();
    let is = |key: &str, has: Option<&str>| values(choice, key).all(|want| has == Some(want));
    let is_copy = values(choice, "Kind").any(|it| device.kind.as_deref().is_some_and(|kind| it.contains(kind)));
    is("Name", Some(&device.name))
        && is("MACAddress", device.mac.as_deref())
        && is("PermanentMACAddress", device.permanent_mac.as_deref())
        && !is_copy
}

fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

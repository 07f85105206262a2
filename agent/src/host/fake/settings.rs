//! Settings in memory.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::When;
use crate::host::{FileThere, HostError, OwnFile, Reason, Service, Settings, SettingsView};

/// The settings of a machine in memory.
#[derive(Default)]
pub struct FakeSettings {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    view: SettingsView,
    /// What each service read last, by the file.
    read: BTreeMap<OwnFile, String>,
    mutations: u64,
    trespasses: Vec<String>,
    /// On which side of its effect the next verb fails, and whether it never answers instead.
    fault: Option<(When, bool)>,
}

impl FakeSettings {
    /// Returns a machine with these settings.
    pub fn new(view: SettingsView) -> Self {
        Self { inner: Mutex::new(Inner { view, ..Inner::default() }), changed: Notify::new() }
    }

    /// Changes the machine behind the daemon's back.
    pub fn by_hand(&self, change: impl FnOnce(&mut SettingsView)) {
        change(&mut self.lock().view);
        self.changed.notify_one();
    }

    /// Makes the next verb fail before or after it took effect.
    pub fn fail(&self, when: When) {
        self.lock().fault = Some((when, false));
    }

    /// Makes the next verb take effect and never answer.
    pub fn lose_the_next_answer(&self) {
        self.lock().fault = Some((When::After, true));
    }

    /// Lets every verb answer again.
    pub fn calm(&self) {
        self.lock().fault = None;
    }

    /// Returns how often something was changed by a verb.
    pub fn mutations(&self) -> u64 {
        self.lock().mutations
    }

    /// Returns what was done to things that are not ours.
    pub fn trespasses(&self) -> Vec<String> {
        self.lock().trespasses.clone()
    }

    /// Returns what the service read last of a file.
    pub fn read_by_its_service(&self, file: OwnFile) -> Option<String> {
        self.lock().read.get(&file).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn verb(&self, effect: impl FnOnce(&mut Inner) -> Result<(), HostError> + Send) -> Result<(), HostError> {
        let failed = || HostError::new(Reason::Failed, "It was made to fail.");
        let (fault, done) = {
            let mut inner = self.lock();
            let fault = inner.fault.take();
            if matches!(fault, Some((When::Before, _))) {
                return Err(failed());
            }
            let done = effect(&mut inner);
            inner.mutations += 1;
            (fault, done)
        };
        self.changed.notify_one();
        match fault {
            Some((_, true)) => pending().await,
            Some((_, false)) => Err(failed()),
            None => done,
        }
    }
}

impl Settings for FakeSettings {
    async fn settings(&self) -> Result<SettingsView, HostError> {
        Ok(self.lock().view.clone())
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn set_hostname(&self, name: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            (inner.view.hostname, inner.view.kept_hostname) = (Some(name.to_owned()), Some(name.to_owned()));
            Ok(())
        })
        .await
    }

    async fn set_timezone(&self, zone: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.view.timezone = Some(zone.to_owned());
            Ok(())
        })
        .await
    }

    async fn set_locale(&self, locale: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.view.locale = Some(locale.to_owned());
            Ok(())
        })
        .await
    }

    async fn put(&self, file: OwnFile, text: Option<&str>) -> Result<(), HostError> {
        self.verb(|inner| {
            if inner.view.files.get(&file).is_some_and(|it| !it.ours) {
                inner.trespasses.push(format!("put {}", file.path()));
                return Err(HostError::new(Reason::NameTaken, format!("{} is not ours", file.path())));
            }
            if let Some(service) = file.read_by() {
                inner.view.told.remove(&service);
            }
            match text {
                Some(text) => drop(inner.view.files.insert(file, FileThere::of(text.to_owned()))),
                None => drop(inner.view.files.remove(&file)),
            }
            Ok(())
        })
        .await
    }

    async fn set_names(&self, lines: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            lines.clone_into(&mut inner.view.names);
            Ok(())
        })
        .await
    }

    async fn set_sysctl(&self, name: &str, value: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            let now = inner.view.sysctls.get(name).cloned();
            let now = now.ok_or_else(|| HostError::new(Reason::Gone, format!("There is no {name}")))?;
            inner.view.before.entry(name.to_owned()).or_insert(now);
            inner.view.sysctls.insert(name.to_owned(), value.to_owned());
            Ok(())
        })
        .await
    }

    async fn reset_sysctl(&self, name: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            if let Some(value) = inner.view.before.remove(name) {
                inner.view.sysctls.insert(name.to_owned(), value);
            }
            Ok(())
        })
        .await
    }

    async fn tell(&self, service: Service, digest: &str) -> Result<(), HostError> {
        self.verb(|inner| {
            inner.read.retain(|file, _| file.read_by() != Some(service));
            let texts = inner.view.files.iter().filter(|(file, _)| file.read_by() == Some(service));
            inner.read.extend(texts.map(|(file, it)| (*file, it.text.clone())));
            if digest.is_empty() {
                inner.view.told.remove(&service);
            } else {
                inner.view.told.insert(service, digest.to_owned());
            }
            Ok(())
        })
        .await
    }

    async fn switch_ssh(&self, on: bool) -> Result<(), HostError> {
        self.verb(|inner| {
            if !on && !inner.view.ssh_by_us {
                inner.trespasses.push("switch ssh off".to_owned());
            }
            if on && !inner.view.ssh_by_us && inner.view.enabled.contains(&Service::Ssh) {
                inner.trespasses.push("take the SSH server of others for ours".to_owned());
            }
            inner.view.ssh_by_us = on;
            inner.view.services.insert(Service::Ssh, on);
            if on {
                inner.view.enabled.insert(Service::Ssh);
            } else {
                inner.view.enabled.remove(&Service::Ssh);
                inner.view.told.remove(&Service::Ssh);
            }
            Ok(())
        })
        .await
    }
}

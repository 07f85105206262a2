//! Settings of this machine: plain files that each distribution with systemd reads, values under `/proc/sys`, and
//! `systemctl` for the services that read them.

mod files;
mod look;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use self::{files::Files, look::Unit};
use super::program::run;
use crate::host::{HostError, OwnFile, Reason, Service, Settings, SettingsView};

/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked at what nobody tells of.
const RECHECK: Duration = Duration::from_secs(60);
/// What is there where systemd keeps the machine.
const BOOTED: &str = "/run/systemd/system";
/// The units of each service, the likeliest first. A socket answers for its server.
const UNITS: &[(Service, &[&str])] = &[
    (Service::Timesyncd, &["systemd-timesyncd.service"]),
    (Service::Resolved, &["systemd-resolved.service"]),
    (Service::Ssh, &["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"]),
    (Service::Avahi, &["avahi-daemon.service"]),
];

/// The settings of this machine.
pub struct Own {
    files: Files,
    systemctl: PathBuf,
    api_port: Option<u16>,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
    /// Whether nothing is ours.
    idle: AtomicBool,
}

impl Own {
    /// Returns the settings of this machine, whose API others reach at this port.
    pub fn open(state_dir: &Path, api_port: Option<u16>) -> Self {
        Self { api_port, ..Self::with(Path::new("/"), state_dir, Path::new("systemctl")) }
    }

    /// Returns the settings of a machine whose files are under this directory, with this program in place of `systemctl`.
    pub fn with(root: &Path, state_dir: &Path, systemctl: &Path) -> Self {
        let files = Files::new(root, state_dir);
        Self {
            files,
            systemctl: systemctl.to_owned(),
            api_port: None,
            turn: Arc::default(),
            idle: AtomicBool::new(true),
        }
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        // The turn goes along: the work goes on when nobody waits for it any more.
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.blocking(move |files| {
            let _turn = turn;
            work(files)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        let files = self.files.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.unwrap_or_else(|_| Err(HostError::new(Reason::Failed, "The work on settings was broken off")))
    }

    async fn systemctl(&self, words: &[&str]) -> Result<String, HostError> {
        run(&self.systemctl.to_string_lossy(), words, PATIENCE).await
    }

    /// Returns the units that are here. Where there is no systemd there are none; that nobody answers says nothing of them.
    async fn units(&self) -> Result<Vec<Unit>, HostError> {
        let all: Vec<&str> = UNITS.iter().flat_map(|(_, units)| units.iter().copied()).collect();
        let words = [&["show", "--property=Id,LoadState,ActiveState,UnitFileState"], all.as_slice()].concat();
        match self.systemctl(&words).await {
            Ok(told) => Ok(look::units(&told, UNITS)),
            Err(_) if !self.files.at(BOOTED).exists() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns the unit of a service: one that runs, or one that is here.
    async fn unit(&self, service: Service) -> Result<Option<Unit>, HostError> {
        let units = self.units().await?;
        let mine = || units.iter().filter(|it| it.service == service);
        Ok(mine().find(|it| it.runs).or_else(|| mine().next()).copied())
    }

    /// Switches the SSH server on, unless somebody else did.
    async fn switch_ssh_on(&self) -> Result<(), HostError> {
        let mut units = self.units().await?;
        units.retain(|it| it.service == Service::Ssh);
        let memo = self.blocking(Files::memo).await?;
        if units.iter().any(|it| it.runs || it.enabled) && !memo.ssh_by_us {
            let message = "The SSH server was switched on by somebody else meanwhile, and is looked at anew";
            return Err(HostError::new(Reason::Refused, message));
        }
        let missing = || HostError::new(Reason::Gone, "There is no SSH server here any more");
        let unit = units.iter().find(|it| it.runs).or_else(|| units.first()).ok_or_else(missing)?;
        // Written down first: an end in between must not leave a server on that nobody switches off.
        self.change(|files| files.note_ssh(true)).await?;
        self.systemctl(&["enable", "--now", unit.name]).await.map(drop)
    }
}

impl Settings for Own {
    async fn settings(&self) -> Result<SettingsView, HostError> {
        let mut view = self.blocking(look::look).await?;
        view.api_port = self.api_port;
        for unit in self.units().await? {
            *view.services.entry(unit.service).or_default() |= unit.runs;
            view.enabled.extend(unit.enabled.then_some(unit.service));
        }
        let ours = view.files.values().any(|it| it.ours)
            || !view.names.is_empty()
            || !view.before.is_empty()
            || view.ssh_by_us;
        self.idle.store(!ours, Ordering::Relaxed);
        Ok(view)
    }

    async fn changed(&self) {
        // Nobody tells of a file or of a value of the kernel.
        loop {
            tokio::time::sleep(RECHECK).await;
            if !self.idle.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn set_hostname(&self, name: &str) -> Result<(), HostError> {
        let name = name.to_owned();
        self.change(move |files| files.set_hostname(&name)).await
    }

    async fn set_timezone(&self, zone: &str) -> Result<(), HostError> {
        let zone = zone.to_owned();
        self.change(move |files| files.set_timezone(&zone)).await
    }

    async fn set_locale(&self, locale: &str) -> Result<(), HostError> {
        let locale = locale.to_owned();
        self.change(move |files| files.set_locale(&locale)).await
    }

    async fn put(&self, file: OwnFile, text: Option<&str>) -> Result<(), HostError> {
        let text = text.map(str::to_owned);
        self.change(move |files| files.put_own(file, text.as_deref())).await
    }

    async fn set_names(&self, lines: &str) -> Result<(), HostError> {
        let lines = lines.to_owned();
        self.change(move |files| files.set_names(&lines)).await
    }

    async fn set_sysctl(&self, name: &str, value: &str) -> Result<(), HostError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.change(move |files| files.set_sysctl(&name, &value)).await
    }

    async fn reset_sysctl(&self, name: &str) -> Result<(), HostError> {
        let name = name.to_owned();
        self.change(move |files| files.reset_sysctl(&name)).await
    }

    async fn tell(&self, service: Service, digest: &str) -> Result<(), HostError> {
        // Where it does not run it reads its files when it starts.
        if let Some(unit) = self.unit(service).await? {
            self.systemctl(&["try-reload-or-restart", unit.name]).await?;
        }
        let digest = (!digest.is_empty()).then(|| digest.to_owned());
        self.change(move |files| files.note_told(service, digest)).await
    }

    async fn switch_ssh(&self, on: bool) -> Result<(), HostError> {
        if on {
            return self.switch_ssh_on().await;
        }
        // What is not here can't be switched off; where nobody knows, it is not forgotten that it is to be.
        if let Some(unit) = self.unit(Service::Ssh).await? {
            self.systemctl(&["disable", "--now", unit.name]).await?;
        }
        self.change(|files| {
            files.note_told(Service::Ssh, None)?;
            files.note_ssh(false)
        })
        .await
    }
}

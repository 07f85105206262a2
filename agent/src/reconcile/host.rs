//! Keeps the machine's own settings as the manifest asks.
//!
//! A manifest becomes files with our stamp (`render`, pure), which are compared by text, and values, which are compared
//! one by one. What nobody names is not looked at: so a name that a hand gave stays where the manifest says none.
//!
//! # What goes with the manifest, and what stays
//!
//! Name, time zone and locale are values that every machine has: they stay as they are. Files and lines of ours go, values of
//! the kernel go back to what they were before, and an SSH server that we switched on is switched off.
//!
//! # Services
//!
//! Some files are read by a service only when it is told. What it was told is remembered by a digest, so that a daemon that
//! ends between the writing and the telling tells it when it starts again.

mod plan;
mod render;
mod step;

use std::{future::Future, sync::Arc};

use piccolo_schema::{Desired, Host, HostStatus};

use super::{Plan, Reconciler, Report};
use crate::host::{HostError, Settings, SettingsView};

pub use step::{Act, HostStep};

/// Keeps the settings of this machine.
pub struct Hosts<S>(pub Arc<S>);

impl<S: Settings> Reconciler for Hosts<S> {
    type Manifest = Host;
    type Observed = SettingsView;
    type Step = HostStep;

    fn observe(&self) -> impl Future<Output = Result<SettingsView, HostError>> + Send {
        self.0.settings()
    }

    fn plan(desired: &Desired<Host>, observed: &SettingsView) -> Plan<HostStep> {
        plan::plan(desired, observed)
    }

    async fn apply(&self, step: &HostStep) -> Result<(), HostError> {
        match &step.act {
            Act::Hostname { to, .. } => self.0.set_hostname(to).await,
            Act::Timezone { to, .. } => self.0.set_timezone(to).await,
            Act::Locale { to, .. } => self.0.set_locale(to).await,
            Act::Write { file, text, .. } => self.0.put(*file, Some(text)).await,
            Act::Remove { file } => self.0.put(*file, None).await,
            Act::Names { lines } => self.0.set_names(lines).await,
            Act::Sysctl { name, to, .. } => self.0.set_sysctl(name, to).await,
            Act::ResetSysctl { name, .. } => self.0.reset_sysctl(name).await,
            Act::Tell { service, digest } => self.0.tell(*service, digest).await,
            Act::SwitchSsh { on } => self.0.switch_ssh(*on).await,
        }
    }

    fn report(manifests: &[Host], observed: &SettingsView) -> Vec<Report> {
        manifests.iter().map(|_| report(observed)).collect()
    }

    fn owned(observed: &SettingsView) -> usize {
        usize::from(plan::is_kept(observed))
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.0.changed()
    }
}

fn report(observed: &SettingsView) -> Report {
    let name = observed.hostname.as_deref().unwrap_or("This machine");
    let status = HostStatus {
        hostname: observed.hostname.clone(),
        timezone: observed.timezone.clone(),
        ..HostStatus::default()
    };
    Report {
        ready: true,
        reason: "Kept".to_owned(),
        message: format!("{name} is as it should be"),
        fields: serde_json::to_value(status).unwrap_or_default(),
    }
}

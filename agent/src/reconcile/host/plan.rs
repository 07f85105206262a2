//! The plan for the machine's settings.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::{Declared, Desired, Host, HostSpec, host::sysctl};

use super::{
    render,
    step::{Act, HostStep},
};
use crate::{
    host::{OwnFile, Service, SettingsView},
    reconcile::{Plan, Waiting},
};

/// How many time zones are named that may have been meant.
const MOST_ZONES: usize = 5;

/// Plans the settings of the one manifest that a machine has.
pub(super) fn plan(desired: &Desired<Host>, view: &SettingsView) -> Plan<HostStep> {
    let manifest = desired.manifests.iter().find(|it| it.name() == Host::NAME);
    let none = HostSpec::default();
    let spec = match manifest {
        Some(manifest) => &manifest.spec,
        None if desired.complete || desired.consented.contains(Host::NAME) => &none,
        None => return Plan::default(),
    };
    let mut work = Work { spec, view, acts: Vec::new(), waits: Vec::new() };
    work.values();
    work.sysctls();
    work.names();
    let off = work.obstacles();
    work.files(&off);
    let removal = manifest.is_none();
    let steps = work.acts.into_iter().map(|act| HostStep { removal, act }).collect();
    Plan { steps, waiting: joined(work.waits) }
}

/// Returns true if something here is ours.
pub(super) fn is_kept(view: &SettingsView) -> bool {
    let ours = view.files.values().any(|it| it.ours);
    ours || !view.names.is_empty() || !view.before.is_empty() || view.ssh_by_us
}

/// All that is waited for in one: a subject has one reason.
fn joined(waits: Vec<(&'static str, String)>) -> Vec<Waiting> {
    let Some(reason) = waits.first().map(|(reason, _)| (*reason).to_owned()) else { return Vec::new() };
    let message = waits.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join(". ");
    vec![Waiting { subject: Host::NAME.to_owned(), reason, message }]
}

struct Work<'a> {
    spec: &'a HostSpec,
    view: &'a SettingsView,
    acts: Vec<Act>,
    waits: Vec<(&'static str, String)>,
}

impl Work<'_> {
    /// What each machine has one of.
    fn values(&mut self) {
        let (spec, view) = (self.spec, self.view);
        let shown = |it: &Option<String>| it.clone().unwrap_or_else(|| "unknown".to_owned());
        if let Some(to) = &spec.hostname {
            let (now, kept) = (&view.hostname, &view.kept_hostname);
            if now.as_ref() != Some(to) || kept.as_ref() != Some(to) {
                let was = if now.as_ref() == Some(to) { shown(kept) + " after the next start" } else { shown(now) };
                self.acts.push(Act::Hostname { to: to.clone(), was });
            }
        }
        if let Some(to) = spec.timezone.as_ref().filter(|to| view.timezone.as_ref() != Some(to)) {
            match unknown_zone(to, &view.timezones) {
                Some(message) => self.waits.push(("TimezoneUnknown", message)),
                None => self.acts.push(Act::Timezone { to: to.clone(), was: shown(&view.timezone) }),
            }
        }
        if let Some(to) = spec.locale.as_ref().filter(|to| view.locale.as_ref() != Some(to)) {
            self.acts.push(Act::Locale { to: to.clone(), was: shown(&view.locale) });
        }
    }

    fn sysctls(&mut self) {
        for (name, value) in &self.spec.sysctls {
            if let Some(path) = self.view.others_sysctls.get(name) {
                let message = format!("`{path}` sets {name} too and is not Piccolo's; take it out there, or here");
                self.waits.push(("SysctlClaimed", message));
                continue;
            }
            let to = sysctl::plain(value);
            match self.view.sysctls.get(name) {
                None => {
                    let message = format!("This kernel has no {name}; take it out, or load the module that brings it");
                    self.waits.push(("SysctlMissing", message));
                }
                Some(was) if *was != to => {
                    self.acts.push(Act::Sysctl { name: name.clone(), to, was: was.clone() });
                }
                Some(_) => {}
            }
        }
        for (name, to) in self.view.before.iter().filter(|(name, _)| !self.spec.sysctls.contains_key(*name)) {
            self.acts.push(Act::ResetSysctl { name: name.clone(), to: to.clone() });
        }
    }

    fn names(&mut self) {
        let (lines, against) = render::names(self.spec, self.view);
        if lines != self.view.names {
            self.acts.push(Act::Names { lines });
        }
        self.waits.extend(against.map(|message| ("NameClaimed", message)));
    }

    /// Says what keeps files from being of any use. What is there stays meanwhile.
    fn obstacles(&mut self) -> BTreeSet<OwnFile> {
        let runs = |service| self.view.services.get(&service).copied();
        let mut off = BTreeSet::new();
        if !self.spec.ntp.is_empty() && runs(Service::Timesyncd) != Some(true) {
            let message = "systemd-timesyncd does not run here, so nobody asks the servers of `ntp`; \
                           `systemctl enable --now systemd-timesyncd` starts it, if nothing else keeps the clock";
            self.waits.push(("TimesyncdUnavailable", message.to_owned()));
            off.insert(OwnFile::Ntp);
        }
        if self.spec.mdns && runs(Service::Avahi) == Some(true) {
            let message = "avahi-daemon tells the name of this machine already; stop it, or leave `mdns` out";
            self.waits.push(("MdnsClaimed", message.to_owned()));
            off.extend([OwnFile::Mdns, OwnFile::Announcement]);
        } else if self.spec.mdns && runs(Service::Resolved) != Some(true) {
            let message = "systemd-resolved does not run here, so nobody tells the name of this machine; \
                           `systemctl enable --now systemd-resolved` starts it";
            self.waits.push(("ResolvedUnavailable", message.to_owned()));
            off.extend([OwnFile::Mdns, OwnFile::Announcement]);
        }
        if let Some(ssh) = &self.spec.ssh {
            let wait = if runs(Service::Ssh).is_none() {
                Some(("SshMissing", "There is no SSH server here; install `openssh-server`".to_owned()))
            } else if !self.view.users.contains(&ssh.user) {
                let message = format!("There is no user `{}` for SSH; `useradd -m {0}` makes one", ssh.user);
                Some(("UserMissing", message))
            } else if self.view.ssh_unread {
                let message = "The SSH server would not read what Piccolo writes, or something else before it; put the line \
                               `Include /etc/ssh/sshd_config.d/*.conf` first in `/etc/ssh/sshd_config`";
                Some(("SshConfigUnread", message.to_owned()))
            } else {
                None
            };
            off.extend(wait.iter().flat_map(|_| [OwnFile::Ssh, OwnFile::SshKeys]));
            self.waits.extend(wait);
        }
        off
    }

    fn files(&mut self, off: &BTreeSet<OwnFile>) {
        if self.spec.ssh.is_none() && self.view.ssh_by_us {
            // First of all: without our file the server lets in whom it kept out.
            self.acts.push(Act::SwitchSsh { on: false });
        }
        let mut after: BTreeMap<OwnFile, String> = BTreeMap::new();
        let mut claimed = false;
        for file in OwnFile::ALL {
            let seen = self.view.files.get(&file);
            let ours = seen.filter(|it| it.ours).map(|it| it.text.clone());
            if off.contains(&file) {
                after.extend(ours.map(|text| (file, text)));
                continue;
            }
            match (render::file(file, self.spec, self.view), ours) {
                (Some(_), None) if seen.is_some() => {
                    claimed |= file.read_by() == Some(Service::Ssh) || file == OwnFile::SshKeys;
                    let message = format!("`{}` is there and is not Piccolo's; remove it first", file.path());
                    self.waits.push(("FileClaimed", message));
                }
                (Some(text), ours) => {
                    if ours.as_ref() != Some(&text) {
                        let why = if ours.is_some() { "it says something else" } else { "" };
                        self.acts.push(Act::Write { file, text: text.clone(), why });
                    }
                    after.insert(file, text);
                }
                (None, Some(_)) => self.acts.push(Act::Remove { file }),
                (None, None) => {}
            }
        }
        self.services(&after, claimed || off.contains(&OwnFile::Ssh));
    }

    /// What services are to be told once the files are as they should be.
    fn services(&mut self, after: &BTreeMap<OwnFile, String>, without_ssh: bool) {
        let runs = |service| self.view.services.get(&service) == Some(&true);
        let wants_ssh = self.spec.ssh.is_some();
        for service in Service::READERS {
            let texts: Vec<&str> =
                after.iter().filter(|(file, _)| file.read_by() == Some(service)).map(|(_, it)| it.as_str()).collect();
            let digest = render::digest(&texts);
            let ends = service == Service::Ssh && self.view.ssh_by_us && !wants_ssh;
            // What a service read meanwhile of a file that is put right, nobody knows.
            let touched = self.acts.iter().any(|act| act.file().is_some_and(|it| it.read_by() == Some(service)));
            let is_told = !touched && digest.as_ref() == self.view.told.get(&service);
            if !is_told && (runs(service) || digest.is_none()) && !ends {
                self.acts.push(Act::Tell { service, digest: digest.unwrap_or_default() });
            }
        }
        if !wants_ssh || runs(Service::Ssh) || without_ssh {
            return;
        }
        if self.view.enabled.contains(&Service::Ssh) && !self.view.ssh_by_us {
            let message = "The SSH server does not run; it is not Piccolo's, as somebody else enabled it: \
                           `systemctl start ssh` (or `sshd`) starts it";
            self.waits.push(("SshStopped", message.to_owned()));
        } else {
            self.acts.push(Act::SwitchSsh { on: true });
        }
    }
}

/// Says that nobody knows a time zone, and which one may have been meant.
fn unknown_zone(zone: &str, known: &BTreeSet<String>) -> Option<String> {
    if known.contains(zone) {
        return None;
    }
    if known.is_empty() {
        return Some("There are no time zones in `/usr/share/zoneinfo`; install `tzdata`".to_owned());
    }
    let last = |zone: &str| zone.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let like = |it: &&String| last(it) == last(zone) || it.eq_ignore_ascii_case(zone);
    let near: Vec<String> = known.iter().filter(like).take(MOST_ZONES).map(|it| format!("`{it}`")).collect();
    let help = match near.as_slice() {
        [] => "`timedatectl list-timezones` lists them".to_owned(),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Some(format!("There is no time zone `{zone}`; {help}"))
}

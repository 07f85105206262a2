//! What the machine has of settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
};

use piccolo_schema::host::sysctl;

use super::files::{Files, LOCALES, NAMES, Names, ZONE_NAME, ZONES, read, split_names};
use crate::host::{FileThere, HostError, OwnFile, Reason, Service, SettingsView};

/// The most names of a directory that are looked at.
const MOST: usize = 10_000;
/// How deep the names of time zones go, `America/Argentina/Ushuaia`.
const DEEPEST: usize = 3;
/// Where files of others set values of the kernel. Those of a distribution are defaults, and give way to ours.
const SYSCTLS: &str = "/etc/sysctl.d";
const SYSCTL: &str = "/etc/sysctl.conf";
/// What the SSH server reads first. Where there is none, some distributions have theirs in the second place.
const SSHD: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// How it is told to read our file.
const INCLUDED: [&str; 2] = ["/etc/ssh/sshd_config.d/", "sshd_config.d/"];

pub(super) fn look(files: &Files) -> Result<SettingsView, HostError> {
    let memo = files.memo()?;
    let table = files.read(NAMES)?.unwrap_or_default();
    let Names { others, ours: names, .. } = split_names(&table);
    let first_word = |path: &str| {
        let text = files.read(path)?;
        let word = text.and_then(|it| {
            it.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
        });
        Ok::<_, HostError>(word)
    };
    let mut view = SettingsView {
        hostname: first_word(&Files::sysctl_path("kernel.hostname"))?,
        kept_hostname: first_word("/etc/hostname")?,
        timezone: timezone(files)?,
        timezones: BTreeSet::new(),
        locale: locale(files)?,
        told: memo.told,
        names,
        others_names: others_names(&others),
        before: files.before()?,
        others_sysctls: others_sysctls(files)?,
        ssh_by_us: memo.ssh_by_us,
        ssh_unread: !sshd_reads_ours(files),
        users: users(&files.read("/etc/passwd")?.unwrap_or_default()),
        ..SettingsView::default()
    };
    zones(&files.at(ZONES), "", DEEPEST, &mut view.timezones)?;
    for file in OwnFile::ALL {
        view.files.extend(files.read(file.path())?.map(|text| (file, FileThere::of(text))));
    }
    for name in sysctl::ALLOWED {
        // One that only root of another namespace may read is as good as missing.
        if let Ok(Some(value)) = files.read(&Files::sysctl_path(name)) {
            view.sysctls.insert((*name).to_owned(), sysctl::plain(&value));
        }
    }
    Ok(view)
}

fn timezone(files: &Files) -> Result<Option<String>, HostError> {
    let Ok(to) = fs::read_link(files.at("/etc/localtime")) else { return Ok(None) };
    let zone = to.to_string_lossy().split_once("zoneinfo/").map(|(_, zone)| zone.to_owned());
    let second = files.read(ZONE_NAME)?;
    Ok(zone.filter(|zone| second.is_none_or(|it| it.trim() == zone)))
}

fn locale(files: &Files) -> Result<Option<String>, HostError> {
    let mut found = None;
    for (index, path) in LOCALES.into_iter().enumerate() {
        let Some(text) = files.read(path)? else {
            if index == 0 {
                return Ok(None);
            }
            continue;
        };
        let value = text.lines().rev().find_map(|line| line.trim_start().strip_prefix("LANG="));
        let value = value.map(|it| it.trim().trim_matches('"').to_owned());
        if index > 0 && value != found {
            return Ok(None);
        }
        found = value;
    }
    Ok(found)
}

fn zones(directory: &Path, above: &str, left: usize, out: &mut BTreeSet<String>) -> Result<(), HostError> {
    for name in names(directory)? {
        let path = directory.join(&name);
        // `posix` and `right` hold all zones a second time; what has a dot or begins small is no zone.
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) || name.contains('.') {
            continue;
        }
        let zone = format!("{above}{name}");
        if path.is_dir() {
            if left > 1 {
                zones(&path, &format!("{zone}/"), left - 1, out)?;
            }
        } else {
            out.insert(zone);
        }
    }
    Ok(())
}

fn others_names(text: &str) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut all: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|it| it.parse().ok()) else { continue };
        for name in words {
            all.entry(name.to_ascii_lowercase()).or_default().insert(address);
        }
    }
    all
}

fn others_sysctls(files: &Files) -> Result<BTreeMap<String, String>, HostError> {
    let directory = files.at(SYSCTLS);
    let in_it = names(&directory)?.into_iter().filter(|name| name.ends_with(".conf"));
    let paths = in_it.map(|name| format!("{SYSCTLS}/{name}")).chain([SYSCTL.to_owned()]);
    let mut all = BTreeMap::new();
    for path in paths.filter(|path| path != OwnFile::Sysctl.path()) {
        let text = read(&files.at(&path))?.unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let Some((name, _)) = line.split_once('=') else { continue };
            let name = name.trim().trim_start_matches('-').replace('/', ".");
            if sysctl::refusal(&name).is_none() {
                all.entry(name).or_insert_with(|| path.clone());
            }
        }
    }
    Ok(all)
}

/// Returns true if it is known that the SSH server reads our file. Where nobody may look, it is not.
fn sshd_reads_ours(files: &Files) -> bool {
    let text = SSHD.into_iter().find_map(|path| files.read(path).transpose());
    text.is_some_and(|text| text.is_ok_and(|text| includes_ours(&text)))
}

/// Returns true if our file is read for everybody, and before anything else says who gets in by a password: what comes first
/// counts.
fn includes_ours(text: &str) -> bool {
    for line in text.lines() {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=' || c == '"').filter(|word| !word.is_empty());
        let Some(keyword) = words.next() else { continue };
        match keyword.to_ascii_lowercase().as_str() {
            "include" => {
                let names =
                    |word: &str| INCLUDED.into_iter().find_map(|home| word.strip_prefix(home).map(str::to_owned));
                if words.filter_map(names).any(|name| ["*.conf", "*", "10-piccolo.conf"].contains(&name.as_str())) {
                    return true;
                }
            }
            "match" | "passwordauthentication" | "kbdinteractiveauthentication" | "challengeresponseauthentication" => {
                return false;
            }
            _ => {}
        }
    }
    false
}

fn users(passwd: &str) -> BTreeSet<String> {
    passwd
        .lines()
        .filter_map(|line| line.split(':').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Returns the names in a directory, sorted; none if there is none.
fn names(directory: &Path) -> Result<Vec<String>, HostError> {
    let failed =
        |error: io::Error| HostError::new(Reason::Failed, format!("`{}` can't be read ({error})", directory.display()));
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries.take(MOST) {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// A unit that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) runs: bool,
    /// Whether it is started when the machine starts.
    pub(super) enabled: bool,
}

/// Reads what `systemctl show` tells: a block for each unit that was asked for.
pub(super) fn units(told: &str, known: &[(Service, &[&'static str])]) -> Vec<Unit> {
    let mut all = Vec::new();
    for block in told.split("\n\n") {
        let value = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let (Some(id), Some("loaded"), Some(state)) = (value("Id"), value("LoadState"), value("ActiveState")) else {
            continue;
        };
        let runs = ["active", "reloading", "activating"].contains(&state);
        let enabled =
            value("UnitFileState").is_some_and(|it| ["enabled", "enabled-runtime", "generated"].contains(&it));
        let unit = known.iter().find_map(|(service, units)| Some((*service, *units.iter().find(|unit| **unit == id)?)));
        all.extend(unit.map(|(service, name)| Unit { service, name, runs, enabled }));
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::malformed::{malformed, often};

    const KNOWN: &[(Service, &[&str])] =
        &[(Service::Ssh, &["ssh.service", "sshd.service"]), (Service::Timesyncd, &["systemd-timesyncd.service"])];
    const TOLD: &str = "Id=ssh.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n\
        Id=sshd.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n\n\
        Id=systemd-timesyncd.service\nLoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n";
    const SSHD: &str =
        "# a comment\nPort 22\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\nMatch all\n";
    const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost # six\n192.168.1.7 nas NAS.lan\n";

    #[test]
    fn units_that_are_here_are_told_with_what_becomes_of_them() {
        let unit = |service, name, is_on| Unit { service, name, runs: is_on, enabled: is_on };
        let expected =
            [unit(Service::Ssh, "ssh.service", true), unit(Service::Timesyncd, "systemd-timesyncd.service", false)];
        assert_eq!(units(TOLD, KNOWN), expected);
    }

    proptest! {
        #![proptest_config(often())]

        #[test]
        fn no_text_breaks_it(told in malformed(TOLD), sshd in malformed(SSHD), hosts in malformed(HOSTS)) {
            for unit in units(&told, KNOWN) {
                prop_assert!(told.contains(unit.name) && told.contains("LoadState=loaded"), "{:?}", told);
            }
            prop_assert!(!includes_ours(&sshd) || sshd.to_ascii_lowercase().contains("include"), "{:?}", sshd);
            prop_assert!(others_names(&hosts).keys().chain(&users(&hosts)).all(|it| !it.is_empty()), "{:?}", hosts);
        }
    }
}

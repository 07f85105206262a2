//! What files say for a manifest. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
};

use piccolo_schema::{HostSpec, host::sysctl};

use crate::host::{OURS, OwnFile, Service, SettingsView, firewall};

/// The address by which a machine knows itself by its own name, as distributions have it.
const SELF: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 1, 1));

/// Returns what a file of ours says; none if the manifest asks for none.
pub(super) fn file(file: OwnFile, spec: &HostSpec, view: &SettingsView) -> Option<String> {
    let body = match file {
        OwnFile::Ntp if spec.ntp.is_empty() => None,
        OwnFile::Ntp => Some(format!("[Time]\nNTP=\nNTP={}\n", spec.ntp.join(" "))),
        OwnFile::Sysctl => sysctls(spec, view),
        OwnFile::Mdns => spec.mdns.then(|| "[Resolve]\nMulticastDNS=yes\n".to_owned()),
        // %H is the name of the machine.
        OwnFile::Announcement => view
            .api_port
            .filter(|_| spec.mdns)
            .map(|port| format!("[Service]\nName=%H\nType=_piccolo._tcp\nPort={port}\nTxtText=path=/\n")),
        OwnFile::SshKeys => spec.ssh.as_ref().map(|ssh| ssh.keys.join("\n") + "\n"),
        OwnFile::Ssh => spec.ssh.as_ref().map(|ssh| sshd(&ssh.user, view)),
    };
    body.map(|body| {
        let head = "# Kept by Piccolo for the manifest Host; what a hand changes here is undone";
        format!("{head}\n{OURS}\n{body}")
    })
}

/// What a file of others sets is left to it.
fn sysctls(spec: &HostSpec, view: &SettingsView) -> Option<String> {
    let mut text = String::new();
    for (name, value) in spec.sysctls.iter().filter(|(name, _)| !view.others_sysctls.contains_key(*name)) {
        _ = writeln!(text, "{name} = {}", sysctl::plain(value));
    }
    (!text.is_empty()).then_some(text)
}

/// Where we switch the server on, nobody gets in by a password: nobody did before. Where somebody else did, even if it is down
/// just now, only our user's is of no use any more.
fn sshd(user: &str, view: &SettingsView) -> String {
    let theirs = view.services.get(&Service::Ssh) == Some(&true) || view.enabled.contains(&Service::Ssh);
    let no_passwords = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n";
    let for_all = if view.ssh_by_us || !theirs { no_passwords } else { "" };
    let keys = OwnFile::SshKeys.path();
    format!("{for_all}Match User {user}\nAuthorizedKeysFile .ssh/authorized_keys {keys}\n{no_passwords}")
}

/// Returns our lines of the table of names, and what of others speaks against one of them: the first line of a name counts.
pub(super) fn names(spec: &HostSpec, view: &SettingsView) -> (String, Option<String>) {
    let mut lines: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
    let mut against = None;
    for (name, address) in &spec.hosts {
        match view.others_names.get(name) {
            Some(others) if !others.contains(address) => {
                let others: Vec<String> = others.iter().map(ToString::to_string).collect();
                against.get_or_insert(format!(
                    "`/etc/hosts` gives {name} the address {}, in a line that is not Piccolo's; remove it",
                    others.join(" and ")
                ));
            }
            _ => drop(lines.entry(*address).or_default().insert(name)),
        }
    }
    let own = spec.hostname.as_deref();
    if let Some(name) = own.filter(|name| !view.others_names.contains_key(*name) && !spec.hosts.contains_key(*name)) {
        lines.entry(SELF).or_default().insert(name);
    }
    let text = lines.into_iter().fold(String::new(), |mut text, (address, names)| {
        _ = writeln!(text, "{address} {}", names.into_iter().collect::<Vec<_>>().join(" "));
        text
    });
    (text, against)
}

/// Returns the digest of all files that a service reads; none if there are none.
pub(super) fn digest(texts: &[&str]) -> Option<String> {
    (!texts.is_empty()).then(|| firewall::digest(&texts.concat()))
}

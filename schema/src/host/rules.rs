//! Rules of the machine's settings that a pattern can't say.

use std::{net::IpAddr, num::ParseIntError};

use super::{Host, HostSpec, key, sysctl};
use crate::{
    Declared,
    parse::{Code, Path, Violation, nearest},
};

/// Names that mean the machine itself, whatever anybody says.
const OWN: &[&str] = &["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"];
/// Settings whose values are words, and the words that they know.
const WORDS: &[(&str, &[&str])] = &[
    ("net.core.default_qdisc", &["fq", "fq_codel", "cake", "pfifo_fast"]),
    ("net.ipv4.tcp_congestion_control", &["bbr", "cubic", "reno"]),
];
/// Settings that take three numbers.
const THREE: &[&str] = &["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"];

impl Host {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        if self.name() != Self::NAME {
            let path = Path::default().key("metadata").key("name");
            let reason = format!("a machine has one Host, and it is called `{}`", Self::NAME);
            note(&mut out, Code::BadName, path, reason, &format!("write `name = \"{}\"`", Self::NAME));
        }
        if let Some(name) = self.spec.hostname.as_deref().filter(|it| OWN.contains(it)) {
            let help = "choose a name of its own, such as `attic`";
            note(&mut out, Code::Reserved, Path::spec("hostname"), format!("`{name}` is every machine's own"), help);
        }
        servers(&self.spec, &mut out);
        sysctls(&self.spec, &mut out);
        hosts(&self.spec, &mut out);
        keys(&self.spec, &mut out);
        out
    }
}

fn servers(spec: &HostSpec, out: &mut Vec<Violation>) {
    for (index, server) in spec.ntp.iter().enumerate() {
        let path = || Path::spec("ntp").index(index);
        if let Some(first) = spec.ntp[..index].iter().position(|it| it.eq_ignore_ascii_case(server)) {
            let reason = format!("`spec.ntp[{first}]` is `{server}` already");
            note(out, Code::Duplicate, path(), reason, "name each server once");
        }
        // Of digits and dots alone, or with a colon, it is meant for an address.
        let for_an_address = server.contains(':') || server.chars().all(|c| c.is_ascii_digit() || c == '.');
        if for_an_address && server.parse::<IpAddr>().is_err() {
            let reason = format!("`{server}` is no address");
            note(out, Code::WrongForm, path(), reason, "write the name or the address of a server, without a port");
        }
    }
}

fn sysctls(spec: &HostSpec, out: &mut Vec<Violation>) {
    for (name, value) in &spec.sysctls {
        let path = Path::spec("sysctls").key(name);
        if let Some(why) = sysctl::refusal(name) {
            let reason = format!("`{}` can't be set: {why}", shown(name));
            let help = match nearest(name, sysctl::ALLOWED.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "take it out; the manual lists what may be set".to_owned(),
            };
            out.push(Violation { code: Code::Reserved, path, on_key: true, reason, help });
            continue;
        }
        if let Some(help) = misfit(name, value) {
            note(out, Code::WrongForm, path, format!("`{name}` can't be `{}`", shown(value)), &help);
        }
    }
}

/// Says how a value is written, if it is none.
fn misfit(name: &str, value: &str) -> Option<String> {
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == name) {
        return (!words.contains(&value)).then(|| format!("write one of {}", words.join(", ")));
    }
    let numbers: Result<Vec<u64>, ParseIntError> = value.split_whitespace().map(str::parse).collect();
    let wanted = if THREE.contains(&name) { 3 } else { 1 };
    let fits = numbers.is_ok_and(|it| it.len() == wanted) && value.chars().all(|c| c.is_ascii_digit() || c == ' ');
    (!fits).then(|| {
        if wanted == 3 { "write three numbers, `4096 131072 6291456`" } else { "write a number, `10`" }.to_owned()
    })
}

fn hosts(spec: &HostSpec, out: &mut Vec<Violation>) {
    for (name, address) in &spec.hosts {
        let path = || Path::spec("hosts").key(name);
        if OWN.contains(&name.as_str()) {
            let reason = format!("`{name}` is every machine's own");
            let help = "take it out: it means this machine without that".to_owned();
            out.push(Violation { code: Code::Reserved, path: path(), on_key: true, reason, help });
        } else if !is_name(name) {
            let reason = format!("`{}` is no name of a machine", shown(name));
            let help = "write lower-case letters, digits, hyphens and dots: `nas` or `nas.lan`".to_owned();
            out.push(Violation { code: Code::WrongForm, path: path(), on_key: true, reason, help });
        }
        if address.is_unspecified() || address.is_multicast() {
            let reason = format!("no machine has the address {address}");
            note(out, Code::WrongForm, path(), reason, "write the address of the machine, `192.168.1.5`");
        }
    }
}

fn keys(spec: &HostSpec, out: &mut Vec<Violation>) {
    let Some(ssh) = &spec.ssh else { return };
    let body = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    for (index, line) in ssh.keys.iter().enumerate() {
        let path = || Path::spec("ssh").key("keys").index(index);
        if let Some(reason) = key::mistake(line) {
            let help = "write it as in the file of `ssh-keygen` that ends with `.pub`, `ssh-ed25519 AAAA… anna@desk`";
            note(out, Code::WrongForm, path(), reason, help);
        } else if let Some(first) = ssh.keys[..index].iter().position(|it| body(it) == body(line)) {
            let reason = format!("`spec.ssh.keys[{first}]` is the same key");
            note(out, Code::Duplicate, path(), reason, "keep one of the two");
        }
    }
}

/// Returns true for a name as RFC 1123 has it, in lower case.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect()
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}

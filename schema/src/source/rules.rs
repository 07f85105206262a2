//! Rules of a source that a pattern can't say.

use std::time::Duration;

use super::{ConfigSource, ConfigSourceSpec};
use crate::parse::{Code, Path, Violation};

/// Looking more often would only bother whoever keeps the repository.
const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// The longest address, branch or path.
const LONGEST: usize = 1024;
/// The largest OpenPGP key in bytes.
const LARGEST_KEY: usize = 64 << 10;
/// The kinds of SSH keys that count. Those that can be forged by now are none of them.
const KEYS: &[&str] = &[
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

impl ConfigSource {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        address(&self.spec, &mut out);
        if let Some(branch) = self.spec.branch.as_deref().filter(|it| !is_branch(it)) {
            let reason = format!("`{}` can't be the name of a branch", shown(branch));
            let help = "use letters, digits, `.`, `_`, `-` and `/`, as in `main` or `home/nas`";
            note(&mut out, Code::WrongForm, Path::spec("branch"), reason, help);
        }
        if let Some(path) = self.spec.path.as_deref().filter(|it| !is_inside(it)) {
            let reason = format!("`{}` is no directory in the repository", shown(path));
            let help = "write it as git lists it, without a `/` at its ends, `.` or `..`: `machines/nas`";
            note(&mut out, Code::BadPath, Path::spec("path"), reason, help);
        }
        if self.spec.interval.is_some_and(|it| it.get() < LEAST_INTERVAL) {
            let reason = "that is more often than every ten seconds".to_owned();
            let help = "write `10s` or more; a webhook tells of a change at once";
            note(&mut out, Code::OutOfRange, Path::spec("interval"), reason, help);
        }
        host_keys(&self.spec, &mut out);
        for (index, _) in self.spec.signers.iter().enumerate().filter(|(_, it)| !is_key(it)) {
            let reason = "this is neither a public SSH key on one line nor an OpenPGP key".to_owned();
            let help = "write it as in the file of `ssh-keygen` that ends with `.pub`, `ssh-ed25519 AAAA…`, or as \
                        `gpg --armor --export` does";
            note(&mut out, Code::WrongForm, Path::spec("signers").index(index), reason, help);
        }
        out
    }
}

fn address(spec: &ConfigSourceSpec, out: &mut Vec<Violation>) {
    let path = || Path::spec("url");
    let help = "write `https://git.example.org/home.git`, or `file:///srv/home.git` for one on this machine";
    let Some((scheme, rest)) = spec.url.split_once("://").filter(|_| is_plain(&spec.url)) else {
        return note(out, Code::WrongForm, path(), format!("`{}` is no address", shown(&spec.url)), help);
    };
    match (scheme, rest) {
        ("https" | "http", rest) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
            let help = "take it out, and name a secret that holds it in `spec.credentials`";
            note(out, Code::Conflict, path(), "there is a login in the address".to_owned(), help);
        }
        ("https" | "http", rest) if rest.starts_with(['/', '-', ':']) => {
            note(out, Code::WrongForm, path(), "there is no name of a machine in the address".to_owned(), help);
        }
        ("http", _) if spec.signers.is_empty() => {
            let reason = "with `http` nobody knows who answers".to_owned();
            note(
                out,
                Code::Conflict,
                path(),
                reason,
                "write `https`, or name in `spec.signers` whose revisions are taken",
            );
        }
        ("https" | "http", _) => {}
        ("ssh", rest) => ssh(spec, rest, out),
        ("file", rest) if rest.starts_with('/') && rest.split('/').all(|part| part != "..") => {}
        ("file", _) => {
            note(out, Code::BadPath, path(), "that is no absolute path on this machine".to_owned(), help);
        }
        (scheme, _) => {
            let reason = format!("repositories can't be reached by `{}`", shown(scheme));
            note(out, Code::WrongForm, path(), reason, help);
        }
    }
}

/// Over ssh both ends have to be known before anything is asked.
fn ssh(spec: &ConfigSourceSpec, rest: &str, out: &mut Vec<Violation>) {
    let mut refuse = |code, path, reason: &str, help| note(out, code, path, reason.to_owned(), help);
    let is_place = |(place, path): (&str, &str)| is_authority(place) && !path.is_empty();
    if !rest.split_once('/').is_some_and(is_place) {
        let help = "write it as in `ssh://git@git.example.org/home.git`; a port goes behind the machine, as in `:2222`";
        refuse(Code::WrongForm, Path::spec("url"), "that names no user, machine and path", help);
    }
    if spec.credentials.is_none() {
        let help = "name in `spec.credentials` a secret that holds it: piccolo secret set forge key --from ~/.ssh/nas";
        refuse(Code::Conflict, Path::spec("url"), "over `ssh` nobody gets in without a key", help);
    }
    if spec.host_keys.is_empty() {
        let help = "write in `spec.hostKeys` by which key its machine is known, as `ssh-keyscan` prints it";
        refuse(Code::Conflict, Path::spec("url"), "over `ssh` it has to be known who answers", help);
    }
}

fn host_keys(spec: &ConfigSourceSpec, out: &mut Vec<Violation>) {
    if !spec.host_keys.is_empty() && !spec.is_ssh() {
        let reason = "only a machine that is reached by `ssh` is known by its keys".to_owned();
        note(out, Code::Conflict, Path::spec("hostKeys"), reason, "take them out, or write the address with `ssh://`");
    }
    for (index, _) in spec.host_keys.iter().enumerate().filter(|(_, it)| !is_ssh(it)) {
        let reason = "this is no public SSH key on one line".to_owned();
        let help = "write it as `ssh-keyscan` prints it, without the name before it: `ssh-ed25519 AAAA…`";
        note(out, Code::WrongForm, Path::spec("hostKeys").index(index), reason, help);
    }
}

/// Returns true for a machine with or without a user and a port, none of which can be taken for an option.
fn is_authority(place: &str) -> bool {
    let (user, machine) = place.split_once('@').map_or((None, place), |(user, machine)| (Some(user), machine));
    let (name, port) = match machine.rsplit_once(':').filter(|_| !machine.ends_with(']')) {
        Some((name, port)) => (name, Some(port)),
        None => (machine, None),
    };
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_machine = address.map_or_else(|| is_word(name), |it| it.parse::<std::net::Ipv6Addr>().is_ok());
    is_machine && user.is_none_or(is_word) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Returns true for what can stand in an address without being taken for something else.
fn is_plain(url: &str) -> bool {
    url.len() <= LONGEST && url.chars().all(|c| c.is_ascii_graphic() && !"\\\"'`<>^{|}?#".contains(c))
}

/// Returns true for the plain part of what git allows.
fn is_branch(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.') && !part.ends_with(".lock")
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    name.len() <= LONGEST && name.chars().all(plain) && !name.contains("..") && name.split('/').all(is_part)
}

fn is_inside(path: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with(['.', '#', '-']);
    path.len() <= LONGEST
        && path.split('/').all(is_part)
        && path.chars().all(|c| !c.is_control() && !"\\:*?[".contains(c))
}

fn is_key(text: &str) -> bool {
    let text = text.trim();
    is_ssh(text) || is_openpgp(text)
}

/// Returns true for a key as `gpg --armor --export` writes it.
fn is_openpgp(text: &str) -> bool {
    let plain = |c: char| c == '\n' || c == '\r' || (c.is_ascii() && !c.is_ascii_control());
    text.len() <= LARGEST_KEY
        && text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        && text.ends_with("-----END PGP PUBLIC KEY BLOCK-----")
        && text.matches("-----BEGIN ").count() == 1
        && text.chars().all(plain)
}

fn is_ssh(text: &str) -> bool {
    let mut words = text.split(' ');
    let known = words.next().is_some_and(|word| KEYS.contains(&word));
    let plain = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let body = words.next().is_some_and(|word| word.starts_with("AAAA") && word.len() >= 60 && word.chars().all(plain));
    known && body && text.chars().all(|c| !c.is_control())
}

/// What can be told of a text without telling a login that stands in it.
fn shown(text: &str) -> String {
    let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(100).collect()
}

fn note(out: &mut Vec<Violation>, code: Code, path: Path, reason: String, help: &str) {
    out.push(Violation { code, path, on_key: false, reason, help: help.to_owned() });
}

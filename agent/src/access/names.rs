//! The names and addresses by which a machine is reached. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use serde::{Deserialize, Serialize};

/// All names and addresses that are this machine's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// What it calls itself.
    pub called: String,
    /// Names in small letters, without a dot at the end.
    pub hosts: BTreeSet<String>,
    /// Addresses of its links, and of its loopback.
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// Returns the names of a machine that is called so, has these addresses, and is called by these names by others.
    pub fn new(hostname: &str, addresses: impl IntoIterator<Item = IpAddr>, more: &[String]) -> Self {
        let short = hostname.split('.').next().filter(|name| is_name(name)).unwrap_or("piccolo");
        let own = [hostname.to_owned(), short.to_owned(), format!("{short}.local")];
        let hosts = own.iter().chain(more).map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        Self {
            called: short.to_ascii_lowercase(),
            hosts: hosts.filter(|name| is_name(name)).chain(["localhost".to_owned()]).collect(),
            addresses: addresses.into_iter().map(|it| it.to_canonical()).chain(loopback).collect(),
        }
    }

    /// Returns true for the value of a `Host` header that means this machine, whatever the port.
    pub fn holds(&self, host: &str) -> bool {
        let Some((name, port)) = split(host) else { return false };
        let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|it| it.is_ascii_digit());
        if !port.is_none_or(is_port) {
            return false;
        }
        match name.strip_prefix('[').map(|it| it.strip_suffix(']')) {
            Some(Some(address)) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|it| self.has(it.into())),
            Some(None) => false,
            None => match name.parse::<std::net::Ipv4Addr>() {
                Ok(address) => self.has(address.into()),
                Err(_) => {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    is_name(name) && self.hosts.contains(&*name.to_ascii_lowercase())
                }
            },
        }
    }

    /// Returns every name and address as a certificate holds them.
    pub fn for_certificate(&self) -> Vec<String> {
        self.hosts.iter().cloned().chain(self.addresses.iter().map(ToString::to_string)).collect()
    }

    fn has(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address.to_canonical())
    }
}

/// Splits a host from its port.
fn split(host: &str) -> Option<(&str, Option<&str>)> {
    if let Some(end) = host.find(']') {
        let (name, rest) = host.split_at(end + 1);
        return match rest {
            "" => Some((name, None)),
            rest => Some((name, Some(rest.strip_prefix(':')?))),
        };
    }
    match host.split_once(':') {
        Some((name, port)) => Some((name, Some(port))),
        None => Some((host, None)),
    }
}

/// Returns true for what can be the name of a host: a name of the kernel's may hold more.
pub(super) fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let addresses = ["192.168.1.5", "fd00::5", "::ffff:10.0.0.5"].map(|it| it.parse().unwrap());
        Names::new("Attic", addresses, &["home.example.org.".to_owned(), "not a name".to_owned()])
    }

    #[test]
    fn its_own_names_are_its_own() {
        let names = names();
        for own in [
            "attic",
            "ATTIC:8080",
            "attic.local",
            "attic.local.",
            "attic.local.:8080",
            "attic.",
            "home.example.org",
            "localhost:1",
            "127.0.0.1",
            "127.8.9.1:8080",
            "192.168.1.5:8080",
            "10.0.0.5",
            "[fd00::5]",
            "[FD00:0::5]:8080",
            "[::1]:8080",
            "[::ffff:192.168.1.5]",
        ] {
            assert!(names.holds(own), "{own}");
        }
    }

    /// A second reader of hosts, of another author, never sees another host than this machine. There is no `:authority`
    /// beside it to be fooled by: HTTP/2 is not spoken, which `tests/api_serve.rs` makes sure of.
    #[test]
    fn a_hundred_thousand_odd_values_lead_nowhere_else() {
        let names = names();
        let pieces = [
            "attic",
            "ATTIC",
            ".local",
            ".",
            "..",
            "evil.example",
            "@",
            ":",
            ":8080",
            "8080",
            "[",
            "]",
            "::1",
            "fd00::5",
            "127.0.0.1",
            "192.168.1.5",
            "%00",
            "%2e",
            "\t",
            " ",
            "#",
            "?",
            "/",
            "\\",
            ",",
            "localhost",
            "xn--",
            "é",
            "0x7f",
            "٣",
            "-",
            "_",
            "%",
            ";",
        ];
        let (mut rng, mut held) = (fastrand::Rng::with_seed(5), 0);
        for _ in 0..100_000 {
            let host: String = (0..rng.usize(1..6)).map(|_| pieces[rng.usize(..pieces.len())]).collect();
            if !names.holds(&host) {
                continue;
            }
            held += 1;
            let read: hyper::http::uri::Authority = host.parse().unwrap_or_else(|_| panic!("{host}"));
            let name = read.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
            let is_own =
                name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback() || names.addresses.contains(&it.to_canonical()));
            assert!(is_own || names.hosts.contains(&name), "{host} is {name}");
            assert!(!host.contains('@'), "{host}");
        }
        assert!(held > 1000, "{held}");
    }

    #[test]
    fn all_other_names_are_others() {
        let names = names();
        for other in [
            "",
            ":8080",
            ".",
            "evil.example",
            "attic.evil.example",
            "attic.local..",
            "attic:",
            "attic:x",
            "attic:80:80",
            "attic:123456",
            "a@attic",
            "attic@evil.example",
            "evil.example#attic",
            "attic/",
            "attic ",
            " attic",
            "attic\t",
            "attic,evil.example",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0.0.0.0",
            "192.168.1.50",
            "192.168.1.5.nip.io",
            "[192.168.1.5]",
            "[::1",
            "::1",
            "[::1]8080",
            "[::1]:",
            "[fd00::5%eth0]",
            "[fd00::6]",
            "[]",
            "localhost.localdomain",
        ] {
            assert!(!names.holds(other), "{other}");
        }
    }
}

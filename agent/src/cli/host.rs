//! Where a daemon is asked: at a socket of this machine, or over a network.

use std::{net::Ipv6Addr, path::PathBuf, str::FromStr};

/// The port of a machine if nobody says another.
const PORT: u16 = 8080;

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// At a unix socket.
    Unix(PathBuf),
    /// At a host and port, over TLS.
    Tls(String),
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        match text.strip_prefix("https://") {
            Some(machine) => Self::machine(machine),
            None => Err("write unix:///path/to.sock or https://attic.local:8080".to_owned()),
        }
    }
}

impl Host {
    /// Reads a name or an address, with or without a port.
    pub(super) fn machine(text: &str) -> Result<Self, String> {
        let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
        if let Ok(address) = host.parse::<Ipv6Addr>() {
            return Ok(Self::Tls(format!("[{address}]:{PORT}")));
        }
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        let has_port = host.rsplit_once(':').is_some_and(|(name, port)| is_port(port) && !name.is_empty());
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
        match (is_host, has_port) {
            (true, true) => Ok(Self::Tls(host.to_owned())),
            (true, false) if !host.contains(':') || host.ends_with(']') => Ok(Self::Tls(format!("{host}:{PORT}"))),
            _ => {
                Err(format!("`{text}` is no machine: write a name or an address, like attic.local or 192.168.1.5:8080"))
            }
        }
    }

    /// Returns `host:port`, or the path of the socket.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Tls(authority) => authority.clone(),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tls(authority) => write!(f, "https://{authority}"),
        }
    }
}

use std::net::{IpAddr, Ipv4Addr};

use super::Port;
use crate::subnet::{BadSubnet, Subnet};

/// From where a published port can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// From wherever the machine can be reached.
    Lan,
    /// From the machine itself.
    Loopback,
    /// From these addresses, and the machine itself.
    Range(Subnet),
    /// From nowhere.
    None,
}

impl Port {
    /// Returns from where it can be reached. What can't be read is reached from nowhere.
    pub fn exposed_to(&self) -> Exposure {
        match self.exposure.as_deref() {
            None | Some("lan") => Exposure::Lan,
            Some("loopback") => Exposure::Loopback,
            _ => self.range().and_then(Result::ok).map_or(Exposure::None, Exposure::Range),
        }
    }

    /// Returns the address of the machine that it is bound to; every address when `None`.
    pub fn bound_to(&self) -> Option<IpAddr> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.host_ip.or_else(|| (self.exposed_to() == Exposure::Loopback).then_some(loopback))
    }

    /// Returns true if both can't be published on one machine.
    #[must_use]
    pub fn clashes(&self, other: &Self) -> bool {
        (self.host_port, self.protocol) == (other.host_port, other.protocol) && share(self.bound_to(), other.bound_to())
    }

    pub(super) fn range(&self) -> Option<Result<Subnet, BadSubnet>> {
        let text = self.exposure.as_deref()?;
        (!matches!(text, "lan" | "loopback" | "none")).then(|| text.parse())
    }
}

/// Returns true if some address is meant by both. None means every address, `0.0.0.0` every one of IPv4.
fn share(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    one == other || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}

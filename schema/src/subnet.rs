//! Ranges of addresses as people write them: `172.30.0.0/24`, `fd00::/64`.

use std::{fmt, net::IpAddr, str::FromStr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    network: IpAddr,
    bits: u32,
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSubnet {
    /// What is wrong.
    pub reason: String,
    /// What to write in its place.
    pub help: String,
}

impl Subnet {
    /// Reads a range. `example` is shown to whoever wrote something else.
    pub(crate) fn parse(text: &str, example: &str) -> Result<Self, BadSubnet> {
        let like = || format!("write it like `{example}`");
        let parts = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<IpAddr>().ok()?, bits.parse().ok()?)));
        let Some((network, bits)) = parts else {
            let help = text.parse::<IpAddr>().map_or_else(
                |_| like(),
                |ip| format!("write `{ip}/{}` if this one address is meant", if ip.is_ipv4() { 32 } else { 128 }),
            );
            return Err(BadSubnet { reason: format!("`{text}` is not a range of addresses"), help });
        };
        let subnet = Self { network, bits };
        if bits > subnet.width() {
            return Err(BadSubnet {
                reason: format!("an address has {} bits, not {bits}", subnet.width()),
                help: like(),
            });
        }
        let zeroed = subnet.zeroed(network);
        if zeroed != network {
            let reason = format!("`{text}` names an address inside of the subnet, not the subnet");
            return Err(BadSubnet { reason, help: format!("write `{zeroed}/{bits}`") });
        }
        Ok(subnet)
    }

    /// Returns the network around an address.
    pub(crate) fn around(ip: IpAddr, bits: u8) -> Self {
        let mut subnet = Self { network: ip, bits: bits.into() };
        subnet.network = subnet.zeroed(ip);
        subnet
    }

    /// Returns true if there is an address for the machine and one for a container.
    pub(crate) const fn has_room(&self) -> bool {
        self.width() - self.bits >= 2
    }

    /// Returns true if they have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (wide, narrow) = if self.bits <= other.bits { (self, other) } else { (other, self) };
        wide.is_ipv6() == narrow.is_ipv6() && wide.zeroed(narrow.network) == wide.network
    }

    /// Returns true if the other one is narrower and lies in this one.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.bits < other.bits && self.overlaps(other)
    }

    /// Returns true if its addresses are IPv6.
    pub const fn is_ipv6(&self) -> bool {
        self.network.is_ipv6()
    }

    const fn width(&self) -> u32 {
        if self.network.is_ipv4() { 32 } else { 128 }
    }

    /// Returns the address with all bits zero that the subnet leaves free.
    fn zeroed(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(it) => {
                IpAddr::V4((it.to_bits() & u32::MAX.checked_shl(32 - self.bits.min(32)).unwrap_or(0)).into())
            }
            IpAddr::V6(it) => {
                IpAddr::V6((it.to_bits() & u128::MAX.checked_shl(128 - self.bits.min(128)).unwrap_or(0)).into())
            }
        }
    }

    /// Returns true if a machine can have this address here.
    pub(crate) fn has_host(&self, ip: IpAddr) -> bool {
        let last_v4 = match self.network {
            IpAddr::V4(it) => Some(IpAddr::V4((it.to_bits() | u32::MAX.checked_shr(self.bits).unwrap_or(0)).into())),
            IpAddr::V6(_) => None,
        };
        ip.is_ipv4() == self.network.is_ipv4()
            && self.zeroed(ip) == self.network
            && ip != self.network
            && Some(ip) != last_v4
    }

    /// Returns the first address for a machine.
    pub(crate) fn first(&self) -> IpAddr {
        match self.network {
            IpAddr::V4(it) => IpAddr::V4((it.to_bits() + 1).into()),
            IpAddr::V6(it) => IpAddr::V6((it.to_bits() + 1).into()),
        }
    }
}

impl FromStr for Subnet {
    type Err = BadSubnet;

    fn from_str(text: &str) -> Result<Self, BadSubnet> {
        Self::parse(text, "192.168.1.0/24")
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl fmt::Display for BadSubnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.help)
    }
}

impl std::error::Error for BadSubnet {}

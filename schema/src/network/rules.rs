//! Rules of a network that only show when fields are looked at together.

use std::net::IpAddr;

use super::Network;
use crate::{
    Declared,
    parse::{Code, Path, Violation},
};

/// Networks that the engine always has.
const BUILT_IN: &[&str] = &["bridge", "host", "none", "default"];

impl Network {
    /// Checks the rules that go beyond the shape of single fields.
    pub fn validate(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        if BUILT_IN.contains(&self.name()) {
            let path = Path::default().key("metadata").key("name");
            let reason = format!("`{}` is a network of the engine itself", self.name());
            out.push(violation(Code::Reserved, path, reason, "choose another name, such as `backend`"));
        }
        self.addresses(&mut out);
        out
    }

    fn addresses(&self, out: &mut Vec<Violation>) {
        let subnet = match self.spec.subnet.as_deref().map(Subnet::parse) {
            Some(Ok(subnet)) => Some(subnet),
            Some(Err((reason, help))) => {
                let path = Path::spec("subnet");
                out.push(violation(Code::BadSubnet, path, reason, &help));
                return;
            }
            None => None,
        };
        let path = || Path::spec("gateway");
        match (self.spec.gateway, subnet) {
            (Some(_), None) => {
                let reason = "a gateway needs a subnet that it lies in".to_owned();
                out.push(violation(Code::Conflict, path(), reason, "add `subnet = \"…\"`, or remove `gateway`"));
            }
            (Some(gateway), Some(subnet)) if !subnet.has_host(gateway) => {
                let reason = format!("`{gateway}` is not an address for a machine in the subnet");
                let help = format!("give one such as `{}`, or leave it out", subnet.first());
                out.push(violation(Code::BadSubnet, path(), reason, &help));
            }
            _ => {}
        }
    }
}

fn violation(code: Code, path: Path, reason: String, help: &str) -> Violation {
    Violation { code, path, on_key: false, reason, help: help.to_owned() }
}

/// A range of addresses, IPv4 kept in the upper bits so that both families compare alike.
struct Subnet {
    network: IpAddr,
    bits: u32,
}

impl Subnet {
    fn parse(text: &str) -> Result<Self, (String, String)> {
        let like = || "write it like `172.30.0.0/24`".to_owned();
        let parts = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<IpAddr>().ok()?, bits.parse().ok()?)));
        let Some((network, bits)) = parts else {
            return Err((format!("`{text}` is not a subnet"), like()));
        };
        let subnet = Self { network, bits };
        if bits > subnet.width() {
            return Err((format!("an address has {} bits, not {bits}", subnet.width()), like()));
        }
        if subnet.width() - bits < 2 {
            return Err((
                format!("`{text}` has no room for a container"),
                "use a smaller number after the `/`".to_owned(),
            ));
        }
        let zeroed = subnet.zeroed(network);
        if zeroed != network {
            let reason = format!("`{text}` names an address inside of the subnet, not the subnet");
            return Err((reason, format!("write `{zeroed}/{bits}`")));
        }
        Ok(subnet)
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
    fn has_host(&self, ip: IpAddr) -> bool {
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
    fn first(&self) -> IpAddr {
        match self.network {
            IpAddr::V4(it) => IpAddr::V4((it.to_bits() + 1).into()),
            IpAddr::V6(it) => IpAddr::V6((it.to_bits() + 1).into()),
        }
    }
}

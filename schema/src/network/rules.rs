//! Rules of a network that only show when fields are looked at together.

use super::{Network, policy};
use crate::{
    Declared,
    parse::{Code, Path, Violation},
    subnet::{BadSubnet, Subnet},
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
        policy::check(&self.spec, &mut out);
        out
    }

    fn addresses(&self, out: &mut Vec<Violation>) {
        let Ok(subnet) = range("subnet", self.spec.subnet.as_deref(), "172.30.0.0/24", out) else { return };
        let ipv6 = range("ipv6", self.spec.ipv6.as_deref(), "fd12:3456:789a::/64", out).unwrap_or_default();
        if ipv6.is_some_and(|it| !it.is_ipv6()) {
            let reason = "these are IPv4 addresses".to_owned();
            out.push(violation(Code::BadSubnet, Path::spec("ipv6"), reason, "write them as `subnet`"));
        } else if ipv6.is_some() && subnet.is_some_and(|it| it.is_ipv6()) {
            let reason = "`subnet` has the IPv6 addresses of the network already".to_owned();
            out.push(violation(Code::Conflict, Path::spec("ipv6"), reason, "remove one of the two"));
        }
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

/// Reads the addresses that a key gives to the network. An error has been noted already.
fn range(key: &str, text: Option<&str>, example: &str, out: &mut Vec<Violation>) -> Result<Option<Subnet>, ()> {
    let Some(text) = text else { return Ok(None) };
    let subnet = Subnet::parse(text, example).and_then(|subnet| {
        let reason = format!("`{text}` has no room for a container");
        let help = "use a smaller number after the `/`".to_owned();
        if subnet.has_room() { Ok(subnet) } else { Err(BadSubnet { reason, help }) }
    });
    subnet
        .map(Some)
        .map_err(|BadSubnet { reason, help }| out.push(violation(Code::BadSubnet, Path::spec(key), reason, &help)))
}

pub(super) fn violation(code: Code, path: Path, reason: String, help: &str) -> Violation {
    Violation { code, path, on_key: false, reason, help: help.to_owned() }
}

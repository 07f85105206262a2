use super::note;
use crate::{
    container::{ContainerSpec, Exposure, Port},
    parse::{Code, Path, Violation},
    subnet::BadSubnet,
};

pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    if let Some(network @ ("host" | "none")) = spec.network.as_deref()
        && !spec.ports.is_empty()
    {
        let (reason, help) = if network == "host" {
            (
                "on the network `host` a container has no ports of its own to publish",
                "remove `ports`: the program is reachable as it is",
            )
        } else {
            ("without a network no port can be reached", "remove `ports`, or join a network")
        };
        note(out, Code::Conflict, Path::spec("ports"), reason, help);
    }
    for (index, port) in spec.ports.iter().enumerate() {
        exposure(port, &Path::spec("ports").index(index).key("exposure"), out);
        let earlier = spec.ports[..index].iter().position(|other| port.clashes(other));
        if let Some(earlier) = earlier.filter(|_| port.host_port != 0) {
            let path = Path::spec("ports").index(index).key("hostPort");
            let number = port.host_port;
            let reason = format_args!("port {number} of the machine is already given to `spec.ports[{earlier}]`");
            note(out, Code::Duplicate, path, reason, "choose another `hostPort`, or another `hostIp`");
        }
    }
}

fn exposure(port: &Port, path: &Path, out: &mut Vec<Violation>) {
    if let Some(Err(BadSubnet { reason, help })) = port.range() {
        return note(out, Code::BadSubnet, path.clone(), reason, help);
    }
    match (port.exposed_to(), port.host_ip) {
        (Exposure::Range(range), Some(ip)) if ip.is_ipv6() != range.is_ipv6() => {
            let reason = "the range and `hostIp` are of different families, so nobody would reach the port";
            note(out, Code::Conflict, path.clone(), reason, "write both as IPv4 or both as IPv6");
        }
        (Exposure::Loopback, Some(ip)) if !ip.is_loopback() => {
            let reason = format_args!("`{ip}` is no loopback address");
            note(out, Code::Conflict, path.clone(), reason, "remove `hostIp`, or choose another `exposure`");
        }
        _ => {}
    }
}

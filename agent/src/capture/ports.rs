//! Ports that are reachable from outside.

use serde_json::{Map, Value as Json};

use super::{
    container::Source,
    json::{entries, is_nothing, list, object, text},
};
use crate::foreign::Draft;

pub(super) fn take(draft: &mut Draft, source: &Source<'_>, key: &str, value: &Json) -> bool {
    let given = &source.inspection["NetworkSettings"]["Ports"];
    let alone = matches!(text(&source.inspection["HostConfig"]["NetworkMode"]), "host" | "none");
    match key {
        "HostConfig.PortBindings" if alone => {
            if !is_nothing(value) {
                draft.changed("", "left out: on this network there are none to publish");
            }
        }
        "HostConfig.PortBindings" => publish(draft, value, given),
        "HostConfig.PublishAllPorts" => {
            if value == true && !alone {
                draft.changed("", "its ports are those of the machine that the engine chose");
                let asked = &source.inspection["HostConfig"]["PortBindings"];
                let rest: Map<_, _> =
                    entries(given).filter(|(port, _)| asked.get(port.as_str()).is_none()).map(cloned).collect();
                publish(draft, &rest.into(), given);
            }
        }
        _ => return false,
    }
    true
}

fn cloned((key, value): (&String, &Json)) -> (String, Json) {
    (key.clone(), value.clone())
}

fn publish(draft: &mut Draft, bindings: &Json, given: &Json) {
    for (port, places) in entries(bindings) {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let part = format!(".{port}");
        let Ok(number) = number.parse::<u16>() else {
            draft.lost(&part, "this is no port");
            continue;
        };
        if !matches!(protocol, "tcp" | "udp") {
            draft.lost(&part, format!("there are ports of TCP and UDP, none of `{protocol}`"));
            continue;
        }
        for (index, place) in list(places).iter().enumerate() {
            if let Some(host_port) = host_port(draft, &part, text(&place["HostPort"]), &given[port][index]) {
                draft.push("ports", written(number, protocol, host_port, text(&place["HostIp"])));
            }
        }
    }
}

/// Returns the port of the machine; the one that the engine chose where it was left to it.
fn host_port(draft: &mut Draft, part: &str, asked: &str, given: &Json) -> Option<u16> {
    if let Ok(port @ 1..) = asked.parse() {
        return Some(port);
    }
    let chosen: Option<u16> = text(&given["HostPort"]).parse().ok();
    match chosen {
        Some(port) => draft.changed(part, format!("the engine chose the port {port} of the machine, which stays")),
        None => draft.lost(part, "which port of the machine it has is not known"),
    }
    chosen
}

fn written(port: u16, protocol: &str, host_port: u16, host_ip: &str) -> Map<String, Json> {
    let mut all = object([("hostPort", host_port.into()), ("containerPort", port.into())]);
    if !host_ip.is_empty() {
        all.insert("hostIp".to_owned(), host_ip.into());
    }
    if protocol != "tcp" {
        all.insert("protocol".to_owned(), protocol.into());
    }
    all
}

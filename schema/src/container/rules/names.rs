use std::net::IpAddr;

use super::{ContainerSpec, note, note_key};
use crate::parse::{Code, Path, Violation};

/// Settings of the kernel that the engine gives each container of its own.
const OWN_SETTINGS: &[&str] = &["net.", "kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."];

pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    networks(spec, out);
    hosts(spec, out);
    settings(spec, out);
}

fn networks(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (index, name) in spec.more_networks.iter().enumerate() {
        let path = Path::spec("moreNetworks").index(index);
        if super::super::BUILT_IN.contains(&name.as_str()) {
            let reason = format_args!("`{name}` is the engine's own and stands alone");
            note(out, Code::Conflict, path, reason, "write it as `network`, and no more");
        } else if spec.network.as_ref() == Some(name) || spec.more_networks[..index].contains(name) {
            note(out, Code::Duplicate, path, format_args!("it is on `{name}` already"), "remove one of the two");
        }
    }
    let alone = spec.network.as_deref().is_none_or(|network| super::super::BUILT_IN.contains(&network));
    for (key, given) in [("moreNetworks", !spec.more_networks.is_empty()), ("aliases", !spec.aliases.is_empty())] {
        if alone && given {
            let reason = format_args!("`{key}` needs a `network` that a manifest declares");
            note(out, Code::Conflict, Path::spec(key), reason, "name such a network, or remove it");
        }
    }
}

fn hosts(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (name, address) in &spec.extra_hosts {
        let path = Path::spec("extraHosts").key(name);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':') {
            note_key(out, Code::ForbiddenCharacter, path, "this can't be the name of a host", "give it a plain name");
        } else if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            let reason = format_args!("`{address}` is no address");
            note(out, Code::WrongForm, path, reason, "write an address, or `host-gateway` for the machine");
        }
    }
}

fn settings(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (name, value) in &spec.sysctls {
        let path = Path::spec("sysctls").key(name);
        if !OWN_SETTINGS.iter().any(|own| name.starts_with(own)) || name.contains(['/', '\0', ' ']) {
            let reason = format_args!("`{name}` is a setting of the whole machine");
            let help = format_args!("a container has of its own what begins with {}", OWN_SETTINGS.join(", "));
            note_key(out, Code::UnknownWord, path, reason, help);
        } else if value.contains('\0') {
            note(out, Code::ForbiddenCharacter, path, "the value holds a NUL", "write plain text");
        } else if name.starts_with("net.") && spec.network.as_deref() == Some("host") {
            let reason = "on the network `host` the settings of the network are the machine's";
            note_key(out, Code::Conflict, path, reason, "remove it, or join another network");
        }
    }
}

//! Ports that are reachable from outside.

use std::{net::IpAddr, ops::RangeInclusive};

use serde_json::{Map, Value as Json};

use crate::compose::{
    draft::Draft,
    yaml::{Node, Value},
};

/// The most ports that one line may mean.
const MOST: usize = 1000;

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "ports" => {
            for (index, item) in draft.list(node).iter().enumerate() {
                port(draft, item, &format!("[{index}]"));
            }
        }
        "expose" => draft.changed("", "left out: containers on one network reach each other at every port"),
        _ => return false,
    }
    true
}

/// Ports of one line, as they were written.
struct Line {
    ip: Option<IpAddr>,
    host: Option<RangeInclusive<u16>>,
    container: RangeInclusive<u16>,
    protocol: String,
}

fn port(draft: &mut Draft<'_>, item: &Node, part: &str) {
    let line = match &item.value {
        Value::Text(text) => short(text),
        Value::Map(_) => long(draft, item, part),
        _ => None,
    };
    match line {
        Some(line) => publish(draft, line, part),
        None => draft.wrong(item.place, "this is no port", "write `8080:80`, `127.0.0.1:8080:80` or `53:53/udp`"),
    }
}

fn publish(draft: &mut Draft<'_>, line: Line, part: &str) {
    let Line { ip, host, container, protocol } = line;
    let Some(host) = host else {
        let note = format!("no port of the machine is named for {}; add `ports` with a `hostPort`", container.start());
        return draft.lost(part, note);
    };
    if protocol != "tcp" && protocol != "udp" {
        return draft.lost(part, format!("the protocol `{protocol}` can't be published"));
    }
    if host.len() != container.len() {
        return draft.lost(part, "of a range of ports the engine would pick one; name the one that is meant");
    }
    if host.len() > MOST {
        return draft.lost(part, format!("more than {MOST} ports; use the network `host` instead"));
    }
    for (host, container) in host.zip(container) {
        let mut port = Map::new();
        port.insert("hostPort".to_owned(), host.into());
        port.insert("containerPort".to_owned(), container.into());
        if let Some(ip) = ip {
            port.insert("hostIp".to_owned(), ip.to_string().into());
        }
        if protocol == "udp" {
            port.insert("protocol".to_owned(), "udp".into());
        }
        let known =
            matches!(draft.spec.get("ports"), Some(Json::Array(all)) if all.contains(&Json::Object(port.clone())));
        if !known {
            draft.push("ports", port);
        }
    }
}

/// Reads `[[IP:]HOST:]CONTAINER[/PROTOCOL]`.
fn short(text: &str) -> Option<Line> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, container) = text.rsplit_once(':').map_or((None, text), |(rest, last)| (Some(rest), last));
    let (ip, host) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            None => (None, Some(rest)),
            Some((ip, host)) => (Some(ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?), Some(host)),
        },
    };
    let host = match host {
        None | Some("") => None,
        Some(host) => Some(range(host)?),
    };
    Some(Line { ip, host, container: range(container)?, protocol: protocol.to_ascii_lowercase() })
}

fn long(draft: &mut Draft<'_>, item: &Node, part: &str) -> Option<Line> {
    let (mut ip, mut host, mut container, mut protocol) = (None, None, None, "tcp".to_owned());
    for entry in draft.entries(item) {
        let text = entry.value.text().unwrap_or_default();
        match entry.key.as_str() {
            "target" => container = Some(range(text)?),
            "published" if text.is_empty() => {}
            "published" => host = Some(range(text)?),
            "host_ip" => ip = Some(text.parse().ok()?),
            "protocol" => protocol = text.to_ascii_lowercase(),
            "name" | "app_protocol" | "mode" => {
                draft.changed(&format!("{part}.{}", entry.key), "left out: it changes nothing on one machine");
            }
            _ => draft.unknown(entry, &["target", "published", "host_ip", "protocol", "name", "app_protocol", "mode"]),
        }
    }
    Some(Line { ip, host, container: container?, protocol })
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

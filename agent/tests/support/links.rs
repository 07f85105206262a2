//! A machine with links in memory, what they may be asked to be, and what hands do to them.

use piccolo_agent::host::{DeviceSeen, LinksView, RouteSeen, UnitSeen, WifiSeen, fake::FakeLinks};
use piccolo_schema::LinkSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// How many things a hand may do.
pub const HANDS: u8 = 16;

/// Returns a machine with three ports with a wire, and one without.
pub fn machine() -> FakeLinks {
    let port = |number: u8| DeviceSeen {
        name: format!("eth{number}"),
        mac: Some(format!("52:54:00:00:00:0{number}")),
        up: true,
        carrier: true,
        mtu: 1500,
        ..DeviceSeen::default()
    };
    let radio = DeviceSeen { name: "wlan0".to_owned(), wireless: true, ..port(9) };
    FakeLinks::new(LinksView {
        devices: vec![port(0), port(1), port(2), radio],
        secrets: [("wifi".to_owned(), [("one", "d1"), ("two", "d2")].map(|(a, b)| (a.into(), b.into())).into())].into(),
        ..LinksView::default()
    })
}

fn read(spec: Value) -> LinkSpec {
    serde_json::from_value(spec).unwrap()
}

/// A port without a wire, that joins a network.
pub fn air(ssid: &str, key: Option<&str>) -> LinkSpec {
    let wifi = match key {
        Some(key) => json!({ "ssid": ssid, "psk": { "secret": "wifi", "key": key } }),
        None => json!({ "ssid": ssid, "security": "open" }),
    };
    read(json!({ "match": { "mac": "52:54:00:00:00:09" }, "dhcp4": true, "wifi": wifi }))
}

/// A port with a wire.
pub fn port(number: u8) -> impl Strategy<Value = LinkSpec> {
    (2..5_u8, any::<bool>(), proptest::option::of(1400..1402_u32)).prop_map(move |(address, dhcp4, mtu)| {
        read(json!({
            "match": { "mac": format!("52:54:00:00:00:0{number}") }, "addresses": [format!("10.{number}.0.{address}/24")],
            "dhcp4": dhcp4, "mtu": mtu, "routes": [{ "to": format!("10.9{number}.0.0/16"), "via": format!("10.{number}.0.1") }],
        }))
    })
}

pub fn vlan() -> impl Strategy<Value = LinkSpec> {
    (20..22_u16).prop_map(|id| read(json!({ "vlan": { "parent": "a", "id": id } })))
}

pub fn bridge() -> impl Strategy<Value = LinkSpec> {
    Just(read(json!({ "bridge": { "members": ["plain"] }, "addresses": ["10.50.0.1/24"] })))
}

pub fn plain() -> impl Strategy<Value = LinkSpec> {
    Just(read(json!({ "match": { "name": "eth2" } })))
}

pub fn dummy() -> impl Strategy<Value = LinkSpec> {
    Just(read(json!({ "dummy": true, "addresses": ["10.1.0.9/32"] })))
}

/// A network for the port without a wire.
pub fn network() -> impl Strategy<Value = LinkSpec> {
    (0..2_u8, 0..3_u8)
        .prop_map(|(ssid, key)| air(&format!("net{ssid}"), [Some("one"), Some("two"), None][usize::from(key)]))
}

/// What a hand does to links.
pub fn by_hand(machine: &FakeLinks, what: u8) {
    machine.by_hand(|view| match what {
        0 => view.devices.iter_mut().for_each(|it| it.addresses.clear()),
        1 => view.devices.retain(|it| it.kind.is_none()),
        2 => view.devices.iter_mut().for_each(|it| {
            it.routes = vec![RouteSeen { to: "0.0.0.0/0".to_owned(), via: None, metric: 7, leased: false }];
        }),
        3 => view.devices.iter_mut().for_each(|it| it.up = false),
        4 => view.units.retain(|it| it.name.ends_with(".netdev")),
        5 => view.units.iter_mut().for_each(|it| it.text.push_str("# a hand\n")),
        6 => view.devices.iter_mut().for_each(|it| it.mtu = 1300),
        7 => view.devices.iter_mut().for_each(|it| it.master = None),
        8 => view.devices.reverse(),
        9 => view.units.push(UnitSeen {
            directory: "/etc/systemd/network".to_owned(),
            name: "05-others.network".to_owned(),
            subject: None,
            text: "[Match]\nName=eth1\n".to_owned(),
            closed: false,
        }),
        10 => view.wifi.iter_mut().for_each(|it| it.serves = false),
        11 => view.wifi.iter_mut().for_each(|it| it.digest = None),
        12 => view.wifi.clear(),
        13 => {
            view.devices.iter_mut().filter(|it| it.wireless).for_each(|it| it.name = "wlan7".to_owned());
        }
        14 => view.wifi.push(WifiSeen { device: "wlan7".to_owned(), ..WifiSeen::default() }),
        15 => {
            view.secrets
                .insert("wifi".to_owned(), [("one", "d3"), ("two", "d2")].map(|(a, b)| (a.into(), b.into())).into());
        }
        _ => {}
    });
}

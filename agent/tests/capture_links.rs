//! Links of others as manifests: what is written down changes nothing of what is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::net::IpAddr;

use piccolo_agent::{
    capture::{self, Capture},
    foreign::Outcome,
    host::{DeviceSeen, Links as _, LinksView, MadeSeen, RouteSeen, UnitSeen, fake::FakeLinks},
    reconcile::{Reconciler, link::Links},
};
use piccolo_schema::{Desired, Link, Manifest, parse::parse};

fn device(name: &str, mac: u8, kind: Option<&str>, addresses: &[&str]) -> DeviceSeen {
    DeviceSeen {
        name: name.to_owned(),
        mac: Some(format!("52:54:00:00:00:{mac:02x}")),
        permanent_mac: kind.is_none().then(|| format!("52:54:00:00:00:{mac:02x}")),
        kind: kind.map(str::to_owned),
        up: true,
        carrier: true,
        mtu: 1500,
        addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
        ..DeviceSeen::default()
    }
}

fn route(to: &str, via: &str, metric: u32, leased: bool) -> RouteSeen {
    RouteSeen { to: to.to_owned(), via: via.parse::<IpAddr>().ok(), metric, leased }
}

/// Two ports: one with addresses of its own, one with some that were given to it.
fn ports() -> LinksView {
    let fixed = DeviceSeen {
        routes: vec![
            route("0.0.0.0/0", "192.168.1.1", 0, false),
            route("10.0.0.0/8", "192.168.1.2", 50, false),
            route("2001:db8:7::/48", "fd00:5::1", 1024, false),
        ],
        mtu: 9000,
        dns: vec!["192.168.1.1".to_owned()],
        ..device("enp3s0", 1, None, &["192.168.1.10/24", "fd00:5::10/64", "fe80::1/64"])
    };
    let given = DeviceSeen {
        leased: vec!["192.168.7.33/24".to_owned()],
        routes: vec![route("0.0.0.0/0", "192.168.7.1", 1024, true), route("0.0.0.0/0", "192.168.7.1", 0, false)],
        dns: vec!["192.168.7.1".to_owned()],
        ..device("enp4s0", 2, None, &["192.168.7.33/24"])
    };
    LinksView { devices: vec![fixed, given, device("lo", 0, None, &["127.0.0.1/8"])], ..LinksView::default() }
}

fn captured(view: &LinksView) -> Capture {
    capture::links(&serde_json::to_value(view).unwrap())
}

fn manifests(capture: &Capture) -> Vec<Link> {
    let read = |text: &str| match parse(text) {
        Ok(Manifest::Link(link)) => *link,
        other => panic!("{other:?} of {text}"),
    };
    capture.manifests.iter().map(|it| read(&it.text)).collect()
}

fn notes(capture: &Capture, outcome: Outcome) -> Vec<String> {
    let rows = capture.report.rows.iter().filter(|row| row.outcome == outcome);
    rows.map(|row| format!("{}: {}", row.subject, row.note)).collect()
}

#[test]
fn ports_are_written_down_by_what_stays() {
    let capture = captured(&ports());
    let texts: Vec<_> = capture.manifests.iter().map(|it| it.text.split("[spec]\n").nth(1).unwrap()).collect();
    assert_eq!(
        texts,
        [
            "match = { permanentMac = \"52:54:00:00:00:01\" }\naddresses = [\"192.168.1.10/24\", \"fd00:5::10/64\"]\n\
             routes = [\n  { to = \"0.0.0.0/0\", via = \"192.168.1.1\" },\n  { to = \"10.0.0.0/8\", via = \"192.168.1.2\", \
             metric = 50 },\n  { to = \"2001:db8:7::/48\", via = \"fd00:5::1\" },\n]\nmtu = 9000\ndns = \
             [\"192.168.1.1\"]\n",
            "match = { permanentMac = \"52:54:00:00:00:02\" }\ndhcp4 = true\n",
        ]
    );
    assert_eq!(notes(&capture, Outcome::Unsupported), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_written_down_leaves_the_machine_as_it_is() {
    let view = ports();
    let desired = Desired::complete(manifests(&captured(&view)));
    let machine = std::sync::Arc::new(FakeLinks::new(view.clone()));
    let reconciler = Links(machine.clone());
    let mut passes = 0;
    loop {
        let plan = Links::<FakeLinks>::plan(&desired, &machine.links().await.unwrap());
        assert_eq!(plan.waiting, []);
        if plan.is_settled() {
            break;
        }
        passes += 1;
        assert!(passes < 5, "{:?}", plan.steps);
        for step in &plan.steps {
            reconciler.apply(step).await.unwrap();
        }
    }
    let after = machine.links().await.unwrap();
    let fixed = |view: &LinksView| {
        let device = &view.devices[0];
        // What every link has by itself is nobody's.
        let addresses: Vec<_> = device.addresses.iter().filter(|it| !it.starts_with("fe80:")).cloned().collect();
        let mut routes: Vec<_> = device.routes.iter().map(|it| (it.to.clone(), it.via)).collect();
        routes.sort();
        (device.name.clone(), addresses, routes, device.mtu, device.up)
    };
    assert_eq!(fixed(&after), fixed(&view));
    assert_eq!(machine.trespasses(), Vec::<String>::new());
}

#[test]
fn what_is_made_of_others_names_their_manifests() {
    let bond = DeviceSeen {
        made: MadeSeen { mode: Some("802.3ad".to_owned()), ..MadeSeen::default() },
        ..device("bond0", 9, Some("bond"), &["192.168.1.10/24"])
    };
    let member = |name: &str, mac| DeviceSeen { master: Some("bond0".to_owned()), ..device(name, mac, None, &[]) };
    let vlan = DeviceSeen {
        made: MadeSeen { parent: Some("bond0".to_owned()), vlan: Some(20), ..MadeSeen::default() },
        ..device("guests", 9, Some("vlan"), &["192.168.20.1/24"])
    };
    let port = DeviceSeen { master: Some("front".to_owned()), ..device("tap-1", 7, Some("veth"), &[]) };
    let bridge = DeviceSeen {
        made: MadeSeen { stp: true, ..MadeSeen::default() },
        ..device("front", 8, Some("bridge"), &["10.3.0.1/24"])
    };
    let view = LinksView {
        devices: vec![bond, bridge, member("enp1s0", 1), member("enp2s0", 2), vlan, port],
        ..LinksView::default()
    };
    let capture = captured(&view);
    let text = |name: &str| {
        let it = capture.manifests.iter().find(|it| it.name == name).unwrap_or_else(|| panic!("no {name}"));
        it.text.split("[spec]\n").nth(1).unwrap().to_owned()
    };
    assert!(text("bond0").starts_with("bond = { members = [\"enp1s0\", \"enp2s0\"], mode = \"802.3ad\" }\n"));
    assert!(text("front").starts_with("bridge = { members = [\"tap-1\"], stp = true }\n"), "{}", text("front"));
    assert!(text("guests").starts_with("vlan = { parent = \"bond0\", id = 20 }\n"), "{}", text("guests"));
    assert_eq!(text("enp1s0"), "match = { permanentMac = \"52:54:00:00:00:01\" }\n");
    assert_eq!(text("tap-1"), "match = { mac = \"52:54:00:00:00:07\" }\n");
    // Nothing of it is made a second time: the links that are there are not ours.
    let plan = Links::<FakeLinks>::plan(&Desired::complete(manifests(&capture)), &view);
    let waits: Vec<_> = plan.waiting.iter().map(|it| (it.subject.as_str(), it.reason.as_str())).collect();
    assert_eq!(waits, [("bond0", "NameTaken"), ("front", "NameTaken"), ("guests", "NameTaken")]);
    assert!(plan.steps.iter().all(|it| !["bond0", "front", "guests"].contains(&it.subject.as_str())));
}

#[test]
fn a_port_without_a_wire_is_written_down_without_its_network() {
    let radio = DeviceSeen { wireless: true, ..device("wlan0", 3, None, &["192.168.8.10/24"]) };
    let capture = captured(&LinksView { devices: vec![radio], ..LinksView::default() });
    let links = manifests(&capture);
    assert_eq!((links.len(), links[0].spec.wifi.as_ref()), (1, None));
    let lost = notes(&capture, Outcome::Unsupported);
    assert!(lost.len() == 1 && lost[0].contains("piccolo secret set wifi password"), "{lost:?}");
}

#[test]
fn what_cannot_be_told_is_in_the_report() {
    let ours = UnitSeen {
        directory: "/etc/systemd/network".to_owned(),
        name: "10-piccolo-lan.network".to_owned(),
        subject: Some("lan".to_owned()),
        ..UnitSeen::default()
    };
    let kept = DeviceSeen { unit: Some(ours.path()), ..device("enp3s0", 1, None, &["192.168.1.10/24"]) };
    let theirs = DeviceSeen {
        unit: Some("/etc/systemd/network/50-mine.network".to_owned()),
        ..device("enp4s0", 2, None, &["192.168.4.10/24"])
    };
    let odd = DeviceSeen {
        made: MadeSeen { mode: Some("balance-rr".to_owned()), ..MadeSeen::default() },
        ..device("bond1", 5, Some("bond"), &[])
    };
    let idle = DeviceSeen { up: false, ..device("sit0", 0, Some("sit"), &[]) };
    let view = LinksView {
        units: vec![ours],
        devices: vec![
            kept,
            theirs,
            odd,
            idle,
            device("wg0", 0, Some("wireguard"), &["10.8.0.1/24"]),
            device("vx0", 6, Some("vxlan"), &["10.9.0.1/24"]),
            device("enp4s0.7", 2, Some("vlan"), &[]),
            device("docker0", 3, Some("bridge"), &["172.17.0.1/16"]),
            device("br-0a1b2c", 3, Some("bridge"), &["172.18.0.1/16"]),
            device("veth12ab", 4, Some("veth"), &[]),
        ],
        ..LinksView::default()
    };
    let capture = captured(&view);
    assert_eq!(capture.manifests.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["enp4s0"]);
    let lost = notes(&capture, Outcome::Unsupported);
    assert_eq!(lost.len(), 4, "{lost:?}");
    assert!(lost[0].contains("`balance-rr`") && lost[1].contains("`wg showconf`"), "{lost:?}");
    assert!(lost[2].contains("`vxlan`") && lost[3].contains("`enp4s0.7` is no such name"), "{lost:?}");
    let kept = notes(&capture, Outcome::Kept);
    assert!(kept[0].contains("50-mine.network"), "{kept:?}");
}

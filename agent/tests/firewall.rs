//! The rules on a real packet filter: every zone knocks at every port, from network namespaces of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that can't go on has failed, and runs real programs"
)]

#[path = "support/skip.rs"]
mod skip;

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use piccolo_agent::{
    host::{FilterView, fake::FakeEngine},
    reconcile::{
        Reconciler,
        firewall::{Act, Firewalls},
    },
};
use piccolo_schema::{Desired, Firewall, Manifest, parse::parse};
use skip::skipped;

/// Where packets come from: the link at the machine, the machine's address there, and theirs.
const PEERS: [(&str, &str, &str); 4] = [
    ("lan0", "192.168.77.1", "192.168.77.2"),
    ("wg0", "10.77.0.1", "10.77.0.2"),
    ("wan0", "203.0.113.1", "203.0.113.2"),
    ("pic-apps", "172.30.9.1", "172.30.9.2"),
];

/// Each port, and whether it is open from the network, the tunnel, elsewhere, and containers.
const MATRIX: [(u16, [bool; 4]); 9] = [
    // The API, which the table of networks keeps from containers.
    (8080, [true, false, false, false]),
    (22, [true, true, false, false]),
    (9000, [false, false, false, true]),
    (9001, [true, true, true, true]),
    // Published by a container that the engine serves by a program of its own.
    (8088, [true, true, true, true]),
    // Leads on to the container.
    (443, [true, false, true, false]),
    // The last of a range, and the one after it.
    (9110, [true, false, false, false]),
    (9111, [false, false, false, false]),
    (4444, [false, false, false, false]),
];

const MANIFEST: &str = r#"
apiVersion = "piccolo.os/v1alpha1"
kind = "Firewall"
metadata.name = "inbound"

[spec]
zones = [{ name = "outside", links = ["wan*"], addresses = ["203.0.113.0/24"] }]
services = [
  { name = "ssh", ports = [22], from = ["lan", "wireguard"], rate = "600/minute" },
  { name = "inner", ports = [9000], from = ["containers"] },
  { name = "games", ranges = ["9100-9110"] },
  { name = "open", ports = [9001], from = ["anywhere"] },
]
forwards = [{ name = "site", port = 443, from = ["lan", "outside"], container = "web", containerPort = 8443 }]
"#;

const SEEN: &str = r#"
apiPort = 8080
bridges = ["pic-apps"]

[[containers]]
id = "1f2e3d4c5b6a"
name = "web"
network = "apps"
addresses = ["172.30.9.2"]
ports = [
  { hostPort = 8088, containerPort = 80 },
  { hostPort = 8443, containerPort = 8443, exposure = "loopback" },
]
"#;

/// Namespaces that go with the test.
struct Scene(String);

impl Scene {
    fn new() -> Option<Self> {
        let scene = Self(format!("piccolo-{}", std::process::id()));
        if !scene.ip(&["netns", "add", &scene.name("machine")]) {
            return None;
        }
        scene.machine("ip link set lo up; sysctl -qw net.ipv4.ip_forward=1");
        for (link, here, there) in PEERS {
            let (peer, machine) = (scene.name(link), scene.name("machine"));
            assert!(scene.ip(&["netns", "add", &peer]));
            let far = ["link", "add", link, "netns", &machine, "type", "veth", "peer", "name", "up0", "netns", &peer];
            assert!(scene.ip(&far));
            scene.machine(&format!("ip addr add {here}/24 dev {link}; ip link set {link} up"));
            let script = format!(
                "ip addr add {there}/24 dev up0; ip link set up0 up; ip link set lo up; ip route add default via {here}"
            );
            assert!(run(&peer, &script).wait_with_output().unwrap().status.success());
        }
        Some(scene)
    }

    fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.0)
    }

    fn ip(&self, arguments: &[&str]) -> bool {
        Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    }

    fn machine(&self, script: &str) -> String {
        let output = run(&self.name("machine"), &format!("set -e; {script}")).wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn set(&self, rules: &str) {
        let mut nft = Command::new("ip")
            .args(["netns", "exec", &self.name("machine"), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "{rules}");
    }

    /// Knocks at every port from everywhere at once. A port that lets in but has no program refuses; one that is shut says
    /// nothing.
    fn knock(&self) -> Vec<(u16, [bool; 4])> {
        let knocks = MATRIX.map(|(port, _)| {
            let script = |here| format!("timeout 4 bash -c ': < /dev/tcp/{here}/{port}'");
            (port, PEERS.map(|(link, here, _)| run(&self.name(link), &script(here))))
        });
        let is_open = |knock: Child| knock.wait_with_output().unwrap().status.code() == Some(1);
        knocks.into_iter().map(|(port, knocks)| (port, knocks.map(is_open))).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for name in PEERS.iter().map(|it| it.0).chain(["machine"]) {
            self.ip(&["netns", "del", &self.name(name)]);
        }
    }
}

fn run(namespace: &str, script: &str) -> Child {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "bash", "-c", script]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn every_zone_reaches_what_it_may_and_nothing_else() {
    let Some(scene) = Scene::new() else {
        skipped("no network namespace can be made here");
        return;
    };
    let Ok(Manifest::Firewall(manifest)) = parse(MANIFEST) else { panic!("the manifest is wrong") };
    let view: FilterView = toml::from_str(SEEN).unwrap();
    let desired = Desired::complete(vec![Firewall::clone(&manifest)]);
    let plan = Firewalls::<FakeEngine>::plan(&desired, &view);
    assert!(plan.waiting.is_empty(), "{:?}", plan.waiting);
    let Some(Act::Set { rules, .. }) = plan.steps.first().map(|step| &step.act) else { panic!("nothing is planned") };

    scene.set(&rules.text);
    assert_eq!(scene.knock(), MATRIX.to_vec());

    // Who is counted at present is no part of the rules: they read the same after all of that.
    let list = || scene.machine("nft -s -nn -t list table inet piccolo_firewall");
    let before = list();
    scene.set(&rules.text);
    assert_eq!(list(), before);

    // When the machine starts nobody knows where a port leads on to, so it does not; all else is the same.
    scene.set(&rules.boot);
    let at_start = MATRIX.map(|(port, open)| (port, if port == 443 { [false; 4] } else { open }));
    assert_eq!(scene.knock(), at_start.to_vec());
}

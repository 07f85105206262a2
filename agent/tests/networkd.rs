//! A real systemd-networkd, in a network namespace of its own, keeps links as manifests ask. Skipped, and said, where the
//! machine has no networkd or the test is not root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs real programs"
)]

#[path = "support/skip.rs"]
mod skip;

use std::{
    cell::Cell,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use piccolo_agent::{
    capture,
    host::{DeviceSeen, Links as _, LinksView, RouteSeen, linux::Networkd, linux::Vault},
    reconcile::{Reconciler, link::Links},
};
use piccolo_schema::{Desired, Link, parse::parse};
use skip::skipped;

/// Says that the test runs within its house.
const WITHIN: &str = "PICCOLO_TEST_HOUSE";
/// How long a link may take.
const PATIENCE: Duration = Duration::from_secs(20);
const UNITS: &str = "/etc/systemd/network";

#[test]
fn a_real_networkd_keeps_links() {
    if let Some(house) = std::env::var_os(WITHIN) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(story(Path::new(&house)));
    }
    let has = |path: &str| Path::new(path).exists();
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    if !is_root || !has("/lib/systemd/systemd-networkd") || !has("/usr/bin/dbus-daemon") {
        skipped("it takes root, systemd-networkd and dbus-daemon");
        return;
    }
    let house = tempfile::TempDir::new().unwrap();
    let path = format!("{}/tests/networkd/bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networkd/house.sh");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash"])
        .arg(script)
        .arg(house.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_real_networkd_keeps_links", "--nocapture"])
        .env(WITHIN, house.path())
        .env("HOUSE", house.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if words.contains("Operation not permitted") && words.contains("unshare") {
        skipped("no namespace can be made here");
        return;
    }
    let log = fs::read_to_string(house.path().join("networkd.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{words}\n{log}", String::from_utf8_lossy(&output.stdout));
    eprintln!("{words}");
    // Every line of our files is one that it knows.
    let complaints = ["Unknown", "nvalid", "ailed to parse", "gnoring"];
    let of_ours = |line: &&str| {
        line.contains("10-piccolo-")
            && !line.contains("NetDev could not be found")
            && complaints.iter().any(|word| line.contains(word))
    };
    assert_eq!(log.lines().filter(of_ours).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// A machine, and what is wanted of it.
struct Machine {
    links: Arc<Networkd>,
    /// How many changes were on trial.
    trials: Cell<u32>,
}

impl Machine {
    async fn view(&self) -> LinksView {
        self.links.links().await.unwrap()
    }

    /// Passes until the next plan is empty but for what waits. Returns what waits, and how many steps it took.
    async fn settle(&self, desired: &Desired<Link>) -> (Vec<String>, usize) {
        let (reconciler, begun, mut steps, mut quiet) = (Links(self.links.clone()), Instant::now(), 0, 0);
        loop {
            let plan = Links::<Networkd>::plan(desired, &self.view().await);
            let waits: Vec<_> = plan.waiting.iter().map(|it| it.reason.clone()).collect();
            if plan.steps.is_empty() && !waits.iter().any(|it| it == "SettingUp") {
                // While networkd sets a link up anew it has no carrier for a moment, and nothing is missing then.
                quiet += 1;
                if quiet == 3 {
                    self.confirm().await;
                    return (waits, steps);
                }
            } else {
                quiet = 0;
            }
            assert!(begun.elapsed() < PATIENCE, "{:?} {waits:?}", plan.steps);
            for step in &plan.steps {
                reconciler.apply(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
                steps += 1;
            }
            // What is told wakes it; what is not is looked for.
            drop(tokio::time::timeout(Duration::from_millis(200), self.links.changed()).await);
        }
    }

    /// Says, as a person at the machine does, that what is on trial stays: nothing leads out of the house, so that whoever is
    /// near may come by any link with an address.
    async fn confirm(&self) {
        if self.view().await.trial.is_some() {
            self.links.confirm(None, &[]).await.unwrap();
            self.trials.set(self.trials.get() + 1);
        }
    }

    async fn by_mac(&self, mac: &str) -> Option<DeviceSeen> {
        self.view()
            .await
            .devices
            .into_iter()
            .find(|it| it.mac.as_deref() == Some(mac) && it.kind.as_deref() == Some("veth"))
    }
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

fn link(name: &str, spec: &str) -> Link {
    let text = format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Link\"\nmetadata.name = \"{name}\"\n\n[spec]\n{spec}\n"
    );
    match parse(&text).unwrap_or_else(|it| panic!("{it:?}")) {
        piccolo_schema::Manifest::Link(it) => *it,
        _ => panic!("no link"),
    }
}

async fn story(house: &Path) {
    let vault = Vault::new("/run/piccolo/secrets".into(), Err("no key is needed".to_owned()));
    let machine = Machine { links: Arc::new(Networkd::open(vault, house)), trials: Cell::new(0) };
    captured(&machine).await;
    // What somebody set up was on trial when it came and when it went. From now on no link has an address.
    assert_eq!(machine.trials.get(), 2);
    let lan = link(
        "lan",
        "match = { mac = \"52:54:00:00:00:00\" }\naddresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\nacceptRA = false\nmtu = 1400\n\
         routes = [{ to = \"10.77.0.0/16\", via = \"10.9.0.254\", metric = 50 }]\ndns = [\"10.9.0.254\"]",
    );
    let desired = Desired::complete(vec![lan.clone()]);
    let (waits, _) = machine.settle(&desired).await;
    assert_eq!((waits, machine.trials.get()), (Vec::<String>::new(), 2));
    let seen = machine.by_mac("52:54:00:00:00:00").await.unwrap();
    assert!(seen.addresses.contains(&"10.9.0.1/24".to_owned()) && seen.mtu == 1400, "{seen:?}");
    rests(&machine, &desired, house).await;
    drift(&machine, &desired).await;
    others(&machine, &lan).await;
    made(&machine, &lan).await;
    reordered(&machine).await;
    let (waits, _) = machine.settle(&Desired::complete(Vec::new())).await;
    assert_eq!(waits, Vec::<String>::new());
    let left: Vec<_> = fs::read_dir(UNITS).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["50-mine.network"]);
}

/// What is written down of a port that somebody set up by hand leaves it as it is.
async fn captured(machine: &Machine) {
    ip("link set lan2 up");
    ip("addr add 10.50.0.1/24 dev lan2");
    ip("route add 10.51.0.0/16 via 10.50.0.254 metric 70");
    let seen = async || {
        let device = machine.by_mac("52:54:00:00:00:02").await.unwrap();
        let addresses: Vec<_> = device.addresses.into_iter().filter(|it| !it.starts_with("fe80:")).collect();
        (addresses, device.routes, device.mtu)
    };
    let before = seen().await;
    let all = capture::links(&serde_json::to_value(machine.view().await).unwrap());
    let text = &all.manifests.iter().find(|it| it.name == "lan2").unwrap().text;
    assert!(text.contains("10.50.0.1/24") && text.contains("52:54:00:00:00:02"), "{text}");
    // The house has no identity of a machine, by which networkd would ask routers.
    let text = format!("{text}acceptRA = false\n");
    let piccolo_schema::Manifest::Link(link) = parse(&text).unwrap() else { panic!("no link") };
    let (waits, steps) = machine.settle(&Desired::complete(vec![*link])).await;
    assert!(waits.is_empty() && steps > 0, "{waits:?}");
    let after = seen().await;
    let ways = |routes: &[RouteSeen]| routes.iter().map(|it| (it.to.clone(), it.via, it.metric)).collect::<Vec<_>>();
    assert_eq!((&after.0, ways(&after.1), after.2), (&before.0, ways(&before.1), before.2));
    machine.settle(&Desired::complete(Vec::new())).await;
    ip("addr flush dev lan2");
}

/// Passes on a settled machine change nothing, as a listener of the kernel's words tells.
async fn rests(machine: &Machine, desired: &Desired<Link>, house: &Path) {
    let told = house.join("told");
    let mut monitor = Command::new("ip")
        .args(["monitor", "link", "address", "route"])
        .stdout(fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    for _ in 0..50 {
        assert!(Links::<Networkd>::plan(desired, &machine.view().await).steps.is_empty());
    }
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(fs::read_to_string(told).unwrap(), "");
}

/// What a hand takes away is told by the kernel, and comes back.
async fn drift(machine: &Machine, desired: &Desired<Link>) {
    // What was told before is no news.
    while tokio::time::timeout(Duration::from_millis(500), machine.links.changed()).await.is_ok() {}
    let begun = Instant::now();
    ip("addr del 10.9.0.1/24 dev lan0");
    tokio::time::timeout(PATIENCE, machine.links.changed()).await.unwrap();
    let heard = begun.elapsed();
    let (_, steps) = machine.settle(desired).await;
    assert!(steps >= 1);
    assert!(machine.by_mac("52:54:00:00:00:00").await.unwrap().addresses.contains(&"10.9.0.1/24".to_owned()));
    eprintln!("drift: heard after {heard:?}, repaired after {:?}", begun.elapsed());
    // A further address of somebody's is nobody's business.
    ip("addr add 10.88.0.1/24 dev lan0");
    assert_eq!(machine.settle(desired).await, (Vec::new(), 0));
}

/// A file of somebody's is never touched, and says why its link is not ours.
async fn others(machine: &Machine, lan: &Link) {
    let mine = "[Match]\nMACAddress=52:54:00:00:00:02\n\n[Network]\nAddress=10.66.0.1/24\n";
    fs::write(format!("{UNITS}/50-mine.network"), mine).unwrap();
    let claimed = link("other", "match = { mac = \"52:54:00:00:00:02\" }\ndhcp4 = true");
    let (waits, steps) = machine.settle(&Desired::complete(vec![lan.clone(), claimed])).await;
    assert_eq!((waits, steps), (vec!["LinkClaimed".to_owned()], 0));
    assert_eq!(fs::read_to_string(format!("{UNITS}/50-mine.network")).unwrap(), mine);
}

/// Links that are made are made anew when they are to be otherwise, and go when nobody asks for them.
async fn made(machine: &Machine, lan: &Link) {
    let bridge = |address: &str| {
        link("br", &format!("bridge = {{ members = [\"port\"] }}\naddresses = [\"{address}\"]\nacceptRA = false"))
    };
    let port = link("port", "match = { mac = \"52:54:00:00:00:01\" }");
    let all = |address: &str| Desired::complete(vec![bridge(address), lan.clone(), port.clone()]);
    assert_eq!(machine.settle(&all("10.20.0.1/24")).await.0, Vec::<String>::new());
    assert_eq!(machine.by_mac("52:54:00:00:00:01").await.unwrap().master.as_deref(), Some("br"));
    assert_eq!(machine.settle(&all("10.21.0.1/24")).await.0, Vec::<String>::new());
    let view = machine.view().await;
    let seen = view.devices.iter().find(|it| it.name == "br").unwrap();
    assert!(
        seen.addresses.contains(&"10.21.0.1/24".to_owned()) && !seen.addresses.contains(&"10.20.0.1/24".to_owned())
    );
    assert_eq!(machine.settle(&Desired::complete(vec![lan.clone()])).await.0, Vec::<String>::new());
    assert!(!machine.view().await.devices.iter().any(|it| it.name == "br"));
}

/// Ports come in another order, and so under other names: each gets what its hardware address says.
async fn reordered(machine: &Machine) {
    let of = |number: u8| {
        let spec = "match = { mac = \"52:54:00:00:00:0N\" }\naddresses = [\"10.3N.0.1/24\"]\nacceptRA = false";
        link(&format!("port{number}"), &spec.replace('N', &number.to_string()))
    };
    let desired = Desired::complete(vec![of(0), of(1)]);
    machine.settle(&desired).await;
    let mut right = 0;
    for round in 0..50 {
        for port in 0..2 {
            ip(&format!("link del dev far{port}"));
        }
        for place in 0..2 {
            let port = (place + round) % 2;
            ip(&format!("link add lan{place} address 52:54:00:00:00:0{port} type veth peer name far{port}"));
            ip(&format!("link set far{port} up"));
        }
        machine.settle(&desired).await;
        for port in 0..2 {
            let seen = machine.by_mac(&format!("52:54:00:00:00:0{port}")).await.unwrap();
            let (own, others) = (format!("10.3{port}.0.1/24"), format!("10.3{}.0.1/24", 1 - port));
            assert!(seen.addresses.contains(&own) && !seen.addresses.contains(&others), "{seen:?}");
        }
        right += 1;
    }
    eprintln!("reordered: {right} of 50");
}

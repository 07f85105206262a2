//! Golden plans: `plans/<kind>/<case>/{desired.toml,observed.toml,plan.txt}`.
//!
//! To add a case is to add a folder. `PICCOLO_BLESS=1 cargo test --test plans` writes the answers down; read them before
//! you commit them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on has failed"
)]

#[path = "support/skip.rs"]
mod skip;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use piccolo_agent::{
    host::{
        DisksView, EngineView, FilterView, ImagesView, InstallView, LinksView, NetworkView, Rules, SecretsView,
        SettingsView, SourcesView, VolumesView,
        fake::{FakeEngine, FakeLinks, FakeSettings, FakeStick},
    },
    reconcile::{
        Disruption, Plan, Reconciler, Step,
        container::Containers,
        disk::{self, Disks},
        firewall::{self, Firewalls},
        host::{self, HostStep, Hosts},
        image::Images,
        install::Installations,
        link::{self, LinkStep, Links},
        network::{Act, NetworkStep, Networks},
        secret::Secrets,
        source::Sources,
        volume::Volumes,
    },
};
use piccolo_schema::{
    ConfigSource, ConfigSourceSpec, Container, ContainerSpec, Desired, Disk, DiskSpec, Firewall, FirewallSpec, Host,
    HostSpec, Image, ImageSpec, Install, InstallSpec, Link, LinkSpec, Network, NetworkSpec, Secret, SecretSpec, Volume,
    VolumeSpec,
    disk::{Encryption, Partition, Tpm2},
    quantity::Bytes,
};
use serde::{Deserialize, de::DeserializeOwned};
use skip::skipped;

/// The form of `desired.toml`: a table for each manifest, named as the manifest is, that holds its spec.
#[derive(Deserialize)]
struct Wanted<S> {
    #[serde(default = "yes")]
    complete: bool,
    #[serde(default)]
    consented: BTreeSet<String>,
    #[serde(flatten, bound(deserialize = "S: Deserialize<'de>"))]
    manifests: BTreeMap<String, S>,
}

#[test]
fn container_plans_are_as_written_down() {
    let cases = each_case("container", |desired, observed| {
        let desired = read_desired::<ContainerSpec, Container>(desired, Container::new);
        let observed = toml::from_str::<EngineView>(observed).unwrap();
        describe(&Containers::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 35, "{cases} cases are too few");
}

/// What is done when the machine goes down: a line for each wave.
#[test]
fn farewells_are_as_written_down() {
    let cases = each_case("farewell", |desired, observed| {
        let desired = read_desired::<ContainerSpec, Container>(desired, Container::new);
        let observed = toml::from_str::<EngineView>(observed).unwrap();
        let waves = Containers::<FakeEngine>::farewell(&desired, &observed);
        let words = |wave: Vec<_>| wave.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") + "\n";
        waves.into_iter().map(words).collect()
    });
    assert!(cases >= 5, "{cases} cases are too few");
}

#[test]
fn network_plans_are_as_written_down() {
    let cases = each_case("network", |desired, observed| {
        let desired = read_desired::<NetworkSpec, Network>(desired, Network::new);
        let observed = toml::from_str::<NetworkView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
        let plan = Networks::<FakeEngine>::plan(&desired, &observed);
        // All networks are given the same.
        describe(&plan) + &plan.steps.iter().find_map(rules).unwrap_or_default()
    });
    assert!(cases >= 20, "{cases} cases are too few");
}

#[test]
fn firewall_plans_are_as_written_down() {
    let cases = each_case("firewall", |desired, observed| {
        let plan = firewall_plan(desired, observed);
        describe(&plan) + &filter(&plan).map(written).unwrap_or_default()
    });
    assert!(cases >= 20, "{cases} cases are too few");
}

/// What is written down is also what the packet filter takes, now and when the machine starts.
#[test]
fn nft_understands_every_firewall() {
    each_case("firewall", |desired, observed| {
        let plan = firewall_plan(desired, observed);
        for text in filter(&plan).into_iter().flat_map(|rules| [&rules.text, &rules.boot]) {
            let mut nft = Command::new("nft");
            let Ok(mut nft) = nft.args(["-c", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
                skipped("there is no nft");
                continue;
            };
            nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let mut said = String::new();
            nft.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            let well = nft.wait().unwrap().success();
            assert!(well || said.contains("Operation not permitted"), "{said}\n{text}");
        }
        describe(&plan) + &filter(&plan).map(written).unwrap_or_default()
    });
}

fn firewall_plan(desired: &str, observed: &str) -> Plan<firewall::FirewallStep> {
    let desired = read_desired::<FirewallSpec, Firewall>(desired, Firewall::new);
    let observed = toml::from_str::<FilterView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
    Firewalls::<FakeEngine>::plan(&desired, &observed)
}

fn filter(plan: &Plan<firewall::FirewallStep>) -> Option<&Rules> {
    plan.steps.iter().find_map(|step| match &step.act {
        firewall::Act::Set { rules, .. } => Some(rules),
        firewall::Act::Clear => None,
    })
}

#[test]
fn volume_plans_are_as_written_down() {
    let cases = each_case("volume", |desired, observed| {
        let desired = read_desired::<VolumeSpec, Volume>(desired, Volume::new);
        let observed = toml::from_str::<VolumesView>(observed).unwrap();
        describe(&Volumes::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 20, "{cases} cases are too few");
}

/// The table of the guard is whole: `<what is on the disk>--<what the manifest says>`, and then some.
#[test]
fn disk_plans_are_as_written_down() {
    let cases = each_case("disk", |desired, observed| {
        let desired = read_desired::<DiskSpec, Disk>(desired, Disk::new);
        let observed = toml::from_str::<DisksView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
        describe(&Disks::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 290, "{cases} cases are too few");
}

/// The table of the guard once more, with manifests that ask for encryption: what is written to is the same.
#[test]
fn the_guard_is_as_strict_with_encryption() {
    guard_again("disk-encrypted.txt", |spec| {
        let encryption = Some(Encryption { tpm2: Some(Tpm2::default()), ..Encryption::default() });
        DiskSpec { encryption, ..spec }
    });
}

/// And once more with manifests that ask for partitions.
#[test]
fn the_guard_is_as_strict_with_partitions() {
    guard_again("disk-parted.txt", |spec| {
        let part = |name: &str, size| Partition { name: name.to_owned(), size, ..Partition::default() };
        let films = Partition { mount: Some("/srv/films".to_owned()), ..part("films", Some(Bytes::new(1 << 40))) };
        let rest = Partition { mount: spec.mount.clone(), options: spec.options.clone(), ..part("rest", None) };
        DiskSpec { partitions: vec![films, rest], mount: None, options: Vec::new(), ..spec }
    });
}

/// And with manifests that ask for partitions of which each is encrypted.
#[test]
fn the_guard_is_as_strict_with_encrypted_partitions() {
    guard_again("disk-parted-encrypted.txt", |spec| {
        let rest = Partition { name: "rest".to_owned(), mount: spec.mount.clone(), ..Partition::default() };
        let options = spec.options.clone();
        let encryption = Some(Encryption { tpm2: Some(Tpm2::default()), ..Encryption::default() });
        DiskSpec {
            partitions: vec![Partition { options, ..rest }],
            encryption,
            mount: None,
            options: Vec::new(),
            ..spec
        }
    });
}

fn guard_again(file: &str, other: impl Fn(DiskSpec) -> DiskSpec) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut rows = BTreeMap::new();
    for entry in fs::read_dir(home.join("disk")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap();
        if !name.contains("--") || read("desired.toml").contains("swap") {
            continue;
        }
        let desired = read_desired::<DiskSpec, Disk>(&read("desired.toml"), |name: &str, spec: DiskSpec| {
            Disk::new(name, other(spec))
        });
        let observed = toml::from_str::<DisksView>(&read("observed.toml")).unwrap();
        let plan = Disks::<FakeEngine>::plan(&desired, &observed);
        let writes = plan.steps.iter().any(|it| matches!(it.act, disk::Act::Make { .. }));
        let plain = read("plan.txt").starts_with("format");
        // A file system of ours is kept where it would be used, and no other row differs.
        assert!(!writes || plain, "{name}: {}", describe(&plan));
        rows.insert(name, describe(&plan));
    }
    assert!(rows.len() >= 110, "{} rows are too few", rows.len());
    let table: String =
        rows.iter().map(|(name, plan)| format!("{name}\n    {}\n", plan.trim().replace('\n', "\n    "))).collect();
    let path = home.join(file);
    if std::env::var_os("PICCOLO_BLESS").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(table, fs::read_to_string(&path).unwrap_or_default(), "PICCOLO_BLESS=1 writes it down");
}

#[test]
fn install_plans_are_as_written_down() {
    let cases = each_case("install", |desired, observed| {
        let desired = read_desired::<InstallSpec, Install>(desired, Install::new);
        let observed = toml::from_str::<InstallView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
        describe(&Installations::<FakeStick>::plan(&desired, &observed))
    });
    assert!(cases >= 40, "{cases} cases are too few");
}

#[test]
fn secret_plans_are_as_written_down() {
    let cases = each_case("secret", |desired, observed| {
        let desired = read_desired::<SecretSpec, Secret>(desired, Secret::new);
        let observed = toml::from_str::<SecretsView>(observed).unwrap();
        describe(&Secrets::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 12, "{cases} cases are too few");
}

#[test]
fn image_plans_are_as_written_down() {
    let cases = each_case("image", |desired, observed| {
        let desired = read_desired::<ImageSpec, Image>(desired, Image::new);
        let observed = toml::from_str::<ImagesView>(observed).unwrap();
        describe(&Images::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 20, "{cases} cases are too few");
}

/// What is written is shown where the plan is the first one.
#[test]
fn link_plans_are_as_written_down() {
    let cases = each_case("link", |desired, observed| {
        let desired = read_desired::<LinkSpec, Link>(desired, Link::new);
        let observed = toml::from_str::<LinksView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
        let plan = Links::<FakeLinks>::plan(&desired, &observed);
        describe(&plan) + &plan.steps.iter().map(files).collect::<String>()
    });
    assert!(cases >= 60, "{cases} cases are too few");
}

/// Returns the files that a step writes.
fn files(step: &LinkStep) -> String {
    match &step.act {
        link::Act::Write { units, .. } => {
            units.iter().map(|unit| format!("\n--- {}\n{}", unit.name, unit.text)).collect()
        }
        link::Act::WriteWifi { file, .. } => format!("\n--- wpa_supplicant-{}.conf\n{}", file.device, file.text),
        _ => String::new(),
    }
}

/// What is written is shown where it is no secret that it is written.
#[test]
fn host_plans_are_as_written_down() {
    let cases = each_case("host", |desired, observed| {
        let desired = read_desired::<HostSpec, Host>(desired, Host::new);
        let observed = toml::from_str::<SettingsView>(observed).unwrap_or_else(|error| panic!("{error}\n{observed}"));
        let plan = Hosts::<FakeSettings>::plan(&desired, &observed);
        describe(&plan) + &plan.steps.iter().map(own_file).collect::<String>()
    });
    assert!(cases >= 35, "{cases} cases are too few");
}

/// Returns the file, or the lines, that a step writes.
fn own_file(step: &HostStep) -> String {
    match &step.act {
        host::Act::Write { file, text, .. } => format!("\n--- {}\n{text}", file.path()),
        host::Act::Names { lines } if !lines.is_empty() => format!("\n--- /etc/hosts\n{lines}"),
        _ => String::new(),
    }
}

#[test]
fn source_plans_are_as_written_down() {
    let cases = each_case("source", |desired, observed| {
        let desired = read_desired::<ConfigSourceSpec, ConfigSource>(desired, ConfigSource::new);
        let observed = toml::from_str::<SourcesView>(observed).unwrap();
        describe(&Sources::<FakeEngine>::plan(&desired, &observed))
    });
    assert!(cases >= 12, "{cases} cases are too few");
}

fn each_case(kind: &str, plan: impl Fn(&str, &str) -> String) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(kind);
    let bless = std::env::var_os("PICCOLO_BLESS").is_some();
    let mut cases: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let mut wrong = Vec::new();
    for case in &cases {
        let read = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_default();
        let planned = plan(&read("desired.toml"), &read("observed.toml"));
        if bless {
            fs::write(case.join("plan.txt"), &planned).unwrap();
        } else if planned != read("plan.txt") {
            wrong.push(format!("{}\n--- written down\n{}--- planned\n{planned}", case.display(), read("plan.txt")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    cases.len()
}

fn read_desired<S: DeserializeOwned, M>(text: &str, new: impl Fn(&str, S) -> M) -> Desired<M> {
    let wanted: Wanted<S> = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let manifests = wanted.manifests.into_iter().map(|(name, spec)| new(&name, spec)).collect();
    Desired { manifests, complete: wanted.complete, consented: wanted.consented }
}

/// Writes a plan as a person reads it: a line for each step with what it costs, then what is waited for.
fn describe<S: Step>(plan: &Plan<S>) -> String {
    if plan.is_settled() {
        return "settled\n".to_owned();
    }
    let steps = plan.steps.iter().map(|step| match step.disruption() {
        Disruption::None => format!("{step}\n"),
        disruption => format!("{step} [{disruption}]\n"),
    });
    let waiting = plan.waiting.iter().map(|it| format!("{} waits: {}: {}\n", it.subject, it.reason, it.message));
    steps.chain(waiting).collect()
}

/// Writes what `nft` is to be given, but for the digest.
fn rules(step: &NetworkStep) -> Option<String> {
    match &step.act {
        Act::SetRules { rules, .. } => Some(written(rules)),
        _ => None,
    }
}

fn written(rules: &Rules) -> String {
    let boot: String = rules.boot.lines().map(without_digest).collect();
    format!("\n{}\n# when the machine starts\n{boot}", rules.text.replace(&rules.digest, "…"))
}

fn without_digest(line: &str) -> String {
    let comment = line.trim_start().starts_with("comment");
    if comment { "\tcomment \"…\"\n".to_owned() } else { format!("{line}\n") }
}

fn yes() -> bool {
    true
}

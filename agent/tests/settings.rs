//! Settings of a machine on real files, under a root of their own and with a stand-in for `systemctl`.
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
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use piccolo_agent::{
    host::{OwnFile, Settings as _, SettingsView, linux::Own},
    reconcile::{Reconciler, host::Hosts},
};
use piccolo_schema::{Desired, Host, HostSpec};
use skip::skipped;
use tempfile::TempDir;

/// Prints what `units` says, and writes down what else it is asked for. What is switched on runs from then on.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in
show) cat "$here/units" || exit ;;
enable) echo "$*" >>"$here/asked"; sed -i 's/inactive/active/' "$here/units" ;;
disable) echo "$*" >>"$here/asked"; sed -i '/^Id=ssh/,/^$/ s/=active/=inactive/' "$here/units" ;;
*) echo "$*" >>"$here/asked" ;;
esac
"#;
const UNITS: &str = "Id=systemd-timesyncd.service\nLoadState=loaded\nActiveState=active\n\n\
    Id=systemd-resolved.service\nLoadState=loaded\nActiveState=active\n\n\
    Id=avahi-daemon.service\nLoadState=not-found\nActiveState=inactive\n\n\
    Id=ssh.service\nLoadState=loaded\nActiveState=inactive\n";

struct Machine {
    house: TempDir,
    own: Arc<Own>,
}

impl Machine {
    /// A machine as Debian leaves it.
    fn new() -> Self {
        let house = TempDir::new().unwrap();
        let machine = Self { own: Arc::new(open(house.path())), house };
        for (path, text) in [
            ("etc/hostname", "debian\n"),
            ("etc/hosts", "127.0.0.1 localhost\n192.168.1.9 printer # by hand\n"),
            ("etc/timezone", "Etc/UTC\n"),
            ("etc/default/locale", "LANG=\"C.UTF-8\"\nLC_TIME=en_GB.UTF-8\n"),
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"),
            ("etc/sysctl.conf", "#vm.swappiness=1\n"),
            ("etc/ssh/sshd_config", "# by Debian\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication yes\n"),
            ("usr/share/zoneinfo/Europe/Berlin", "TZif"),
            ("usr/share/zoneinfo/Etc/UTC", "TZif"),
            ("usr/share/zoneinfo/posix/Europe/Berlin", "TZif"),
            ("proc/sys/kernel/hostname", "debian\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
        ] {
            machine.write(path, text);
        }
        symlink("/usr/share/zoneinfo/Etc/UTC", machine.at("etc/localtime")).unwrap();
        fs::write(house_file(&machine.house, "systemctl"), SYSTEMCTL).unwrap();
        fs::set_permissions(house_file(&machine.house, "systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(house_file(&machine.house, "units"), UNITS).unwrap();
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.house.path().join("root").join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default()
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    fn asked(&self) -> String {
        fs::read_to_string(house_file(&self.house, "asked")).unwrap_or_default()
    }

    async fn view(&self) -> SettingsView {
        self.own.settings().await.unwrap()
    }

    /// Applies plans until there is nothing left to do. Returns what was done, and what is waited for.
    async fn settle(&self, spec: Option<&HostSpec>) -> (Vec<String>, Vec<String>) {
        let desired = Desired::complete(spec.map(|it| Host::new(Host::NAME, it.clone())).into_iter().collect());
        let hosts = Hosts(Arc::clone(&self.own));
        let mut done = Vec::new();
        for _ in 0..4 {
            let plan = Hosts::<Own>::plan(&desired, &self.view().await);
            if plan.steps.is_empty() {
                return (done, plan.waiting.into_iter().map(|it| it.reason).collect());
            }
            for step in &plan.steps {
                hosts.apply(step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
                done.push(step.to_string());
            }
        }
        panic!("it does not rest: {done:#?}");
    }
}

fn open(house: &Path) -> Own {
    Own::with(&house.join("root"), &house.join("state"), &house.join("systemctl"))
}

fn house_file(house: &TempDir, name: &str) -> PathBuf {
    house.path().join(name)
}

fn spec() -> HostSpec {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/host.toml")).unwrap();
    let piccolo_schema::Manifest::Host(host) = piccolo_schema::parse::parse(&text).unwrap() else { panic!("no Host") };
    let mut spec = host.spec;
    spec.sysctls = [("vm.swappiness".to_owned(), "10".to_owned())].into();
    spec
}

#[tokio::test]
async fn a_machine_gets_what_its_manifest_says_and_back() {
    let machine = Machine::new();
    let before = machine.view().await;
    assert!(before.timezones.contains("Europe/Berlin") && before.timezones.len() == 2, "{:?}", before.timezones);
    let (done, waits) = machine.settle(Some(&spec())).await;
    assert_eq!(waits, Vec::<String>::new());
    assert!(done.iter().any(|it| it == "call the machine attic (it is called debian)"), "{done:#?}");
    assert_eq!(machine.read("etc/hostname"), "attic\n");
    assert_eq!(machine.read("proc/sys/kernel/hostname"), "attic\n");
    assert_eq!(fs::read_link(machine.at("etc/localtime")).unwrap(), Path::new("../usr/share/zoneinfo/Europe/Berlin"));
    assert!(machine.at("etc/localtime").exists());
    assert_eq!(machine.read("etc/timezone"), "Europe/Berlin\n");
    assert_eq!(machine.read("etc/locale.conf"), "LANG=C.UTF-8\n");
    assert_eq!(
        machine.read("etc/default/locale"),
        "LANG=\"C.UTF-8\"\nLC_TIME=en_GB.UTF-8\n".replace("LANG=\"C.UTF-8\"\n", "") + "LANG=C.UTF-8\n"
    );
    let hosts = machine.read("etc/hosts");
    assert!(
        hosts.starts_with("127.0.0.1 localhost\n192.168.1.9 printer # by hand\n# piccolo.os/host begin\n"),
        "{hosts}"
    );
    assert!(hosts.contains("192.168.1.5 nas\n") && hosts.contains("127.0.1.1 attic\n"), "{hosts}");
    assert_eq!(machine.read("proc/sys/vm/swappiness"), "10\n");
    assert!(machine.read(OwnFile::Ntp.path()).ends_with("[Time]\nNTP=\nNTP=ptbtime1.ptb.de ptbtime2.ptb.de\n"));
    let mode = fs::metadata(machine.at(OwnFile::SshKeys.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let asked = machine.asked();
    for words in ["restart systemd-timesyncd.service", "restart systemd-resolved.service", "enable --now ssh.service"] {
        assert!(asked.contains(words), "{asked}");
    }
    // Another daemon has nothing to do.
    let again = Machine { own: Arc::new(open(machine.house.path())), ..machine };
    assert_eq!(again.settle(Some(&spec())).await.0, Vec::<String>::new());

    let (done, _) = again.settle(None).await;
    assert!(done.iter().any(|it| it.starts_with("switch the SSH server off")), "{done:#?}");
    assert_eq!(again.read("etc/hosts"), "127.0.0.1 localhost\n192.168.1.9 printer # by hand\n");
    assert_eq!(again.read("proc/sys/vm/swappiness"), "60\n");
    assert!(OwnFile::ALL.iter().all(|file| !again.at(file.path()).exists()));
    // Each machine has a name and a time zone.
    assert_eq!(
        (again.read("etc/hostname"), again.read("etc/timezone")),
        ("attic\n".to_owned(), "Europe/Berlin\n".to_owned())
    );
    let left: Vec<_> = fs::read_dir(again.at("etc")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|it| !it.to_string_lossy().contains("piccolo")), "{left:?}");
}

#[tokio::test]
async fn what_a_hand_does_is_mended_and_what_is_others_stays() {
    let machine = Machine::new();
    machine.settle(Some(&spec())).await;
    machine.write("proc/sys/kernel/hostname", "by-hand\n");
    machine.write("proc/sys/vm/swappiness", "99\n");
    machine.write(OwnFile::Ntp.path(), &(machine.read(OwnFile::Ntp.path()) + "FallbackNTP=evil\n"));
    machine.write("etc/hosts", "127.0.0.1 localhost\n10.0.0.7 mine\n");
    let (done, _) = machine.settle(Some(&spec())).await;
    assert_eq!(
        done,
        [
            "call the machine attic (it is called by-hand)",
            "set vm.swappiness to 10 (it is 99)",
            "write 2 lines to /etc/hosts",
            "write /etc/systemd/timesyncd.conf.d/10-piccolo.conf (it says something else)",
            "have systemd-timesyncd read its files"
        ]
    );
    assert!(machine.read("etc/hosts").starts_with("127.0.0.1 localhost\n10.0.0.7 mine\n"));

    let machine = Machine::new();
    machine.write(OwnFile::Ntp.path(), "[Time]\nNTP=mine\n");
    machine.write("etc/sysctl.d/99-mine.conf", "vm/swappiness = 5\n");
    let (_, waits) = machine.settle(Some(&spec())).await;
    assert_eq!(waits, ["SysctlClaimed"]);
    assert_eq!(machine.read(OwnFile::Ntp.path()), "[Time]\nNTP=mine\n");
    assert_eq!(machine.read("proc/sys/vm/swappiness"), "60\n");
    assert!(!machine.at(OwnFile::Sysctl.path()).exists());
    let refused = machine.own.put(OwnFile::Ntp, Some("# piccolo.os/host\n")).await.unwrap_err();
    assert!(refused.message.contains("is not Piccolo's"), "{refused}");
    machine.settle(None).await;
    assert_eq!(machine.read(OwnFile::Ntp.path()), "[Time]\nNTP=mine\n");
}

/// What can't be read as a whole, or not as text, is not written back.
#[tokio::test]
async fn no_line_of_a_person_is_lost() {
    let machine = Machine::new();
    let long = format!("127.0.0.1 localhost\n{}", "10.0.0.7 mine\n".repeat(1_300_000));
    for (text, why) in [
        (long.as_bytes(), "is larger than 16777216 bytes"),
        (b"127.0.0.1 localhost # \xe9\n".as_slice(), "is not UTF-8"),
        (b"# piccolo.os/host begin\n10.0.0.5 nas\n10.0.0.7 mine\n".as_slice(), "without its"),
        (
            b"# piccolo.os/host begin\n# piccolo.os/host begin\n10.0.0.7 mine\n# piccolo.os/host end\n".as_slice(),
            "without its",
        ),
    ] {
        fs::write(machine.at("etc/hosts"), text).unwrap();
        let refused = machine.own.set_names("10.0.0.5 nas\n").await.unwrap_err();
        assert!(refused.message.contains(why), "{refused}");
        assert_eq!(fs::read(machine.at("etc/hosts")).unwrap(), text);
    }
    let text = b"LANG=C.UTF-8\n# \xe9\n".as_slice();
    fs::write(machine.at("etc/default/locale"), text).unwrap();
    let refused = machine.own.set_locale("de_DE.UTF-8").await.unwrap_err();
    assert!(refused.message.contains("is not UTF-8"), "{refused}");
    assert_eq!(fs::read(machine.at("etc/default/locale")).unwrap(), text);
    assert!(!machine.at("etc/locale.conf").exists());
}

/// A server that is to be switched off and can't be is not forgotten, and keeps the file that locks others out.
#[tokio::test]
async fn a_server_that_can_not_be_asked_is_not_forgotten() {
    let machine = Machine::new();
    machine.settle(Some(&spec())).await;
    assert!(machine.view().await.ssh_by_us);
    let gone = Desired::complete(Vec::<Host>::new());
    let plan = Hosts::<Own>::plan(&gone, &machine.view().await);
    let places = |words: &str| plan.steps.iter().position(|it| it.to_string().starts_with(words)).unwrap();
    assert!(places("switch the SSH server off") < places("remove /etc/ssh/sshd_config.d"), "{:?}", plan.steps);
    fs::create_dir_all(machine.at("run/systemd/system")).unwrap();
    let units = fs::read(house_file(&machine.house, "units")).unwrap();
    fs::remove_file(house_file(&machine.house, "units")).unwrap();
    assert!(machine.own.settings().await.is_err());
    assert!(machine.own.switch_ssh(false).await.is_err());
    assert!(machine.own.tell(piccolo_agent::host::Service::Timesyncd, "new").await.is_err());
    fs::write(house_file(&machine.house, "units"), units).unwrap();
    let view = machine.view().await;
    assert!(view.ssh_by_us && view.told.values().all(|it| it != "new"), "{:?}", view.told);
    machine.settle(None).await;
    assert!(machine.asked().contains("disable --now ssh.service") && !machine.view().await.ssh_by_us);

    // Where there is no systemd there is nothing to switch off.
    let machine = Machine::new();
    fs::remove_file(house_file(&machine.house, "units")).unwrap();
    assert!(machine.view().await.services.is_empty());
    machine.own.switch_ssh(false).await.unwrap();
}

#[tokio::test]
async fn the_server_of_a_person_stays_theirs() {
    let machine = Machine::new();
    let units = UNITS.to_owned() + "UnitFileState=enabled\n";
    fs::write(house_file(&machine.house, "units"), &units).unwrap();
    let (_, waits) = machine.settle(Some(&spec())).await;
    assert_eq!(waits, ["SshStopped"]);
    assert!(machine.own.switch_ssh(true).await.is_err());
    let view = machine.view().await;
    assert!(!view.ssh_by_us && !machine.asked().contains("enable"), "{}", machine.asked());
    let (file, ours) = (machine.read(OwnFile::Ssh.path()), "Match User ");
    assert!(!file.split(ours).next().unwrap().contains("PasswordAuthentication"), "{file}");
    fs::write(house_file(&machine.house, "units"), units.replace("inactive\nUnit", "active\nUnit")).unwrap();
    let (done, waits) = machine.settle(Some(&spec())).await;
    assert_eq!((done, waits), (vec!["have ssh read its files".to_owned()], Vec::new()));
    machine.settle(None).await;
    assert!(!machine.asked().contains("disable"), "{}", machine.asked());
}

#[tokio::test]
async fn a_server_that_would_not_read_our_file_is_not_switched_on() {
    for (config, reads) in [
        ("", false),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", false),
        ("Include /etc/ssh/other.d/*.conf\n", false),
        ("Match User x\n  Include /etc/ssh/sshd_config.d/*.conf\n", false),
        ("PasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n", false),
        ("Port 22\ninclude=\"sshd_config.d/*.conf\"\n", true),
        ("\tInclude /etc/x.conf /etc/ssh/sshd_config.d/*\n", true),
    ] {
        let machine = Machine::new();
        machine.write("etc/ssh/sshd_config", config);
        let (_, waits) = machine.settle(Some(&spec())).await;
        assert_eq!(waits.is_empty(), reads, "{config} {waits:?}");
        assert_eq!(machine.view().await.ssh_by_us, reads, "{config}");
        assert_eq!(machine.at(OwnFile::Ssh.path()).exists(), reads, "{config}");
        assert!(reads || waits == ["SshConfigUnread"], "{waits:?}");
    }
}

/// When the machine starts our file sets our value, which is not what was there before.
#[tokio::test]
async fn what_a_value_was_before_outlives_the_machine() {
    let machine = Machine::new();
    machine.settle(Some(&spec())).await;
    let again = Machine { own: Arc::new(open(machine.house.path())), ..machine };
    let mut other = spec();
    other.sysctls = [("vm.swappiness".to_owned(), "20".to_owned())].into();
    again.settle(Some(&other)).await;
    assert_eq!(again.read("proc/sys/vm/swappiness"), "20\n");
    let kept: Vec<_> = fs::read_dir(house_file(&again.house, "")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(kept.iter().all(|it| it != "run") && house_file(&again.house, "state/settings/values.json").exists());
    again.settle(None).await;
    assert_eq!(again.read("proc/sys/vm/swappiness"), "60\n");
}

/// What is written for the SSH server is what it takes, and means what it should.
#[tokio::test]
async fn a_real_sshd_takes_our_lines() {
    let machine = Machine::new();
    let mut wanted = spec();
    // The server asks whether the user is there.
    wanted.ssh.as_mut().unwrap().user = "root".to_owned();
    machine.settle(Some(&wanted)).await;
    let key = house_file(&machine.house, "key");
    let keygen = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    let config = house_file(&machine.house, "sshd_config");
    fs::write(&config, format!("Include {}\nHostKey {}\n", machine.at(OwnFile::Ssh.path()).display(), key.display()))
        .unwrap();
    let output =
        Command::new("/usr/sbin/sshd").args(["-T", "-C", "user=root,host=x,addr=10.0.0.1", "-f"]).arg(&config).output();
    let (Ok(true), Ok(output)) = (keygen.map(|it| it.success()), output) else {
        skipped("there is no SSH server");
        return;
    };
    let (told, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if why.contains("rivilege separation") {
        skipped(format_args!("{why}"));
        return;
    }
    assert!(output.status.success(), "{why}");
    assert!(told.contains("passwordauthentication no"), "{told}");
    assert!(told.contains("authorizedkeysfile .ssh/authorized_keys /etc/ssh/piccolo_authorized_keys"), "{told}");
}

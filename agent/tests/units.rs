//! The units of the operating system are understood by systemd, and the daemon's ends before the engine does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs a real program"
)]

#[path = "support/skip.rs"]
mod skip;

use skip::skipped;
use std::{fs, path::Path, process::Command};

#[test]
fn systemd_understands_the_daemons_unit() {
    let text = unit("piccolod.service");
    // What starts after the engine is stopped before it: so there is an engine that can stop containers in their order.
    assert!(text.lines().any(|line| line.starts_with("After=") && line.contains("docker.service")));
    // The daemon is not installed here.
    understood("piccolod.service", &text.replace("ExecStart=/usr/bin/piccolod", "ExecStart=/bin/true"));
}

#[test]
fn systemd_understands_the_unit_of_the_rules() {
    let text = unit("piccolo-rules.service");
    // No container runs without them: the engine comes after, and not at all where they can't be set.
    assert!(text.lines().any(|line| line.starts_with("Before=") && line.contains("docker.service")));
    assert!(text.contains("RequiredBy=docker.service"));
    understood("piccolo-rules.service", &text.replace("ExecStart=/usr/sbin/nft", "ExecStart=/bin/true"));
}

#[test]
fn systemd_understands_the_unit_that_puts_links_back() {
    let text = unit("piccolo-net-restore.service");
    assert!(text.lines().any(|line| line.starts_with("Before=") && line.contains("systemd-networkd.service")));
    assert!(text.lines().any(|line| line.starts_with("Before=") && line.contains("sysinit.target")));
    understood("piccolo-net-restore.service", &text.replace("ExecStart=/usr/bin/piccolod", "ExecStart=/bin/true"));
}

#[test]
fn systemd_understands_the_unit_of_the_reset() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../os-image/image/mkosi.extra/usr/lib/systemd/system");
    let text = fs::read_to_string(place.join("piccolo-reset.service")).unwrap();
    // Where somebody starts it by hand in another start, it does not start the machine anew.
    assert!(text.contains("ConditionKernelCommandLine=piccolo.reset\n"));
    understood("piccolo-reset.service", &text.replace("ExecStart=/usr/bin/piccolod", "ExecStart=/bin/true"));
}

/// How much of the machine a unit leaves open to its process, as systemd counts: 0 is nothing, 10 is all of it.
#[test]
fn units_leave_open_what_they_need() {
    let bounds = [("piccolod.service", 3.4), ("piccolo-rules.service", 1.5), ("piccolo-firewall.service", 1.5)];
    for (name, most) in bounds {
        let place = tempfile::TempDir::new().unwrap();
        let copy = place.path().join(name);
        fs::write(&copy, unit(name)).unwrap();
        let ask = |copy: &Path| {
            Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(copy).output()
        };
        let Ok(output) = ask(&copy) else {
            skipped("there is no systemd-analyze");
            return;
        };
        let (told, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let exposure = told.lines().find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "));
        let exposure: f64 =
            exposure.and_then(|it| it.1.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{why}"));
        assert!(exposure <= most, "{name}: {exposure}\n{told}");
        // A unit that bounds nothing is seen.
        fs::write(&copy, "[Service]\nExecStart=/bin/true\n").unwrap();
        assert!(String::from_utf8_lossy(&ask(&copy).unwrap().stdout).contains("UNSAFE"));
    }
}

/// A Host manifest gives the machine a name, which is in no namespace of the daemon's own, and sets values of its kernel.
#[test]
fn the_daemon_may_keep_settings_of_the_machine() {
    let text = unit("piccolod.service");
    assert!(!text.contains("ProtectHostname=yes") && !text.contains("ProtectKernelTunables=yes"));
    assert!(text.contains("ReadWritePaths=/etc\n"));
}

/// Programs in containers run as any user, and are ended when their person is gone.
#[test]
fn the_daemon_may_end_programs_of_any_user() {
    let text = unit("piccolod.service");
    let bounds = text.lines().find(|line| line.starts_with("CapabilityBoundingSet=")).unwrap();
    assert!(bounds.contains("CAP_KILL"), "{bounds}");
}

#[test]
fn systemd_understands_the_unit_of_the_firewall() {
    let text = unit("piccolo-firewall.service");
    assert!(text.lines().any(|line| line.starts_with("Before=") && line.contains("network-pre.target")));
    understood("piccolo-firewall.service", &text.replace("ExecStart=/usr/sbin/nft", "ExecStart=/bin/true"));
}

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../os-image/system").join(name)).unwrap()
}

fn understood(name: &str, text: &str) {
    let place = tempfile::TempDir::new().unwrap();
    let copy = place.path().join(name);
    fs::write(&copy, text).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&copy).output() else {
        skipped("there is no systemd-analyze");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

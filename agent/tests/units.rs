//! The units of the operating system are understood by systemd, and the daemon's ends before the engine does.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs a real program"
)]

use std::{fs, path::Path, process::Command};

#[test]
fn systemd_understands_the_unit() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../os-image/system/piccolod.service");
    let text = fs::read_to_string(unit).unwrap();
    // What starts after the engine is stopped before it: so there is an engine that can stop containers in their order.
    assert!(text.lines().any(|line| line.starts_with("After=") && line.contains("docker.service")));
    let place = tempfile::TempDir::new().unwrap();
    let copy = place.path().join("piccolod.service");
    // The daemon is not installed here.
    fs::write(&copy, text.replace("ExecStart=/usr/bin/piccolod", "ExecStart=/bin/true")).unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&copy).output() else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

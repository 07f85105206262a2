//! What wpa_supplicant makes of the files that are written for it. No radio is there: it reads its file, says what it found
//! in it, and ends as there is no such port. Skipped, and said, where it is not here.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test says what is wrong, or that it was skipped, and runs a real program"
)]

#[path = "support/skip.rs"]
mod skip;

use std::{fs, path::Path, process::Command};

use piccolo_agent::{host::linux::with_password, reconcile::link::wifi_file};
use piccolo_schema::link::{KeyFrom, Security, Wifi};
use skip::skipped;

/// The values that it tells as bytes.
const SHOWN: [&str; 3] = ["ssid - hexdump_ascii", "PSK - hexdump", "sae_password - hexdump_ascii"];

fn wifi(ssid: &str, security: Security) -> Wifi {
    let psk = (security != Security::Open).then(|| KeyFrom { secret: "wifi".to_owned(), key: "password".to_owned() });
    Wifi { ssid: ssid.to_owned(), psk, security, hidden: true, country: Some("DE".to_owned()) }
}

/// Runs it on a file and returns what it says.
fn heard(root: &str, file: &Path) -> Option<String> {
    let program = format!("{root}/sbin/wpa_supplicant");
    let libraries = format!("{root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(program);
    if !root.is_empty() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output = command.args(["-dd", "-K", "-Dwired", "-inone0", "-c"]).arg(file).output().ok()?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    words.contains("wpa_supplicant v").then_some(words)
}

/// Returns the bytes of the lines after the one that begins so.
fn bytes(words: &str, key: &str) -> Option<Vec<u8>> {
    let mut lines = words.lines().skip_while(|line| !line.starts_with(key));
    let head = lines.next()?;
    let length: usize = head.split_once("len=")?.1.split(')').next()?.parse().ok()?;
    let plain = head.split_once("): ").map(|(_, rest)| rest.to_owned());
    // Beside sixteen numbers stand the characters that they are.
    let beside = |line: &str| line.trim_start().chars().take(16 * 3).collect::<String>();
    let text = plain.unwrap_or_else(|| lines.take(length.div_ceil(16)).map(beside).collect::<Vec<_>>().join(" "));
    let all = text.split_whitespace().take(length).map(|it| u8::from_str_radix(it, 16).ok());
    all.collect::<Option<Vec<u8>>>().filter(|all| all.len() == length)
}

#[test]
fn wpa_supplicant_reads_every_name_and_password_to_the_letter() {
    let root = std::env::var("PICCOLO_WPA").unwrap_or_default();
    let house = tempfile::TempDir::new().unwrap();
    let path = house.path().join("wpa_supplicant.conf");
    let names = ["attic", "café \"#1\" # not", "a\n}\nnetwork={", "\\x41", "0123456789abcdef0123456789abcdef", "\0"];
    let passwords = ["password", "he said \"#no # \\ \"quote\"", "        ", "psk=<key>\"", "~!@#$%^&*()_+{}|:<>?"];
    let mut read = 0;
    for (ssid, password) in names.iter().flat_map(|ssid| passwords.iter().map(move |it| (ssid, it))) {
        for security in [Security::Wpa2Wpa3, Security::Wpa3, Security::Wpa2, Security::Open] {
            let wifi = wifi(ssid, security);
            // As it is under test, it must not leave a socket where the machine's own has its.
            let text = wifi_file("air", &wifi).replace("/run/wpa_supplicant", &house.path().display().to_string());
            fs::write(&path, with_password(&text, ssid, password.as_bytes()).as_bytes()).unwrap();
            let Some(words) = heard(&root, &path) else {
                skipped("wpa_supplicant does not run here");
                return;
            };
            assert!(words.contains("none0: Failed to initialize driver interface"), "{words}");
            let complaints: Vec<_> =
                words.lines().filter(|it| it.starts_with("Line ") && !it.starts_with("Line: ")).collect();
            assert!(complaints.is_empty(), "{complaints:?}");
            assert_eq!(words.matches("start of a new network block").count(), 1);
            assert!(words.contains("country='DE'") && words.contains("scan_ssid=1 (0x1)"), "{words}");
            let [name, key, sae] = SHOWN.map(|it| bytes(&words, it));
            assert_eq!(name.as_deref(), Some(ssid.as_bytes()));
            assert_eq!(key.map(|it| it.len()), matches!(security, Security::Wpa2 | Security::Wpa2Wpa3).then_some(32));
            let is_sae = matches!(security, Security::Wpa3 | Security::Wpa2Wpa3);
            assert_eq!(sae.as_deref(), is_sae.then_some(password.as_bytes()), "{words}");
            // In its own words: WPA-PSK, WPA-PSK-SHA256, SAE and none.
            let protection = match security {
                Security::Wpa2Wpa3 => "key_mgmt: 0x502",
                Security::Wpa3 => "key_mgmt: 0x400",
                Security::Wpa2 => "key_mgmt: 0x102",
                Security::Open => "key_mgmt: 0x4",
            };
            assert!(words.lines().any(|line| line == protection), "{words}");
            read += 1;
        }
    }
    assert_eq!(read, names.len() * passwords.len() * 4);
    // One that it does not understand is seen.
    fs::write(&path, "network={\nssid=6\n}\n").unwrap();
    assert!(heard(&root, &path).unwrap().contains("failed to parse network block"));
}

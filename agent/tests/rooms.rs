//! The house keeps its shape: who may import whom, and no file past its size.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what broke by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The most lines of a source file.
const MOST_LINES: usize = 400;

/// A room, and the rooms of this crate that its files may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("bin/", &["cli", "daemon"]),
    (
        "daemon",
        &[
            "access",
            "api",
            "archive",
            "audit",
            "capture",
            "console",
            "clock",
            "controller",
            "daemon",
            "file",
            "history",
            "host",
            "install",
            "manifests",
            "reconcile",
            "reset",
            "secrets",
            "sources",
            "store",
            "trust",
        ],
    ),
    ("clock", &[]),
    (FOR_TESTS, &[]),
    ("words", &[]),
    ("file", &[]),
    ("install", &["host", "install"]),
    ("reset", &["host", "reset"]),
    ("access", &["access", "file"]),
    ("console", &["console"]),
    ("archive", &["archive"]),
    ("audit", &["audit", "clock"]),
    (
        "api",
        &[
            "access",
            "api",
            "archive",
            "audit",
            "capture",
            "clock",
            "console",
            "foreign",
            "history",
            "install",
            "manifests",
            "reset",
            "store",
            "trust",
        ],
    ),
    ("history", &["clock", "git", "history", "manifests"]),
    ("git", &["git", "words"]),
    ("sources", &["clock", "git", "host", "manifests", "sources"]),
    ("foreign", &["foreign"]),
    ("compose", &["compose", "foreign"]),
    ("capture", &["capture", "foreign"]),
    (
        "cli",
        &[
            "access",
            "archive::Arrived",
            "audit",
            "cli",
            "clock",
            "compose",
            "console",
            "file",
            "foreign",
            "install",
            "manifests::save",
            "manifests::WriteError",
            "secrets",
            "store::PlanView",
            "store::StepView",
            "trust",
        ],
    ),
    ("controller", &["clock", "controller", "reconcile", "manifests", "store", "host::HostError", "host::Reason"]),
    ("reconcile/container", &["reconcile::container", "reconcile", "host"]),
    ("reconcile/disk", &["reconcile::disk", "reconcile", "host"]),
    ("reconcile/firewall", &["reconcile::firewall", "reconcile", "host"]),
    ("reconcile/host", &["reconcile::host", "reconcile", "host"]),
    ("reconcile/image", &["reconcile::image", "reconcile", "host"]),
    ("reconcile/install", &["reconcile::install", "reconcile", "host", "install"]),
    ("reconcile/link", &["reconcile::link", "reconcile", "host"]),
    ("reconcile/network", &["reconcile::network", "reconcile", "host"]),
    ("reconcile/secret", &["reconcile::secret", "reconcile", "host"]),
    ("reconcile/source", &["reconcile::source", "reconcile", "host"]),
    ("reconcile/volume", &["reconcile::volume", "reconcile", "host"]),
    ("reconcile.rs", &["host::HostError"]),
    ("host/linux", &["archive", "capture", "clock", "console", "file", "foreign", "host", "secrets", "words"]),
    ("host", &["capture", "clock", "console", "host"]),
    ("secrets", &["secrets"]),
    ("trust", &["file", "host", "secrets", "trust"]),
    ("manifests", &["clock", "manifests"]),
    ("store", &["clock", "store"]),
];

/// What the tests of each room may name, and nothing else has: it is not there outside of them.
const FOR_TESTS: &str = "malformed";

/// A package, and where alone it may be named: a room, or several with a `|` between them.
const PACKAGES: &[(&str, &str)] = &[
    ("bollard", "host/linux"),
    ("rtnetlink", "host/linux"),
    ("rustix", "host/linux|cli/terminal|api/gate|file|manifests/swap"),
    ("rustls", "access|api/serve|cli/tls"),
    ("tokio_rustls", "api/serve|cli/tls"),
    ("rcgen", "access|trust/makers"),
    ("webpki", "trust"),
    ("argon2", "access"),
    ("governor", "access"),
    ("getrandom", "access|cli/trust|host/linux/luks"),
    ("subtle", "access|trust"),
    ("ring", "access|cli/tls|host/linux/links/keys|host/tpm|trust"),
    ("tss_esapi", "host/linux/tpm"),
    ("qrcode", "daemon"),
    ("if_addrs", "host/linux"),
    ("sled", "store"),
    ("axum", "api"),
    ("notify", "manifests"),
    ("toml_edit", "manifests"),
    ("granit_parser", "compose"),
    ("globset", "host/linux"),
    ("tar", "host/linux|archive"),
    ("clap", "cli"),
    ("sd_notify", "daemon"),
    ("age", "secrets"),
    ("hmac", "secrets|access/challenge"),
    ("rpassword", "cli"),
];

/// Packages that the program's entry needs as well.
const ENTRIES: &[&str] = &["bin/", "daemon"];

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| file.starts_with(room)) else {
            assert!(file == "lib.rs", "{file} is in no room: give it one in this test");
            continue;
        };
        for import in imports(&text) {
            if !allowed.iter().chain([&FOR_TESTS]).any(|room| within(&import, room))
                || is_sibling_reconciler(&file, &import)
            {
                wrong.push(format!("{file} names crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_controller_holds_the_pen() {
    for (file, text) in sources() {
        if file.starts_with("api") || file.starts_with("cli") {
            assert!(!text.contains("store::Writer"), "{file} names the store's writer");
        }
    }
}

#[test]
fn packages_stay_in_their_rooms() {
    for (file, text) in sources() {
        for (package, room) in PACKAGES {
            let named = text.lines().any(|line| !line.trim_start().starts_with("//") && names(line, package));
            let within = room.split('|').any(|room| file.starts_with(room));
            let entry = ENTRIES.iter().any(|entry| file.starts_with(entry));
            assert!(!named || within || entry, "{file} names {package}, which belongs in {room}");
        }
    }
}

#[test]
fn files_stay_small() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/src");
    let all = sources().into_iter().chain(read(&schema, &schema));
    let long: Vec<_> = all.filter(|(_, text)| text.lines().count() > MOST_LINES).map(|(file, _)| file).collect();
    assert!(long.is_empty(), "past {MOST_LINES} lines, so two rooms: {long:?}");
}

/// Returns what a text names of this crate, `host::HostError` for `use crate::host::HostError`.
fn imports(text: &str) -> Vec<String> {
    let code: String = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    code.match_indices("crate::").flat_map(|(at, word)| expand(&code[at + word.len()..])).collect()
}

/// Expands `{host::{HostError, Reason}, reconcile::Step}` into one path each.
fn expand(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let (mut depth, mut start, mut all) = (1, 0, Vec::new());
        for (at, character) in inner.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && character == ',') {
                if !inner[start..at].trim().is_empty() {
                    all.extend(expand(&inner[start..at]));
                }
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
        return all;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    match path.strip_suffix("::") {
        Some(path) if rest.trim_start().starts_with('{') => {
            expand(rest.trim_start()).into_iter().map(|inner| format!("{path}::{inner}")).collect()
        }
        _ => vec![path.trim_end_matches(':').to_owned()],
    }
}

/// Returns true if a line names this package, not one whose name ends alike.
fn names(line: &str, package: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(&format!("{package}::")).any(|(at, _)| !line[..at].ends_with(goes_on))
}

fn within(import: &str, room: &str) -> bool {
    import == room || import.strip_prefix(room).is_some_and(|rest| rest.starts_with("::"))
}

/// One reconciler knows nothing of another.
fn is_sibling_reconciler(file: &str, import: &str) -> bool {
    let own = file.strip_prefix("reconcile/").and_then(|rest| rest.split(['/', '.']).next());
    let other = import.strip_prefix("reconcile::").and_then(|rest| rest.split("::").next());
    let kinds = ["container", "disk", "image", "network", "secret", "volume"];
    matches!((own, other), (Some(own), Some(other)) if own != other && kinds.contains(&other))
}

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    read(&root, &root)
}

fn read(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            all.extend(read(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((path.strip_prefix(root).unwrap().display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

#[test]
fn the_reader_of_imports_sees_nested_ones() {
    let text = "use crate::{host::{HostError, Reason}, reconcile::Step};\nfn f() { crate::store::open() }";
    assert_eq!(imports(text), ["host::HostError", "host::Reason", "reconcile::Step", "store::open"]);
    assert!(is_sibling_reconciler("reconcile/network.rs", "reconcile::container::Containers"));
    assert!(!is_sibling_reconciler("reconcile/network.rs", "reconcile::Step"));
}

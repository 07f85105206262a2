use std::collections::BTreeMap;

use super::note;
use crate::{
    container::{ContainerSpec, Mount},
    parse::{Code, Path, Violation},
};

pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let mut seen = BTreeMap::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        let path = Path::spec("mounts").index(index);
        source(mount, &path, out);
        target(&mount.path, path.key("path"), &mut seen, out);
    }
    for (index, secret) in spec.secrets.iter().enumerate() {
        if let Some(at) = &secret.path {
            target(at, Path::spec("secrets").index(index).key("path"), &mut seen, out);
        }
    }
    for (index, tmpfs) in spec.tmpfs.iter().enumerate() {
        let path = Path::spec("tmpfs").index(index);
        if tmpfs.size.is_some_and(|size| size.get() == 0) {
            note(
                out,
                Code::OutOfRange,
                path.clone().key("size"),
                "nothing fits into no bytes",
                "leave `size` out, or give `1Mi` or more",
            );
        }
        target(&tmpfs.path, path.key("path"), &mut seen, out);
    }
}

/// Checks what is mounted.
fn source(mount: &Mount, path: &Path, out: &mut Vec<Violation>) {
    match (&mount.host_path, &mount.volume) {
        (Some(_), Some(_)) => {
            let reason = "a mount has either a `hostPath` or a `volume`, not both";
            note(out, Code::Conflict, path.clone().key("volume"), reason, "remove one of the two");
        }
        (None, None) => {
            let help = "add `volume = \"name\"` for data that the engine keeps, or `hostPath = \"/…\"` for a directory of the machine";
            note(out, Code::MissingKey, path.clone(), "the mount says where, but not what", help);
        }
        (Some(host), None) => {
            if let Some(why) = unclear(host) {
                note(
                    out,
                    Code::BadPath,
                    path.clone().key("hostPath"),
                    format_args!("`hostPath` {why}"),
                    "write the plain absolute path",
                );
            }
        }
        (None, Some(_)) => {}
    }
}

/// Checks where something appears in the container.
fn target(target: &str, path: Path, seen: &mut BTreeMap<String, Path>, out: &mut Vec<Violation>) {
    if target.is_empty() {
        return;
    }
    if let Some(why) = unclear(target) {
        note(out, Code::BadPath, path, format_args!("`path` {why}"), "write the plain absolute path");
        return;
    }
    let plain = plain(target);
    if plain == "/" {
        let help = "mount a directory below it; the root comes from the image";
        note(out, Code::BadPath, path, "nothing can be mounted over `/` of a container", help);
        return;
    }
    match seen.get(&plain) {
        Some(earlier) => {
            let reason = format_args!("`{plain}` is already taken by `{earlier}`");
            note(out, Code::Duplicate, path, reason, "give each mount and tmpfs its own path");
        }
        None => {
            seen.insert(plain, path);
        }
    }
}

/// Says why a reader can't see at once which place is meant.
fn unclear(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("is not absolute")
    } else if path.split('/').any(|part| part == "..") {
        Some("goes up with `..`")
    } else if path.contains(['\0', '\n', '\r']) {
        Some("holds a NUL or a line break")
    } else {
        None
    }
}

/// Returns the one spelling of a path.
pub(super) fn plain(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

use std::collections::BTreeMap;

use super::{ContainerSpec, note, note_key};
use crate::parse::{Code, Path, Violation};

/// The limits that the kernel knows for processes.
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

pub(super) fn check(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    if spec.swap.is_some() && spec.memory.is_none() {
        let reason = "`swap` is what may be used beside `memory`, which has no limit here";
        note(out, Code::Conflict, Path::spec("swap"), reason, "add `memory`, or remove `swap`");
    }
    for (key, size) in [("storage", spec.storage), ("shmSize", spec.shm_size)] {
        if size.is_some_and(|size| size.get() == 0) {
            note(out, Code::OutOfRange, Path::spec(key), "nothing fits into no bytes", "leave it out, or give more");
        }
    }
    ulimits(spec, out);
    devices(spec, out);
    log(spec, out);
}

fn ulimits(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    for (name, limit) in &spec.ulimits {
        let path = Path::spec("ulimits").key(name);
        if !ULIMITS.contains(&name.as_str()) {
            let reason = format_args!("the kernel has no limit `{name}`");
            note_key(out, Code::UnknownWord, path, reason, format_args!("there are: {}", ULIMITS.join(", ")));
        } else if let Some(hard) = limit.hard.filter(|hard| *hard != -1 && (limit.soft == -1 || limit.soft > *hard)) {
            let reason = format_args!("`soft` is above `hard`, which is {hard}");
            note(out, Code::Conflict, path.key("soft"), reason, "lower `soft`, or raise `hard`");
        }
    }
}

fn devices(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let mut seen = BTreeMap::new();
    for (index, device) in spec.devices.iter().enumerate() {
        let place = Path::spec("devices").index(index);
        let paths = [("hostPath", Some(&device.host_path)), ("path", device.path.as_ref())];
        for (key, path) in paths.into_iter().filter_map(|(key, path)| Some((key, path?))) {
            if path.split('/').any(|part| part == "..") || path.contains('\0') {
                let reason = format_args!("`{key}` goes up with `..` or holds a NUL");
                note(out, Code::BadPath, place.clone().key(key), reason, "write the plain absolute path");
            }
        }
        let target = device.path.as_ref().unwrap_or(&device.host_path);
        if let Some(earlier) = seen.insert(target, index) {
            let reason = format_args!("`{target}` is already taken by `spec.devices[{earlier}]`");
            note(out, Code::Duplicate, place, reason, "give each device its own path");
        }
    }
}

fn log(spec: &ContainerSpec, out: &mut Vec<Violation>) {
    let Some(log) = &spec.log else { return };
    let path = |key: &str| Path::spec("log").key(key);
    for (key, given) in [("maxSize", log.max_size.is_some()), ("maxFiles", log.max_files.is_some())] {
        if given && !log.driver.keeps_files() {
            let reason = format_args!("`{}` keeps no files of the engine", log.driver.as_str());
            note(out, Code::Conflict, path(key), reason, format_args!("remove `{key}`, or choose another driver"));
        }
    }
    for (option, key) in [("max-size", "maxSize"), ("max-file", "maxFiles")] {
        if log.options.contains_key(option) {
            let reason = format_args!("`{option}` has a key of its own");
            note_key(out, Code::Conflict, path("options").key(option), reason, format_args!("write `{key} = …`"));
        }
    }
    if log.max_size.is_some_and(|size| size.get() < 1024) {
        note(out, Code::OutOfRange, path("maxSize"), "a file of the log holds at least 1Ki", "give it more");
    }
}

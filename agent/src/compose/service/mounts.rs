//! What it sees of the machine: volumes, directories, files, memory.

use serde_json::{Map, Value as Json};

use crate::{
    compose::{
        draft::Draft,
        project::Storage,
        values,
        yaml::{Node, Value},
    },
    foreign::{self, valid_name},
};

pub(super) fn take(draft: &mut Draft<'_>, key: &str, node: &Node) -> bool {
    match key {
        "volumes" => {
            for (index, item) in draft.list(node).iter().enumerate() {
                mount(draft, item, &format!("[{index}]"));
            }
        }
        "tmpfs" => {
            for (index, text) in draft.words(node).iter().enumerate() {
                tmpfs(draft, text, &format!("[{index}]"));
            }
        }
        "secrets" => files(draft, node, true),
        "configs" => files(draft, node, false),
        _ => return false,
    }
    true
}

fn mount(draft: &mut Draft<'_>, item: &Node, part: &str) {
    match &item.value {
        Value::Text(text) => short(draft, item, text, part),
        Value::Map(_) => long(draft, item, part),
        _ => draft.wrong(item.place, "this is no mount", "write `./data:/data` or `name:/data:ro`"),
    }
}

/// Reads `SOURCE:TARGET[:OPTIONS]` or a target alone.
fn short(draft: &mut Draft<'_>, item: &Node, text: &str, part: &str) {
    let pieces: Vec<_> = text.split(':').collect();
    let (source, target, options) = match pieces[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return draft.wrong(item.place, "this is no mount", "write `./data:/data` or `name:/data:ro`"),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "nocopy" | "cached" | "delegated" | "consistent" | "rprivate" | "private" => {}
            "z" | "Z" => draft.changed(part, "left out: `z` labels files for SELinux"),
            other => draft.lost(part, format!("the option `{other}` can't be said")),
        }
    }
    add(draft, item, part, Asked { source, target, read_only });
}

fn long(draft: &mut Draft<'_>, item: &Node, part: &str) {
    let (mut kind, mut source, mut target, mut read_only) = ("volume", None, "", false);
    for entry in draft.entries(item) {
        match entry.key.as_str() {
            "type" => kind = draft.text(&entry.value).unwrap_or(kind),
            "source" | "src" => source = draft.text(&entry.value),
            "target" | "dst" => target = draft.text(&entry.value).unwrap_or(target),
            "read_only" => read_only = draft.flag(&entry.value) == Some(true),
            "bind" | "volume" | "tmpfs" | "consistency" => {}
            _ => draft.unknown(entry, &["type", "source", "target", "read_only", "bind", "volume", "tmpfs"]),
        }
    }
    options(draft, item, part);
    match kind {
        "tmpfs" => memory(draft, item, target),
        "bind" | "volume" => {
            if kind == "bind" && source.is_none_or(|it| !it.starts_with(['/', '.', '~'])) {
                return draft.wrong(item.place, "a bind needs a path as `source`", "write `source: ./data`");
            }
            add(draft, item, part, Asked { source, target, read_only });
        }
        other => draft.lost(part, format!("mounts of the type `{other}` are not offered")),
    }
}

/// Speaks of what the long form says beyond source and target.
fn options(draft: &mut Draft<'_>, item: &Node, part: &str) {
    for group in ["bind", "volume"] {
        let Some(inner) = item.get(group) else { continue };
        for entry in draft.entries(inner) {
            let part = format!("{part}.{group}.{}", entry.key);
            match entry.key.as_str() {
                "create_host_path" | "nocopy" => draft.changed(
                    &part,
                    "a directory of the machine has to be there, one of a volume is filled by its image",
                ),
                "propagation" if matches!(entry.value.text(), Some("rprivate" | "private")) => {}
                "selinux" => draft.changed(&part, "left out: it labels files for SELinux"),
                "propagation" | "subpath" | "recursive" | "labels" => {
                    draft.lost(&part, "this can't be said of a mount");
                }
                _ => draft.unknown(entry, &["create_host_path", "nocopy", "propagation", "selinux", "subpath"]),
            }
        }
    }
}

fn memory(draft: &mut Draft<'_>, item: &Node, target: &str) {
    let mut tmpfs = Map::from_iter([("path".to_owned(), Json::from(values::plain(target)))]);
    for entry in item.get("tmpfs").map(|it| draft.entries(it)).unwrap_or_default() {
        match entry.key.as_str() {
            "size" => {
                if let Some(size) = draft.size(&entry.value) {
                    tmpfs.insert("size".to_owned(), piccolo_schema::quantity::Bytes::new(size).to_string().into());
                }
            }
            "mode" => draft.lost("", "the mode of a tmpfs can't be said"),
            _ => draft.unknown(entry, &["size", "mode"]),
        }
    }
    draft.push("tmpfs", tmpfs);
}

/// A mount that is asked for.
#[derive(Clone, Copy)]
struct Asked<'n> {
    source: Option<&'n str>,
    target: &'n str,
    read_only: bool,
}

fn add(draft: &mut Draft<'_>, item: &Node, part: &str, asked: Asked<'_>) {
    let target = values::plain(asked.target);
    if !asked.target.starts_with('/') || target == "/" {
        return draft.wrong(item.place, "the place in the container is no absolute path", "write `./data:/data`");
    }
    let Some((field, what)) = source(draft, item, part, asked.source, &target) else { return };
    let mut mount = Map::from_iter([("path".to_owned(), Json::from(target)), (field.to_owned(), Json::from(what))]);
    if asked.read_only {
        mount.insert("readOnly".to_owned(), true.into());
    }
    draft.push("mounts", mount);
}

/// Returns the field and the value that say what is mounted.
fn source(
    draft: &mut Draft<'_>,
    item: &Node,
    part: &str,
    source: Option<&str>,
    target: &str,
) -> Option<(&'static str, String)> {
    let Some(source) = source else {
        let volume = draft.project.volume(&format!("{}_{}", draft.own, valid_name(target)));
        draft.changed(part, format!("it had no name: its volume is called `{volume}` and begins empty"));
        return Some(("volume", volume));
    };
    if source.starts_with(['/', '.', '~']) {
        let Some(path) = draft.project.path(source) else {
            draft.wrong(item.place, "it begins at a home that is not known", "write the absolute path");
            return None;
        };
        if !source.starts_with('/') {
            draft.changed(part, format!("`{source}` is `{path}` of the machine, which has to be there"));
        }
        return Some(("hostPath", path));
    }
    match draft.project.volumes.get(source).cloned() {
        Some(Storage::Volume(name)) => {
            if name != source {
                draft.kept(part, format!("`{name}`, as compose called it, with the data that is in it"));
            }
            Some(("volume", name))
        }
        Some(Storage::Directory(path)) => {
            draft.changed(part, format!("`{path}` of the machine, which the volume stood for"));
            Some(("hostPath", path))
        }
        Some(Storage::Foreign) => {
            draft.lost(
                part,
                format!("the volume `{source}` is not one of the machine: mount it there, then name its `hostPath`"),
            );
            None
        }
        None => {
            draft.wrong(item.place, "there is no such volume in the file", "declare it under `volumes:`");
            None
        }
    }
}

/// Reads `PATH[:OPTIONS]`.
fn tmpfs(draft: &mut Draft<'_>, text: &str, part: &str) {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = Map::from_iter([("path".to_owned(), Json::from(values::plain(path)))]);
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option.strip_prefix("size=").map(foreign::engine_bytes) {
            Some(Some(size)) => {
                tmpfs.insert("size".to_owned(), piccolo_schema::quantity::Bytes::new(size).to_string().into());
            }
            _ if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
            _ => draft.lost(part, format!("the option `{option}` can't be said")),
        }
    }
    draft.push("tmpfs", tmpfs);
}

/// Mounts the files behind secrets or configs, as compose does.
fn files(draft: &mut Draft<'_>, node: &Node, secret: bool) {
    for (index, item) in draft.list(node).iter().enumerate() {
        let name = item.get("source").unwrap_or(item);
        let part = format!("[{index}]");
        let Some(name) = draft.text(name).map(str::to_owned) else { continue };
        let known = if secret { &draft.project.secrets } else { &draft.project.configs };
        let target = match (item.get("target").and_then(Node::text), secret) {
            (Some(target), _) if target.starts_with('/') => target.to_owned(),
            (target, true) => format!("/run/secrets/{}", target.unwrap_or(&name)),
            (target, false) => format!("/{}", target.unwrap_or(&name)),
        };
        match known.get(&name).cloned() {
            Some(Some(file)) => match draft.project.path(&file) {
                Some(path) => {
                    let advice = if secret { "; a Secret is the better place" } else { "" };
                    draft.changed(&part, format!("the file `{path}` is mounted at `{target}`{advice}"));
                    let mount = [("path", Json::from(target)), ("hostPath", path.into()), ("readOnly", true.into())];
                    draft.push("mounts", Map::from_iter(mount.map(|(key, value)| (key.to_owned(), value))));
                }
                None => draft.wrong(item.place, "it begins at a home that is not known", "write the absolute path"),
            },
            Some(None) if secret => {
                draft.lost(&part, format!("`{name}` comes from no file: declare a Secret and mount it at `{target}`"));
            }
            Some(None) => {
                draft.lost(&part, format!("`{name}` comes from no file: write one and mount it at `{target}`"));
            }
            None => draft.wrong(item.place, "there is no such thing in the file", "declare it at the top of the file"),
        }
        for key in ["uid", "gid", "mode"].iter().filter(|key| item.get(key).is_some()) {
            draft.lost(&format!("{part}.{key}"), "the file keeps its own owner and mode");
        }
    }
}

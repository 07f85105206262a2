//! Which directories of a machine can't be a volume.

/// Directories that belong to the machine with all that is below them.
const TREES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/piccolo",
    "/var/run",
];

/// Directories that many things share. One below them is fine.
const SHARED: &[&str] = &[
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// Says why a plain path can't be a volume: owner and mode of the directory would change for everything else in it.
pub fn machines_own(path: &str) -> Option<String> {
    if let Some(tree) = TREES.iter().find(|tree| lies_in(path, tree)) {
        return Some(format!("`{tree}` and all below it belongs to the machine itself"));
    }
    SHARED.contains(&path).then(|| format!("`{path}` is shared by many things"))
}

/// Returns true if a path is a directory or lies in it. Both are in their one spelling.
pub fn lies_in(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the one spelling of an absolute path, without doubled slashes, dots and a slash at the end.
pub fn plain(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

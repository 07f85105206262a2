//! What a person may have meant.

use super::{
    path::{Path, Segment},
    shape::{Is, Shape},
};

/// Longer words are not compared: nobody misspells so long a key.
const LONGEST: usize = 40;

/// Words that other tools use, and what stands for them here.
const HABITS: &[(&str, &str)] = &[
    ("volumes", "mounts"),
    ("binds", "mounts"),
    ("environment", "env"),
    ("args", "command"),
    ("cmd", "command"),
    ("test", "command"),
    ("mem", "memory"),
    ("memlimit", "memory"),
    ("cpu", "cpus"),
    ("pidslimit", "pids"),
    ("health", "healthCheck"),
    ("capadd", "capabilities"),
    ("capdrop", "capabilities"),
    ("networks", "network"),
    ("networkmode", "network"),
    ("readonly", "readOnlyRoot"),
    ("restartpolicy", "restart"),
    ("stoptimeout", "stopGracePeriod"),
    ("published", "hostPort"),
    ("target", "path"),
    ("destination", "path"),
    ("source", "hostPath"),
    ("address", "hostIp"),
    ("cidr", "subnet"),
    ("state", "running"),
    ("size", "quota"),
    ("permissions", "mode"),
    ("user", "owner"),
    ("device", "path"),
    ("hostpath", "path"),
];

/// Returns the word that is most likely meant.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let plain = plain(word);
    if let Some(same) = known.clone().find(|it| plain == self::plain(it)) {
        return Some(same);
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |it: &&str| strsim::osa_distance(&plain, &self::plain(it));
    let near = known.clone().map(|it| (distance(&it), it)).filter(|(far, _)| *far <= allowed);
    if let Some((_, near)) = near.min_by_key(|(far, _)| *far) {
        return Some(near);
    }
    let habit = HABITS.iter().find(|(habit, _)| *habit == plain).map(|(_, ours)| *ours);
    known.into_iter().find(|it| Some(*it) == habit)
}

/// Returns the way to the table of the manifest in which a key would be right.
pub(super) fn home(key: &str, shape: &Shape) -> Option<Path> {
    search(key, shape, &mut Path::default())
}

fn search(key: &str, shape: &Shape, path: &mut Path) -> Option<Path> {
    match &shape.is {
        Is::Table(table) if table.get(key).is_some() => Some(path.clone()),
        Is::Table(table) => table.keys.iter().find_map(|(name, inner)| {
            path.push(Segment::Key(name.clone()));
            let found = search(key, inner, path);
            path.pop();
            found
        }),
        Is::List { of, .. } => search(key, of, path),
        _ => None,
    }
}

/// Returns the word without what people write differently: case, `_`, `-`.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

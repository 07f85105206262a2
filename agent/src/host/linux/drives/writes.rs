//! What is written to partitions that nobody uses, and to a disk beside its partitions: the kernel counts both, so that it
//! shows that a hand was at a disk in use, and no disk is asked or woken for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Which of the kernel's numbers of a device counts the sectors that were written to it.
const WRITTEN: usize = 6;

/// How much was written to a disk with partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Writes {
    /// Its partitions.
    parts: BTreeSet<String>,
    /// What was written beside them, where the table is.
    beside: u64,
    /// What was written to each that nobody uses.
    idle: BTreeMap<String, u64>,
}

impl Writes {
    /// Counts for a disk with these partitions. None where something is being written just now, and where it has none.
    pub(super) fn count(disk: &str, parts: BTreeSet<String>, is_idle: impl Fn(&str) -> bool) -> Option<Self> {
        Self::within(Path::new("/sys/class/block"), disk, parts, is_idle)
    }

    /// Counts once more, as long as the same partitions are idle.
    pub(super) fn again(&self, disk: &str) -> Option<Self> {
        Self::count(disk, self.parts.clone(), |name| self.idle.contains_key(name))
    }

    fn within(root: &Path, disk: &str, parts: BTreeSet<String>, is_idle: impl Fn(&str) -> bool) -> Option<Self> {
        if parts.is_empty() {
            return None;
        }
        let written = |name: &str| {
            let text = fs::read_to_string(root.join(name).join("stat")).ok()?;
            text.split_whitespace().nth(WRITTEN)?.parse::<u64>().ok()
        };
        let before = written(disk)?;
        let all: BTreeMap<String, u64> =
            parts.iter().map(|it| Some((it.clone(), written(it)?))).collect::<Option<_>>()?;
        // What is counted while it grows does not fit together.
        if written(disk)? != before {
            return None;
        }
        let beside = before.saturating_sub(all.values().sum());
        let idle = all.into_iter().filter(|(name, _)| is_idle(name)).collect();
        Some(Self { parts, beside, idle })
    }

    /// Returns true if what nobody of ours writes was written since, or is idle only now.
    pub(super) fn is_outrun_by(&self, now: &Self) -> bool {
        self.beside != now.beside || now.idle.iter().any(|(name, count)| self.idle.get(name) != Some(count))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    /// The kernel's numbers of a disk and its partitions.
    fn kernel(root: &Path, numbers: &[(&str, u64)]) {
        for (name, written) in numbers {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("stat"), format!(" 1 2 3 4 5 6 {written} 8 9\n")).unwrap();
        }
    }

    #[test]
    fn a_hand_is_seen_beside_what_is_used() {
        let root = tempfile::TempDir::new().unwrap();
        let parts = || ["sda1", "sda2"].map(str::to_owned).into();
        let count = |used: &str| Writes::within(root.path(), "sda", parts(), |it| it != used).unwrap();
        kernel(root.path(), &[("sda", 150), ("sda1", 40), ("sda2", 10)]);
        let first = count("sda1");
        // Who uses a partition writes to it.
        kernel(root.path(), &[("sda", 250), ("sda1", 140)]);
        assert!(!first.is_outrun_by(&count("sda1")));
        // A file system is made on the other, a table is written, and one is used no more.
        kernel(root.path(), &[("sda", 251), ("sda2", 11)]);
        let second = count("sda1");
        assert!(first.is_outrun_by(&second));
        kernel(root.path(), &[("sda", 252)]);
        let third = count("sda1");
        assert!(second.is_outrun_by(&third));
        assert!(third.is_outrun_by(&count("")));
        // It is used from now on, which is nobody's news.
        assert!(!third.is_outrun_by(&Writes::within(root.path(), "sda", parts(), |_| false).unwrap()));
        assert_eq!(Writes::within(root.path(), "sda", BTreeSet::new(), |_| true), None);
        assert_eq!(Writes::within(root.path(), "sdb", parts(), |_| true), None);
    }
}

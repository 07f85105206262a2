//! What is mounted and used as swap, as the kernel writes it.

use std::{collections::BTreeMap, fs::read_to_string};

use crate::host::{HostError, Reason};

/// The mounts and the swap of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    mounts: Vec<Entry>,
    swaps: Vec<String>,
    /// The devices of each mounted file system that is on several.
    halves: Vec<Vec<String>>,
    /// True if what is mounted here is seen by nobody else on the machine.
    pub(super) is_shut_off: bool,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    number: String,
    at: String,
    device: String,
}

impl Table {
    /// Reads it.
    pub(super) fn read() -> Result<Self, HostError> {
        let mounts = read_to_string("/proc/self/mountinfo")
            .map_err(|error| HostError::new(Reason::Failed, format!("The table of mounts can't be read ({error})")))?;
        Ok(Self::parse(&mounts, &read_to_string("/proc/swaps").unwrap_or_default()))
    }

    fn parse(mounts: &str, swaps: &str) -> Self {
        let entry = |line: &str| {
            let (left, right) = line.split_once(" - ")?;
            let left: Vec<&str> = left.split(' ').collect();
            let device = right.split(' ').nth(1)?;
            let device = name_of_people(unescape(device));
            Some(Entry { number: (*left.get(2)?).to_owned(), at: unescape(left.get(4)?), device })
        };
        // A daemon with mounts of its own hears of those of the machine, and tells it nothing.
        let is_slave = |line: &str| {
            let mut words = line.split(" - ").next().unwrap_or_default().split(' ').skip(4);
            words.next() == Some("/") && words.any(|it| it.starts_with("master:"))
        };
        let swap = |line: &str| line.split_whitespace().next().map(|it| name_of_people(unescape(it)));
        Self {
            mounts: mounts.lines().filter_map(entry).collect(),
            swaps: swaps.lines().skip(1).filter_map(swap).collect(),
            halves: Vec::new(),
            is_shut_off: mounts.lines().any(is_slave),
        }
    }

    /// Returns where a device is mounted. A btrfs has a number that is no device's, so its name counts too.
    pub(super) fn places(&self, number: &str) -> Vec<String> {
        let named = std::fs::canonicalize(format!("/dev/block/{number}")).ok();
        let device = named.as_ref().and_then(|path| path.to_str());
        let kernel = name_of(number).map(|name| format!("/dev/{name}"));
        let is_it = |it: &&Entry| {
            it.number == number || device.is_some_and(|name| it.device == name) || kernel.as_ref() == Some(&it.device)
        };
        self.mounts.iter().filter(is_it).map(|it| it.at.clone()).collect()
    }

    /// Takes in which devices are parts of one mounted file system, of which the kernel names one alone.
    pub(super) fn with_halves(self, halves: &BTreeMap<String, Vec<String>>) -> Self {
        Self { halves: halves.values().cloned().collect(), ..self }
    }

    /// Returns true if a device is a part of a mounted file system on several.
    pub(super) fn is_half(&self, name: &str) -> bool {
        self.halves.iter().any(|all| all.len() > 1 && all.iter().any(|it| it == name))
    }

    /// Returns where the file system is mounted that a device is a part of.
    pub(super) fn places_of_its_other_half(&self, name: &str) -> Vec<String> {
        let all = self.halves.iter().filter(|all| all.iter().any(|it| it == name)).flatten();
        let paths: Vec<String> = all.map(|it| format!("/dev/{it}")).collect();
        self.mounts.iter().filter(|it| paths.contains(&it.device)).map(|it| it.at.clone()).collect()
    }

    /// Returns the device that is mounted on top at a place.
    pub(super) fn at(&self, place: &str) -> Option<&str> {
        self.mounts.iter().rev().find(|it| it.at == place).map(|it| it.device.as_str())
    }

    /// Returns true if a device is used as swap.
    pub(super) fn swaps(&self, device: &str) -> bool {
        self.swaps.iter().any(|it| it == device)
    }
}

/// Returns what the kernel calls the device of a number.
fn name_of(number: &str) -> Option<String> {
    let target = std::fs::read_link(format!("/sys/dev/block/{number}")).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// Returns what the kernel calls a device below `/dev`: what is inside of an encrypted disk has a name of people beside that.
pub(super) fn kernel_name(device: &str) -> String {
    let real = std::fs::canonicalize(std::path::Path::new("/dev").join(device)).ok();
    let name = real.as_ref().and_then(|it| it.file_name()?.to_str()).filter(|it| it.starts_with("dm-"));
    name.unwrap_or(device).to_owned()
}

/// Returns the path of a device as it is called here: what is inside of an encrypted disk the kernel calls by a number or not,
/// as it was told of it.
fn name_of_people(path: String) -> String {
    match path.strip_prefix("/dev/").and_then(inside_of) {
        Some(inside) => format!("/dev/{inside}"),
        None => path,
    }
}

/// Returns what is inside of an encrypted disk as it is called below `/dev` here, by its name of the kernel.
pub(super) fn inside_of(kernel: &str) -> Option<String> {
    let number = kernel.strip_prefix("dm-")?;
    number.bytes().all(|it| it.is_ascii_digit()).then_some(())?;
    let name = read_to_string(format!("/sys/class/block/{kernel}/dm/name")).ok()?;
    Some(format!("mapper/{}", name.trim()))
}

/// Returns what the kernel calls the one device on which the inside of something encrypted stands.
pub(super) fn stands_on(device: &str) -> Option<String> {
    let below = std::fs::read_dir(format!("/sys/class/block/{}/slaves", kernel_name(device))).ok()?;
    let mut below = below.flatten().filter_map(|it| it.file_name().into_string().ok());
    below.next().filter(|_| below.next().is_none())
}

/// The kernel writes blanks as numbers.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTS: &str = "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                          41 22 8:2 / /srv/my\\040disk rw - xfs /dev/sda2 rw\n42 22 0:40 / /srv/b rw - btrfs /dev/sdz rw";
    const SWAPS: &str = "Filename Type Size Used Priority\n/dev/sdb2 partition 8 0 -2\n";

    #[test]
    fn mounts_and_swap_are_found() {
        let table = Table::parse(MOUNTS, SWAPS);
        assert_eq!(table.places("8:2"), ["/srv/my disk"]);
        assert_eq!(table.at("/srv/b"), Some("/dev/sdz"));
        assert!(table.swaps("/dev/sdb2") && !table.swaps("/dev/sdb"));
        assert!(!table.is_shut_off);
        assert!(Table::parse("22 1 254:0 / / rw shared:1 master:3 - ext4 /dev/vda rw", "").is_shut_off);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..MOUNTS.len(), what in "[\\PC \n]{0,12}") {
            let table = Table::parse(&format!("{}{what}{}", &MOUNTS[..at], &MOUNTS[at..]), &what);
            assert!(table.mounts.len() <= MOUNTS.lines().count() + what.lines().count() + 1);
        }
    }
}

//! What is read of the system that runs, and of its devices.

use std::{fs, io, path::Path};

use piccolo_schema::install::Keep;

use super::{LONG, SHORT, run};
use crate::host::{HostError, Reason, RunsFrom};

/// What the state is called while it is open here.
pub(super) const MAPPED: &str = "piccolo-install";
/// How the name begins that `systemd-repart` gives to what it encrypts, for as long as it does.
const REPART: &str = "luks-repart-";

/// Returns the partitions of the system that runs: its files, and their hashes.
pub(super) async fn slots() -> Result<(String, String), HostError> {
    let text = run("veritysetup", ["status", "usr"], SHORT).await?;
    let strange = || HostError::new(Reason::Failed, "`veritysetup` does not tell from where the system runs");
    devices(&text).ok_or_else(strange)
}

/// Makes sure that a copy of the files of the system that runs is the one that was signed. What was read from a dying disk may be
/// copied, and read back, with all its mistakes.
pub(super) async fn prove(files: &str, hashes: &str) -> Result<(), HostError> {
    let text = run("veritysetup", ["status", "usr"], SHORT).await?;
    let untold = || HostError::new(Reason::Failed, "`veritysetup` does not tell by which sum the system is known");
    let root = root_hash(&text).ok_or_else(untold)?;
    run("veritysetup", ["verify", files, hashes, root], LONG).await.map(drop).map_err(|error| {
        let why = format!("The copy of the system is not the one that was signed: {}", error.message);
        HostError::new(Reason::Failed, why)
    })
}

/// Reads from what `veritysetup status` says what the sum of all its hashes is.
fn root_hash(text: &str) -> Option<&str> {
    let root = text.lines().find_map(|line| line.trim().strip_prefix("root hash:"))?.trim();
    let is_hash = root.len() >= 32 && root.bytes().all(|it| it.is_ascii_hexdigit());
    is_hash.then_some(root)
}

/// Reads from what `veritysetup status` says which devices hold the files, and their hashes.
fn devices(text: &str) -> Option<(String, String)> {
    let told = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let device = |name| told(name).filter(|it| it.starts_with("/dev/")).map(str::to_owned);
    Some((device("data device:")?, device("hash device:")?))
}

/// Returns the version of the system that runs.
pub(super) fn version() -> Result<String, HostError> {
    running().version.ok_or_else(|| HostError::new(Reason::Failed, "The system does not tell its version"))
}

/// What is known of the system that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// What it runs from.
    pub from: RunsFrom,
    /// Its version, if it is ours.
    pub version: Option<String>,
}

/// Looks at the system that runs.
pub fn running() -> Running {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    told(&read("/proc/cmdline"), &read("/etc/os-release"))
}

/// Reads it from what the kernel was started with, and from what the system says of itself.
fn told(words: &str, release: &str) -> Running {
    let of =
        |key: &str| release.lines().find_map(|line| line.strip_prefix(key)).map(|it| it.trim_matches('"').to_owned());
    if of("IMAGE_ID=").as_deref() != Some("piccolo") {
        return Running::default();
    }
    let is_live = words.split_whitespace().any(|word| word.starts_with("piccolo.live"));
    Running { from: if is_live { RunsFrom::Stick } else { RunsFrom::Disk }, version: of("IMAGE_VERSION=") }
}

/// Returns what stays behind of what is the owner's in `/etc`, and of what the machine remembers.
pub(super) fn left_behind(keep: Keep) -> (Vec<&'static str>, Vec<&'static str>) {
    // A cache alone.
    let (mut own, mut memory) = (Vec::new(), vec!["store"]);
    if !keep.manifests {
        own.push("piccolo");
        memory.extend(["config.git", "sources"]);
    }
    memory.extend((!keep.access).then_some("access"));
    (own, memory)
}

/// Lists what is in a directory, but for these names.
pub(super) fn entries(directory: &Path, not: &[&str]) -> Result<Vec<String>, HostError> {
    let trouble =
        |error: io::Error| HostError::new(Reason::Failed, format!("`{}` can't be read ({error})", directory.display()));
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).map_err(trouble)? {
        let entry = entry.map_err(trouble)?;
        if !entry.file_name().to_str().is_some_and(|name| not.contains(&name)) {
            all.push(entry.path().display().to_string());
        }
    }
    all.sort();
    Ok(all)
}

/// Returns the size of a device in bytes.
pub(super) fn size(device: &str) -> Result<u64, HostError> {
    let measured = fs::File::open(device).and_then(|mut it| io::Seek::seek(&mut it, io::SeekFrom::End(0)));
    measured.map_err(|error| HostError::new(Reason::Failed, format!("`{device}` can't be read ({error})")))
}

/// Returns how large the blocks of a disk are, in bytes. Nothing smaller is written to it.
pub(super) fn block_of(device: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/class/block/{device}/queue/logical_block_size"));
    text.ok().and_then(|it| it.trim().parse().ok()).unwrap_or(512)
}

/// Returns how many bytes were written to a disk since it was plugged in.
pub(super) fn written(device: &str) -> u64 {
    let text = fs::read_to_string(format!("/sys/block/{device}/stat")).unwrap_or_default();
    let sectors: u64 = text.split_whitespace().nth(6).and_then(|it| it.parse().ok()).unwrap_or_default();
    sectors.saturating_mul(512)
}

/// Lists what is open here of a state, by us or by `systemd-repart`.
pub(super) fn mapped(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name == MAPPED || name.starts_with(REPART)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As `veritysetup` 2.6 says it.
    const STATUS: &str = "/dev/mapper/usr is active and is in use.\n  type:        VERITY\n  status:      verified\n  \
        hash type:   1\n  data block:  4096\n  hash block:  4096\n  hash name:   sha256\n  salt:        0123\n  \
        data device: /dev/vda2\n  size:        2097152 sectors\n  mode:        readonly\n  \
        hash device: /dev/vda3\n  hash offset: 8 sectors\n  root hash:   4567\n";

    #[test]
    fn a_stick_a_disk_and_a_system_of_others_are_told_apart() {
        let ours = "ID=debian\nIMAGE_ID=piccolo\nIMAGE_VERSION=\"1.2.0\"\n";
        let version = Some("1.2.0".to_owned());
        let live = told("rw quiet usrhash=aa piccolo.live=1", ours);
        assert_eq!(live, Running { from: RunsFrom::Stick, version: version.clone() });
        assert_eq!(told("rw quiet usrhash=aa", ours), Running { from: RunsFrom::Disk, version });
        // Words that anybody can write do not make it a stick.
        assert_eq!(told("quiet piccolo.live", "ID=debian\n"), Running::default());
    }

    #[test]
    fn what_is_not_asked_for_stays_behind() {
        assert_eq!(left_behind(Keep::default()), (vec![], vec!["store"]));
        let none = left_behind(Keep { manifests: false, access: false });
        assert_eq!(none, (vec!["piccolo"], vec!["store", "config.git", "sources", "access"]));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
    fn only_states_of_installations_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["control", "piccolo-install", "luks-repart-0123abcd", "usr", "photos"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let mut found = mapped(dir.path());
        found.sort();
        assert_eq!(found, ["luks-repart-0123abcd", "piccolo-install"]);
        assert!(mapped(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn the_devices_of_the_system_are_read_from_its_status() {
        assert_eq!(devices(STATUS), Some(("/dev/vda2".to_owned(), "/dev/vda3".to_owned())));
        for text in ["", "/dev/mapper/usr is inactive.", "data device: (null)\nhash device: /dev/vda3\n"] {
            assert_eq!(devices(text), None, "{text}");
        }
    }

    #[test]
    fn a_copy_is_proved_by_the_whole_sum() {
        let of = |root: &str| root_hash(&STATUS.replace("4567", root)).map(str::to_owned);
        let root = "0123456789abcdef".repeat(4);
        assert_eq!(of(&root), Some(root));
        for text in ["", "4567", "(null)", "--no-superblock", &format!("{}x", "0".repeat(63))] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_breaks_it(at in 0..STATUS.len(), cut in 0..STATUS.len(), what in "\\PC{0,12}") {
            for text in [format!("{}{what}{}", &STATUS[..at], &STATUS[at..]), STATUS[..cut].to_owned(), what] {
                let found = devices(&text);
                prop_assert!(found.is_none_or(|(one, other)| one.starts_with("/dev/") && other.starts_with("/dev/")));
                drop(told(&text, &text));
            }
        }
    }
}

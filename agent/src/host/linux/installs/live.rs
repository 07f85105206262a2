//! What is read of the system that runs, and of its devices.

use std::{fs, io, path::Path};

use super::{SHORT, run};
use crate::host::{HostError, Reason};

/// What the state is called while it is open here.
pub(super) const MAPPED: &str = "piccolo-install";
/// How the name begins that `systemd-repart` gives to what it encrypts, for as long as it does.
const REPART: &str = "luks-repart-";
/// Returns the partitions of the system that runs: its files, and their hashes.
pub(super) async fn slots() -> Result<(String, String), HostError> {
    let text = run("veritysetup", ["status", "usr"], SHORT).await?;
    let told = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(|it| it.trim().to_owned());
    let strange = || HostError::new(Reason::Failed, "`veritysetup` does not tell from where the system runs");
    Ok((told("data device:").ok_or_else(strange)?, told("hash device:").ok_or_else(strange)?))
}

/// Returns the version of the system that runs.
pub(super) fn version() -> Result<String, HostError> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let told =
        text.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION=")).map(|it| it.trim_matches('"').to_owned());
    told.ok_or_else(|| HostError::new(Reason::Failed, "The system does not tell its version"))
}

/// Returns the size of a device in bytes.
pub(super) fn size(device: &str) -> Result<u64, HostError> {
    let measured = fs::File::open(device).and_then(|mut it| io::Seek::seek(&mut it, io::SeekFrom::End(0)));
    measured.map_err(|error| HostError::new(Reason::Failed, format!("`{device}` can't be read ({error})")))
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
    use super::*;

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
}

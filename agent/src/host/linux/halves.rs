//! A state that lies on two disks, as the kernel tells of it. Nobody is asked and no disk is woken for that.

use std::{fs, path::Path};

use super::partition::disk_of;
use crate::host::StateHalves;

/// Where the kernel tells of devices.
const BLOCK: &str = "/sys/class/block";

/// Says on which disks a state lies that is one of two halves. None for one that lies in a partition.
pub fn state_halves(device: &str) -> Option<StateHalves> {
    halves(Path::new(BLOCK), device)
}

fn halves(block: &Path, device: &str) -> Option<StateHalves> {
    let whole = block.join(device);
    let told = |what: &str| fs::read_to_string(whole.join("md").join(what)).map(|it| it.trim().to_owned());
    if told("level").ok()? != "raid1" {
        return None;
    }
    let mut on = Vec::new();
    for entry in fs::read_dir(whole.join("md")).ok()?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some(part) = name.strip_prefix("dev-") else { continue };
        let state = fs::read_to_string(entry.path().join("state")).unwrap_or_default();
        if !state.contains("faulty") {
            on.push(disk_of(block, part).unwrap_or_else(|| part.to_owned()));
        }
    }
    on.sort();
    let is_lacking = told("degraded").is_ok_and(|it| it != "0");
    let filled = told("sync_completed").ok().and_then(|it| percent(&it));
    // One that is filled counts as missing until it is full.
    Some(StateHalves { filled: filled.filter(|_| is_lacking && on.len() > 1), is_lacking, on })
}

/// Reads `123 / 456`.
fn percent(text: &str) -> Option<u8> {
    let (done, total) = text.split_once('/')?;
    let (done, total): (u64, u64) = (done.trim().parse().ok()?, total.trim().parse().ok()?);
    u8::try_from(done.saturating_mul(100).checked_div(total)?.min(100)).ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
mod tests {
    use super::*;

    /// Writes down what the kernel tells of an array.
    fn kernel(block: &Path, degraded: &str, sync: &str, members: &[(&str, &str)]) {
        let md = block.join("md127/md");
        drop(fs::remove_dir_all(&md));
        fs::create_dir_all(&md).unwrap();
        for (name, text) in [("level", "raid1\n"), ("degraded", degraded), ("sync_completed", sync)] {
            fs::write(md.join(name), text).unwrap();
        }
        for (name, state) in members {
            fs::create_dir_all(md.join(format!("dev-{name}"))).unwrap();
            fs::write(md.join(format!("dev-{name}/state")), state).unwrap();
        }
    }

    #[test]
    fn a_missing_half_and_one_that_is_filled_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let seen = || halves(dir.path(), "md127").unwrap();
        let of = |on: &[&str], is_lacking, filled| StateHalves {
            on: on.iter().map(|it| (*it).to_owned()).collect(),
            is_lacking,
            filled,
        };
        kernel(dir.path(), "0\n", "none\n", &[("vda6", "in_sync\n"), ("vdb6", "in_sync\n")]);
        assert_eq!(seen(), of(&["vda6", "vdb6"], false, None));
        kernel(dir.path(), "1\n", "none\n", &[("vda6", "in_sync\n")]);
        assert_eq!(seen(), of(&["vda6"], true, None));
        kernel(dir.path(), "1\n", "none\n", &[("vda6", "in_sync\n"), ("vdb6", "faulty,write_error\n")]);
        assert_eq!(seen(), of(&["vda6"], true, None));
        kernel(dir.path(), "1\n", "250 / 1000\n", &[("vda6", "in_sync\n"), ("vdb6", "spare\n")]);
        assert_eq!(seen(), of(&["vda6", "vdb6"], true, Some(25)));
        // What is compared is not filled.
        kernel(dir.path(), "0\n", "250 / 1000\n", &[("vda6", "in_sync\n"), ("vdb6", "in_sync\n")]);
        assert_eq!(seen(), of(&["vda6", "vdb6"], false, None));
        assert_eq!(halves(dir.path(), "vda6"), None);
        for text in ["", "none", "1", "/", "1 / 0", "-1 / 5"] {
            assert_eq!(percent(text), None, "{text}");
        }
    }
}

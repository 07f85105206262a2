//! A state that lies on two disks, as the kernel tells of it. Nobody is asked and no disk is woken for that.

use std::{fs, io::Read as _, path::Path};

use super::partition::disk_of;
use crate::host::{LeftOut, StateHalves, WhyLeftOut};

/// Where the kernel tells of devices.
const BLOCK: &str = "/sys/class/block";
/// What the two are together, by our rules of udev.
pub(super) const WHOLE: &str = "/dev/piccolo/state";
/// What is told of a half that is there and takes no part: by whom it would have been filled.
const VERDICT: &str = "/run/piccolo/halves";
/// How much of that is read.
const MOST: u64 = 256;

/// Says on which disks a state lies that is one of two halves. None for one that lies in a partition.
pub fn state_halves(device: &str) -> Option<StateHalves> {
    let mut seen = halves(Path::new(BLOCK), device)?;
    let left_out = left_out(Path::new(BLOCK), Path::new(VERDICT));
    seen.left_out = left_out.filter(|it| seen.counts(it));
    Some(seen)
}

/// Says which halves of the state that the system stands on are there and take no part in it, if it lies on two disks.
pub fn state_left_out() -> Option<LeftOut> {
    // The daemon has no devices of its own to look among. Nothing else is joined on the image, and elsewhere no verdict is told.
    let names = fs::read_dir(BLOCK).ok()?.flatten().filter_map(|it| it.file_name().into_string().ok());
    names.filter(|it| it.starts_with("md")).find_map(|it| state_halves(&it)?.left_out)
}

/// Reads what is told of halves that take no part. None if there is none any more.
fn left_out(block: &Path, verdict: &Path) -> Option<LeftOut> {
    let mut text = String::new();
    fs::File::open(verdict).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    // What is cut off has no end of its line.
    let mut words = text.strip_suffix('\n')?.split(' ');
    let why = match words.next()? {
        "differ" => WhyLeftOut::Differs,
        "several" => WhyLeftOut::Several,
        "strange" => WhyLeftOut::Strange,
        "newer" => WhyLeftOut::Newer,
        "refused" => WhyLeftOut::Refused,
        _ => return None,
    };
    let is_name = |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let on: Vec<String> = words.filter(is_name).filter_map(|it| disk_of(block, it)).collect();
    (!on.is_empty()).then_some(LeftOut { why, on })
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
    Some(StateHalves { filled: filled.filter(|_| is_lacking && on.len() > 1), is_lacking, on, left_out: None })
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
            left_out: None,
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

    #[test]
    fn what_is_there_and_takes_no_part_is_told_as_long_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (block, verdict) = (dir.path().join("block"), dir.path().join("verdict"));
        fs::create_dir_all(&block).unwrap();
        for disk in ["vdb", "vdc"] {
            let part = dir.path().join(format!("devices/{disk}/{disk}6"));
            fs::create_dir_all(&part).unwrap();
            fs::write(part.join("partition"), "6\n").unwrap();
            std::os::unix::fs::symlink(&part, block.join(format!("{disk}6"))).unwrap();
        }
        let read = |text: &str| {
            fs::write(&verdict, text).unwrap();
            left_out(&block, &verdict).map(|it| (it.why, it.on.join(" ")))
        };
        let told = |why, on: &str| Some((why, on.to_owned()));
        assert_eq!(left_out(&block, &verdict), None);
        assert_eq!(read("differ vdb6\n"), told(WhyLeftOut::Differs, "vdb"));
        assert_eq!(read("several vdb6 vdc6\n"), told(WhyLeftOut::Several, "vdb vdc"));
        assert_eq!(read("strange vdc6\n"), told(WhyLeftOut::Strange, "vdc"));
        assert_eq!(read("newer vdb6 vdc6\n"), told(WhyLeftOut::Newer, "vdb vdc"));
        assert_eq!(read("refused vdb6 vdd6\n"), told(WhyLeftOut::Refused, "vdb"));
        let long = format!("differ vdb6{}\n", " vdb6".repeat(60));
        for text in [
            "",
            "\n",
            "none\n",
            "differ\n",
            "differ vdd6\n",
            "differ vdb6",
            "odd vdb6\n",
            "differ ../vdb6\n",
            long.as_str(),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

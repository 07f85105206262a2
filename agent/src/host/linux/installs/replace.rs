//! A disk that takes the place of a lost one of two, on the system that runs from the other one.

use std::{fs, path::Path, time::Duration};

use super::{
    super::halves::{WHOLE, state_halves},
    HALVES, LAYOUT, SHORT, Stick,
    live::{block_of, prove, running, size, slots, version},
    run,
};
use crate::host::{DiskSeen, Halved, HostError, Pace, Reason, RunsFrom, STATE, UNFINISHED};

/// What of the layout is otherwise than that of two disks which are installed on together.
const REPLACES: &str = "/usr/lib/piccolo/replace.d";
/// What takes a half in.
const SCRIPT: &str = "/usr/lib/piccolo/halves";
/// How long that may take: who looks at halves at that moment is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where the kernel tells of devices.
const BLOCK: &str = "/sys/class/block";
/// What a table of partitions takes at the end of a disk, with what is lost as partitions end at whole blocks.
const TABLE: u64 = 20 << 10;
/// How large such a block is.
const ROUND: u64 = 4096;

/// Looks how the state of the system that runs lies on two disks.
pub(super) fn halved() -> Result<Option<Halved>, HostError> {
    if running().from != RunsFrom::Disk {
        return Err(HostError::new(Reason::Refused, "this system does not run from a disk that it was installed on"));
    }
    let Ok(whole) = fs::canonicalize(WHOLE) else { return Ok(None) };
    let name = whole.file_name().and_then(|it| it.to_str()).unwrap_or_default();
    let Some(halves) = state_halves(name) else { return Ok(None) };
    let untold = || HostError::new(Reason::Failed, "The kernel does not tell how large a half of the state is");
    let least = least(Path::new(BLOCK), name).ok_or_else(untold)?;
    Ok(Some(Halved { halves, least, block: block_of(name) }))
}

/// Returns how large a disk is at least that holds what the others do up to the end of a half.
fn least(block: &Path, whole: &str) -> Option<u64> {
    let md = block.join(whole).join("md");
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let size = number(&md.join("component_size"))?.checked_mul(1024)?;
    let names = fs::read_dir(&md).ok()?.flatten().filter_map(|it| it.file_name().into_string().ok());
    let ends = names.filter_map(|name| {
        let part = name.strip_prefix("dev-")?;
        let sectors = number(&md.join(&name).join("offset"))?.checked_add(number(&block.join(part).join("start"))?)?;
        sectors.checked_mul(512)?.checked_add(size)?.checked_next_multiple_of(ROUND)?.checked_add(TABLE)
    });
    ends.max()
}

impl Stick {
    /// Writes all but the state to a disk.
    pub(super) async fn write_beside(&self, disk: &DiskSeen, pace: Pace<'_>) -> Result<(), HostError> {
        self.held.is_still(disk)?;
        let (whole, hashes) = slots().await?;
        self.write_one(disk, &[REPLACES, HALVES, LAYOUT], pace, size(&whole)? + size(&hashes)?).await
    }

    /// Has the state lie on it too.
    pub(super) async fn join_half(&self, disk: &DiskSeen) -> Result<(), HostError> {
        self.held.is_still(disk)?;
        let version = version()?;
        let files = self.part(disk, &format!("piccolo_{version}")).await?.path;
        prove(&files, &self.part(disk, &format!("piccolo_{version}_v")).await?.path).await?;
        let part = self.part(disk, UNFINISHED).await?.path;
        run("bash", [SCRIPT, "replace", &part], PATIENCE).await?;
        // It is not said to count before whoever looks next sees it so. It is filled in any case, which is not to be told as a failure.
        if let Err(error) = self.part(disk, STATE).await {
            tracing::warn!(error = error.message, "the half is filled, and does not count yet");
        }
        self.held.let_go(&disk.device);
        drop(run("udevadm", ["settle", "--timeout=60"], SHORT).await);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it makes what is read here")]
mod tests {
    use super::*;

    #[test]
    fn a_disk_like_the_one_that_is_left_has_room_for_a_half() {
        let dir = tempfile::tempdir().unwrap();
        let md = dir.path().join("md127/md");
        assert_eq!(least(dir.path(), "md127"), None);
        fs::create_dir_all(md.join("dev-vda6")).unwrap();
        fs::create_dir_all(dir.path().join("vda6")).unwrap();
        // A disk of 4 GiB, with 784 MiB and 512 MiB before its half, which is as large as can be.
        let (start, offset, end) = (4_261_888_u64, 4096_u64, (4_u64 << 30) - TABLE);
        let size = end - (start + offset) * 512;
        for (path, text) in [
            (md.join("component_size"), format!("{}\n", size / 1024)),
            (md.join("dev-vda6/offset"), format!("{offset}\n")),
            (dir.path().join("vda6/start"), format!("{start}\n")),
        ] {
            assert_eq!(least(dir.path(), "md127"), None);
            fs::write(path, text).unwrap();
        }
        assert_eq!(least(dir.path(), "md127"), Some(4 << 30));
        fs::write(md.join("component_size"), "18446744073709551615\n").unwrap();
        assert_eq!(least(dir.path(), "md127"), None);
    }
}

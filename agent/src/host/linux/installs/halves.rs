//! A state that lies on two disks: the same on both, and encrypted once, so that there is one header with its keys.

use std::{fs, path::Path};

use super::{
    super::halves::state_halves,
    LONG, MAPPED, SHORT,
    keys::{bind, format},
    run,
};
use crate::host::{HostError, Reason, STATE, StateHalves};

/// Where the two are joined for as long as they are installed on. It is another name than that by which a start knows them.
pub(super) const JOINED: &str = "/dev/md/piccolo-install";

/// Joins two partitions that are to be halves of a state. What they held is lost.
pub(super) async fn make(parts: &[&str]) -> Result<(), HostError> {
    drivers().await?;
    let count = format!("--raid-devices={}", parts.len());
    let name = format!("--name={STATE}");
    // What nobody wrote to nobody reads: there is nothing yet in which the two could differ.
    let words =
        ["--create", JOINED, "--run", "--quiet", "--level=1", "--metadata=1.2", "--bitmap=internal", "--assume-clean"];
    let words = words.into_iter().chain(["--homehost=any", &name, &count]).chain(parts.iter().copied());
    run("mdadm", words, SHORT).await?;
    run("udevadm", ["settle", "--timeout=60"], SHORT).await.map(drop)
}

/// Joins two halves that were made, unless they are.
pub(super) async fn join(parts: &[&str]) -> Result<(), HostError> {
    if Path::new(JOINED).exists() {
        return Ok(());
    }
    drivers().await?;
    // Half of it would be no whole of which somebody could say that it was read back: without `--run` it is not begun.
    let words = ["--assemble", JOINED, "--quiet"];
    if let Err(error) = run("mdadm", words.into_iter().chain(parts.iter().copied()), SHORT).await {
        // What was not begun has no name, and would hold the two until the next start.
        for whole in parts.iter().filter_map(|it| Path::new(it).file_name()?.to_str()).flat_map(wholes) {
            drop(run("mdadm", ["--stop", "--quiet", &whole], SHORT).await);
        }
        return Err(error);
    }
    run("udevadm", ["settle", "--timeout=60"], SHORT).await.map(drop)
}

/// Lists what a partition is held by as a half.
fn wholes(part: &str) -> Vec<String> {
    let holders = fs::read_dir(Path::new("/sys/class/block").join(part).join("holders"));
    let names = holders.into_iter().flatten().flatten().filter_map(|it| it.file_name().into_string().ok());
    names.filter(|it| it.starts_with("md")).map(|it| format!("/dev/{it}")).collect()
}

/// Fails unless both halves take part: the kernel goes on with one where the other one fails, and begins with one where the other
/// one was missing before.
pub(super) fn are_both() -> Result<(), HostError> {
    let device = fs::canonicalize(JOINED).ok();
    let name = device.as_deref().and_then(Path::file_name).and_then(|it| it.to_str());
    both(name.and_then(state_halves))
}

fn both(seen: Option<StateHalves>) -> Result<(), HostError> {
    let on = seen.map(|it| if it.is_lacking && it.on.len() > 1 { Vec::new() } else { it.on }).unwrap_or_default();
    if on.len() > 1 {
        return Ok(());
    }
    let alone = on.first().map_or_else(String::new, |it| format!(", and lies on /dev/{it} alone"));
    let message = format!(
        "The state lost one of its two disks{alone}; see whether both are well (`piccolo disk list`), and begin anew"
    );
    Err(HostError::new(Reason::Failed, message))
}

/// Lets the halves go, if they are joined. What stands on them has to be closed before.
pub(super) async fn part() {
    if Path::new(JOINED).exists() {
        drop(run("mdadm", ["--stop", "--quiet", JOINED], SHORT).await);
        drop(run("udevadm", ["settle", "--timeout=60"], SHORT).await);
    }
}

/// Encrypts what the two are together by this key and by the TPM, with an empty file system inside.
pub(super) async fn encrypt(key: &str) -> Result<(), HostError> {
    format(JOINED, key).await?;
    run("cryptsetup", ["open", "--key-file", key, JOINED, MAPPED], SHORT).await?;
    let device = format!("/dev/mapper/{MAPPED}");
    let made = run("mkfs.ext4", ["-q", "-F", "-L", STATE, &device], LONG).await;
    run("cryptsetup", ["close", MAPPED], SHORT).await?;
    made?;
    bind(JOINED, key).await
}

async fn drivers() -> Result<(), HostError> {
    run("modprobe", ["--all", "md_mod", "raid1"], SHORT).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_lost_a_disk_is_not_on_both() {
        let seen = |on: &[&str], is_lacking| {
            let on = on.iter().map(|it| (*it).to_owned()).collect();
            both(Some(StateHalves { on, is_lacking, ..StateHalves::default() }))
        };
        assert_eq!(seen(&["vda", "vdb"], false), Ok(()));
        for lost in
            [seen(&["vda"], true), seen(&["vda"], false), seen(&["vda", "vdb"], true), seen(&[], true), both(None)]
        {
            assert!(lost.unwrap_err().message.contains("lost one of its two disks"));
        }
        assert!(seen(&["vda"], true).unwrap_err().message.contains("lies on /dev/vda alone"));
    }
}

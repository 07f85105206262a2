//! Keys of a disk that no manifest knows, by its path, where the daemon reaches no device itself: others do it for the daemon.
//! Needs no engine; the disk is a file as a loop device, and the kernel opens nothing.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::linux::{self, Drives, Enrolment, Keyring, Outside, Slots, Vault},
    secrets::{Identity, Plain},
};
use piccolo_e2e::{machine::program, tpm::Chip};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{
    disks::{Shelf, run},
    locked_disks::{FIRST, first},
    starts::start,
};

#[tokio::test]
async fn keys_of_a_disk_are_changed_by_its_path_where_the_daemon_is_kept_from_devices() -> anyhow::Result<()> {
    let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
    let device = shelf.plug("papers")?;
    let mut chip = Chip::start().await?;
    start(&mut chip, "first").await?;
    let memory = TempDir::with_prefix_in("piccolo-pathed-", "/dev/shm")?;
    let file = memory.path().join("first");
    fs::write(&file, first().expose())?;
    let words =
        ["luksFormat", "--type", "luks2", "--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    run("cryptsetup", &[&words[..], &["--key-file", &file.display().to_string(), &device]].concat())?;
    let by_uuid = format!("/dev/disk/by-uuid/{}", run("cryptsetup", &["luksUUID", &device])?);

    let ours = linux::Chip::new(Some(&chip.way()));
    let vault = Vault::new(memory.path().join("secrets"), Ok(Identity::generate()));
    let systemd_run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/support/systemd-run");
    let state = memory.path().join("state");
    let outside = Outside { systemd_run, piccolod: program()?, state: state.clone() };
    let drives = Drives::open_outside(&state, outside, Some(Keyring::new(ours.clone(), vault)));
    let slots = Slots::new(device.clone().into(), memory.path().to_owned());
    let (path, typed) = (Path::new(&device), Zeroizing::new(FIRST.to_owned()));
    let pcrs = "4,7".parse().map_err(anyhow::Error::msg)?;
    let (plain, pinned) =
        (Enrolment { pcrs, ..Enrolment::default() }, Enrolment { pcrs, pin: Some("1234"), ..Enrolment::default() });

    let wrong = Zeroizing::new("wrong".to_owned());
    let refused = drives.enrol_at(path, &wrong, &plain, None).await.err().context("any key will do")?;
    ensure!(!refused.message.contains("wrong"), "{refused}");
    ensure!(drives.enrol_at(path, &typed, &plain, None).await? == 1);
    ensure!(drives.enrol_at(Path::new(&by_uuid), &typed, &pinned, None).await? == 2);
    ensure!(slots.unlock(&ours, None).await?.0 == 1 && slots.unlock(&ours, Some("1234")).await.is_ok());
    let (slot, recovery) = drives.recovery_at(path, &typed).await?;
    let recovery = Plain::new(recovery.as_bytes().to_vec());
    ensure!(slot == 3 && slots.opens(Some(3), &recovery).await?);

    // Another start: with the PIN both are bound to it, and nothing is done without it.
    start(&mut chip, "release").await?;
    ensure!(slots.unlock(&ours, None).await.is_err());
    let refused = drives.rebind_at(path, &typed, None).await.err().context("a PIN is part of it")?;
    ensure!(refused.message.contains("PIN") && slots.tokens().await?.len() == 2, "{refused}");
    let bound = drives.rebind_at(path, &typed, Some("1234")).await?;
    ensure!(bound.failed.is_none() && bound.moved.iter().map(|it| it.old).collect::<Vec<_>>() == [1, 2], "{bound}");
    ensure!(slots.unlock(&ours, None).await.is_ok());
    let pinned = slots.tokens().await?.into_iter().filter_map(|it| it.1.ok()).find(|it| it.sealed.pin);
    ensure!(pinned.is_some_and(|it| bound.moved.iter().any(|moved| moved.new == it.slot)));

    // A slot goes by a key of another one, and what is no disk is reached by nobody.
    drives.forget_at(path, &typed, slot).await?;
    ensure!(!slots.opens(None, &recovery).await? && slots.opens(Some(0), &first()).await?);
    ensure!(drives.forget_at(path, &typed, slot).await.is_err());
    let lost = drives.recovery_at(&shelf.path("papers")?, &typed).await.err().context("a file is no disk")?;
    ensure!(lost.message.contains("/dev/disk/by-uuid") && lost.message.contains("`cryptsetup`"), "{lost}");
    Ok(())
}

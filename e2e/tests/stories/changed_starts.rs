//! A machine that starts another way than the slot of a disk is bound to: the status says what changed and what to do, and its
//! owner binds the slot anew. Needs no engine; the disk is a file as a loop device, and the TPM is asked before the kernel
//! would have to open anything.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{Pcrs, disk_label, linux},
    secrets::RecoveryKey,
};
use piccolo_e2e::{Machine, tpm::Chip};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::{
    disks::{Shelf, reason, run},
    locked_disks::first,
    starts::{log, start},
    updates::text,
};

/// Encrypts a disk, and lets the TPM open it as a manifest would have it.
async fn encrypt(chip: &Chip, device: &str, memory: &Path) -> anyhow::Result<()> {
    let (key, token) = (memory.join("first").display().to_string(), memory.join("token"));
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", &disk_label("papers")];
    let words = ["luksFormat", "--type", "luks2", "--batch-mode", "--key-file", &key];
    run("cryptsetup", &[&words[..], &quick, &[device]].concat())?;
    let slots = linux::Slots::new(device.into(), memory.to_owned());
    let pcrs: Pcrs = "4,7".parse().map_err(anyhow::Error::msg)?;
    let wish = linux::Enrolment { pcrs, ..Default::default() };
    slots.enrol(&linux::Chip::new(Some(&chip.way())), &first(), &wish).await?;
    let mut told: Value = serde_json::from_str(&run("cryptsetup", &["token", "export", "--token-id", "0", device])?)?;
    told["piccolo_disk"] = true.into();
    fs::write(&token, told.to_string())?;
    run("cryptsetup", &["token", "remove", "--token-id", "0", device])?;
    run("cryptsetup", &["token", "import", "--json-file", &token.display().to_string(), device])?;
    Ok(())
}

/// Lets a daemon see the machine as it was started once.
fn started(machine: Machine, chip: &Chip, name: &str) -> Machine {
    let (way, log) = (format!("PICCOLO_TCTI={}", chip.way()), format!("PICCOLO_EVENT_LOG={}", log(name).display()));
    machine.launched_by(&["env", "TSS2_LOG=all+NONE", &way, &log])
}

async fn condition(machine: &Machine, name: &str) -> Option<String> {
    let disk = machine.get("/apis/piccolo.os/v1alpha1/disks/papers").await.ok()?;
    let all = disk["status"]["conditions"].as_array()?.clone();
    let found = all.iter().find(|it| it["type"] == name && it["status"] == "True")?;
    found["message"].as_str().map(str::to_owned)
}

/// Binds the disk to this start by a key that is typed, and returns whether it was and what was said.
async fn bind(machine: &Machine, key: &str) -> anyhow::Result<(bool, String)> {
    let mut child = machine.piccolo(&["disk", "reseal", "papers", "--yes"])?.spawn()?;
    child.stdin.take().context("no input")?.write_all(format!("{key}\n").as_bytes()).await?;
    let output = child.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test]
async fn a_changed_start_is_a_condition_until_the_disk_is_bound_to_it() -> anyhow::Result<()> {
    let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
    let device = shelf.plug("papers")?;
    let mut chip = Chip::start().await?;
    let memory = TempDir::with_prefix_in("piccolo-start-", "/dev/shm")?;
    let file = memory.path().join("first");
    fs::write(&file, first().expose())?;
    start(&mut chip, "first").await?;
    encrypt(&chip, &device, memory.path()).await?;
    let mut machine = started(Machine::on("unix:///nonexistent/docker.sock")?, &chip, "first");
    machine.write("papers.toml", &shelf.manifest("papers", "encryption = { tpm2 = { pcrs = [4, 7] } }")?)?;
    machine.start().await?;
    let kept = machine.state().join("trust/start.json");
    machine.until("the start is kept", async || kept.exists()).await?;
    machine.until("it is looked at", async || !reason(&machine, "papers").await.is_empty()).await?;
    ensure!(condition(&machine, "StartChanged").await.is_none());
    machine.stop().await?;

    start(&mut chip, "release").await?;
    machine = started(machine, &chip, "release");
    machine.start().await?;
    machine.until("it is locked", async || reason(&machine, "papers").await == "DiskLocked").await?;
    machine.until("it is told why", async || condition(&machine, "StartChanged").await.is_some()).await?;
    let told = condition(&machine, "StartChanged").await.unwrap_or_default();
    let say = async |words: &[&str]| text(machine.piccolo(words)?.output().await?);
    let why = say(&["trust", "why"]).await?;
    let part = why.lines().find_map(|line| line.strip_prefix("register 4: ")).context(why.clone())?;
    ensure!(told.contains(part) && told.contains("piccolo disk unlock papers"), "{part}: {told}");
    ensure!(told.contains("piccolo disk reseal papers"), "{told}");

    // Who has shown to have no recovery key binds nothing to this start: the TPM may be the only way in.
    let key = file.display().to_string();
    let reseal = ["trust", "reseal", "--disk", &device, "--key-file", &key, "--yes"];
    let refused = machine.piccolo(&reseal)?.output().await?;
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && complaint.contains("recovery key"), "{complaint}");
    let made = say(&["trust", "recovery", &device, "--key-file", &key]).await?;
    let recovery = made.lines().find_map(RecoveryKey::parse).context("no recovery key")?;
    // Over the API a disk is bound anew by the name of its manifest, by whoever has the recovery key.
    let typed = String::from_utf8(recovery.text().expose().to_vec())?;
    let wrong = bind(&machine, "wrong").await?;
    ensure!(!wrong.0 && wrong.1.contains("does not open") && !wrong.1.contains("wrong"), "{}", wrong.1);
    let first = bind(&machine, "the passphrase of the first day").await?;
    ensure!(!first.0 && first.1.contains("recovery key"), "{}", first.1);
    let done = bind(&machine, &typed).await?;
    ensure!(done.0 && done.1.contains("slot 1 is gone"), "{}", done.1);
    let again = bind(&machine, &typed).await?;
    ensure!(!again.0 && again.1.contains("nothing is to be bound anew"), "{}", again.1);
    machine.until("nothing is told any more", async || condition(&machine, "StartChanged").await.is_none()).await?;
    ensure!(say(&["trust", "why"]).await?.starts_with("nothing changed"));
    let seen = machine.get("/journal?limit=100").await?.to_string() + &machine.whole_log();
    ensure!(
        !seen.contains("the passphrase of the first day") && !made.lines().any(|it| it.len() > 40 && seen.contains(it))
    );
    machine.stop().await
}

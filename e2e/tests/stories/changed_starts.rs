//! A machine that starts another way than the slot of a disk is bound to: the status says what changed and what to do, and its
//! owner binds the slot anew. Needs no engine; the disk is a file as a loop device, and the TPM is asked before the kernel
//! would have to open anything.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

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
    locked_disks::{FIRST, first},
    starts::{log, start},
    updates::text,
};

/// Encrypts a disk, and lets the TPM open it: as the manifest of this name would have it, or as others do it.
async fn encrypt(chip: &Chip, device: &str, memory: &Path, name: Option<&str>) -> anyhow::Result<()> {
    let (key, token) = (memory.join("first").display().to_string(), memory.join("token"));
    let label = name.map_or_else(|| "attic".to_owned(), disk_label);
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", &label];
    let words = ["luksFormat", "--type", "luks2", "--batch-mode", "--key-file", &key];
    run("cryptsetup", &[&words[..], &quick, &[device]].concat())?;
    let slots = linux::Slots::new(device.into(), memory.to_owned());
    let pcrs: Pcrs = "4,7".parse().map_err(anyhow::Error::msg)?;
    let wish = linux::Enrolment { pcrs, ..Default::default() };
    slots.enrol(&linux::Chip::new(Some(&chip.way())), &first(), &wish).await?;
    if name.is_none() {
        return Ok(());
    }
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

/// A `cryptsetup` that takes no slot away as long as a file is there.
struct Stuck {
    home: TempDir,
}

impl Stuck {
    fn new() -> anyhow::Result<Self> {
        let home = TempDir::with_prefix("piccolo-stuck-")?;
        let real = ["/sbin/cryptsetup", "/usr/sbin/cryptsetup"].into_iter().find(|it| Path::new(it).exists());
        let (real, program) = (real.context("cryptsetup is not installed")?, home.path().join("cryptsetup"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *luksKillSlot*) [ ! -e {}/stuck ] || {{ echo no way >&2; exit 1; }} ;; esac\nexec {real} \
             \"$@\"\n",
            home.path().display()
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let stuck = Self { home };
        stuck.set(true)?;
        Ok(stuck)
    }

    fn set(&self, is_stuck: bool) -> anyhow::Result<()> {
        let file = self.home.path().join("stuck");
        if is_stuck {
            fs::write(file, "")?;
        } else {
            fs::remove_file(file)?;
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("PATH={}:{}", self.home.path().display(), std::env::var("PATH").unwrap_or_default())
    }
}

async fn condition(machine: &Machine, name: &str) -> Option<String> {
    let disk = machine.get("/apis/piccolo.os/v1alpha1/disks/papers").await.ok()?;
    let all = disk["status"]["conditions"].as_array()?.clone();
    let found = all.iter().find(|it| it["type"] == name && it["status"] == "True")?;
    found["message"].as_str().map(str::to_owned)
}

/// Binds the disk to this start by a key that is typed, and returns whether it was and what was said.
async fn bind(machine: &Machine, disk: &str, key: &str) -> anyhow::Result<(bool, String)> {
    let mut child = machine.piccolo(&["disk", "reseal", disk, "--yes"])?.spawn()?;
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
    encrypt(&chip, &device, memory.path(), Some("papers")).await?;
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
    let wrong = bind(&machine, "papers", "wrong").await?;
    ensure!(!wrong.0 && wrong.1.contains("does not open") && !wrong.1.contains("wrong"), "{}", wrong.1);
    let first = bind(&machine, "papers", FIRST).await?;
    ensure!(!first.0 && first.1.contains("recovery key"), "{}", first.1);
    let done = bind(&machine, "papers", &typed).await?;
    ensure!(done.0 && done.1.contains("slot 1 is gone"), "{}", done.1);
    let again = bind(&machine, "papers", &typed).await?;
    ensure!(!again.0 && again.1.contains("nothing is to be bound anew"), "{}", again.1);
    machine.until("nothing is told any more", async || condition(&machine, "StartChanged").await.is_none()).await?;
    ensure!(say(&["trust", "why"]).await?.starts_with("nothing changed"));
    let seen = machine.get("/journal?limit=100").await?.to_string() + &machine.whole_log();
    ensure!(
        !seen.contains("the passphrase of the first day") && !made.lines().any(|it| it.len() > 40 && seen.contains(it))
    );
    machine.stop().await
}

#[tokio::test]
async fn a_binding_that_breaks_off_is_told_and_a_start_counts_once_all_disks_are_bound_to_it() -> anyhow::Result<()> {
    let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
    let mut chip = Chip::start().await?;
    let memory = TempDir::with_prefix_in("piccolo-start-", "/dev/shm")?;
    let file = memory.path().join("first");
    fs::write(&file, first().expose())?;
    start(&mut chip, "first").await?;
    let (papers, films, attic) = (shelf.plug("papers")?, shelf.plug("films")?, shelf.plug("attic")?);
    encrypt(&chip, &papers, memory.path(), Some("papers")).await?;
    encrypt(&chip, &films, memory.path(), Some("films")).await?;
    encrypt(&chip, &attic, memory.path(), None).await?;
    let uuid = run("cryptsetup", &["luksUUID", &attic])?;
    let mut machine = started(Machine::on("unix:///nonexistent/docker.sock")?, &chip, "first");
    for name in ["papers", "films"] {
        machine.write(&format!("{name}.toml"), &shelf.manifest(name, "encryption = { tpm2 = { pcrs = [4, 7] } }")?)?;
    }
    let adopted = format!("encryption = {{ tpm2 = {{ pcrs = [4, 7] }} }}\nadopt = \"{uuid}\"");
    machine.write("attic.toml", &shelf.manifest("attic", &adopted)?)?;
    machine.start().await?;
    let kept = machine.state().join("trust/start.json");
    machine.until("the start is kept", async || kept.exists()).await?;
    machine.stop().await?;

    start(&mut chip, "release").await?;
    let stuck = Stuck::new()?;
    machine = started(machine, &chip, "release").launched_also_by(&[&stuck.path()]);
    machine.start().await?;
    for name in ["papers", "films", "attic"] {
        machine.until("it is locked", async || reason(&machine, name).await == "DiskLocked").await?;
    }
    let say = async |words: &[&str]| text(machine.piccolo(words)?.output().await?);
    let told = async |reason: &str| {
        let all = machine.get("/journal?limit=200").await?;
        let all = all["items"].as_array().context("no journal")?.clone();
        let found = all.iter().rfind(|it| it["reason"] == reason).context(reason.to_owned())?;
        anyhow::Ok((found["message"].as_str().unwrap_or_default().to_owned(), found["severity"].clone()))
    };

    // What was added stays, and is told with what was not done.
    let broken = bind(&machine, "attic", FIRST).await?;
    ensure!(!broken.0 && broken.1.contains("slot 1 is still there; it went no further"), "{}", broken.1);
    ensure!(broken.1.contains("goes on where it was broken off"), "{}", broken.1);
    let (message, severity) = told("DiskKeysUnfinished").await?;
    ensure!(severity == "warning" && message.contains(&format!("slot 2 of {attic}")), "{message}");
    ensure!(message.contains("no way") && message.contains("once more goes on"), "{message}");
    stuck.set(false)?;
    // The keys of a disk that was adopted are its owner's: one of them is enough.
    let done = bind(&machine, "attic", FIRST).await?;
    ensure!(done.0 && done.1.contains("the TPM opens slot 2") && done.1.contains("slot 1 is gone"), "{}", done.1);
    let slots = run("cryptsetup", &["luksDump", &attic])?.matches("luks2\n").count();
    ensure!(slots == 2, "{slots} slots");

    // The start counts as a good one once the last disk opens in it.
    let changed = async || anyhow::Ok(!say(&["trust", "why"]).await?.starts_with("nothing changed"));
    let (message, _) = told("StartNotKept").await?;
    ensure!(message.contains(&papers) && message.contains(&films) && !message.contains(&attic), "{message}");
    ensure!(changed().await?);
    let key = file.display().to_string();
    for (name, device) in [("papers", &papers), ("films", &films)] {
        ensure!(changed().await?, "{name}");
        let made = say(&["trust", "recovery", device, "--key-file", &key]).await?;
        let recovery = made.lines().find_map(RecoveryKey::parse).context("no recovery key")?;
        let bound = bind(&machine, name, &String::from_utf8(recovery.text().expose().to_vec())?).await?;
        ensure!(bound.0, "{}", bound.1);
    }
    ensure!(!changed().await?);
    machine.stop().await
}

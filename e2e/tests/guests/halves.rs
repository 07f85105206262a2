//! A machine on two disks: installed on both, it starts with either alone and says so, and what was missing is filled by itself,
//! also where the older one of the two is started.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::{sleep, timeout};

use crate::{Person, claimed, complete, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(2700);
/// How long a half may take to be filled.
const FILLING: Duration = Duration::from_secs(300);
/// What stands on what, from the root down.
const STACK: &str = "lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /)";
/// The disks that the state lies on.
const ON: &str = "lsblk --noheadings --inverse --output SERIAL $(findmnt -no SOURCE /) | sort -u | xargs";
/// What is written down while both are there, and while one is missing.
const CANARIES: [&str; 2] = ["written on both", "written on one alone"];

#[tokio::test]
async fn a_machine_on_two_disks_starts_with_either_and_fills_what_was_missing() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial lines are kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("halves")?).await?;
    hardware.stick(&image()?).await?;
    let (one, other) = (hardware.blank(4 << 30)?, hardware.blank(5 << 30)?);
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;

    // Nothing is written to one of them before both may be written to.
    for words in [["install", "disk1", "disk1"], ["install", "disk1", "disk0"], ["install", "disk1", "disk9"]] {
        ensure!(!person.attempt(&words).await?.status.success(), "{words:?} was not refused");
    }
    ensure!(is_untouched(&one)? && is_untouched(&other)?, "a disk was written to");
    let volume = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"photos\"\n[spec]\n";
    person.piccolo(&["apply", "-f", &person.write("photos.toml", volume)?, "--wait"]).await?;
    let begun = guest.seconds();
    let key = person.piccolo(&["install", "disk1", "disk2"]).await?;
    ensure!(key.trim().len() > 40, "no recovery key was told");
    println!("installed on two disks in {} s", guest.seconds() - begun);
    guest.cut().await?;
    hardware.unplug()?;

    // Both are there.
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    println!("the two: firmware to a complete start {} s", guest.seconds());
    ensure!(guest.run(ON).await?.trim() == "disk1 disk2", "the state does not lie on both");
    ensure!(!person.piccolo(&["status"]).await?.contains("StateDegraded"), "one is said to be missing");
    guest.run("ls /boot/EFI/Linux/*.efi").await.context("the start of the disk is not at /boot")?;
    write(&mut guest, CANARIES[0]).await?;
    guest.cut().await?;

    // The second alone.
    hardware.pull(&one)?;
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    println!("the second alone: firmware to a complete start {} s", guest.seconds());
    alone(&mut guest, &person, "disk2").await?;
    reads(&mut guest, &CANARIES[..1]).await?;
    write(&mut guest, CANARIES[1]).await?;
    guest.cut().await?;

    // Both again, and the one that was missing is started: what the other one has meanwhile counts.
    hardware.plug(one.clone());
    hardware.prefer(&one);
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    reads(&mut guest, &CANARIES).await?;
    filled(&mut guest).await?;
    println!("the two again: filled {} s after the firmware", guest.seconds());
    ensure!(guest.run(ON).await?.trim() == "disk1 disk2", "the state does not lie on both");
    guest.run("sync").await?;
    guest.cut().await?;

    // The first alone has all of it by now.
    hardware.pull(&other)?;
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    alone(&mut guest, &person, "disk1").await?;
    reads(&mut guest, &CANARIES).await?;
    guest.cut().await
}

/// Makes sure that it starts well, that its state is the one that was installed, and that the TPM opened it.
async fn same_machine(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    complete(guest).await?;
    let stack = guest.run(STACK).await?;
    ensure!(stack.contains("crypt") && stack.contains("raid1") && stack.contains("linux_raid_member"), "{stack}");
    let volumes = person.piccolo(&["get", "volumes"]).await?;
    ensure!(volumes.contains("photos"), "{volumes}");
    Ok(())
}

/// Makes sure that the state lies on this disk alone, and that it is told.
async fn alone(guest: &mut Guest, person: &Person, disk: &str) -> anyhow::Result<()> {
    let on = guest.run(ON).await?;
    ensure!(on.trim() == disk, "the state lies on {on}");
    let told = async {
        while !person.piccolo(&["status"]).await?.contains("StateDegraded") {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(120), told).await.context("nobody is told that a half is missing")?
}

/// Waits until both hold the same.
async fn filled(guest: &mut Guest) -> anyhow::Result<()> {
    let full = async {
        while guest.run("cat /sys/class/block/md*/md/degraded").await?.trim() != "0" {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    match timeout(FILLING, full).await {
        Ok(full) => full,
        Err(_) => {
            let said = guest.run("cat /proc/mdstat; journalctl --no-pager --boot --unit piccolo-fill.service").await?;
            anyhow::bail!("it is not filled: {said}")
        }
    }
}

async fn write(guest: &mut Guest, canary: &str) -> anyhow::Result<()> {
    guest.run(&format!("echo '{canary}' >>/var/lib/diary && sync")).await?;
    Ok(())
}

async fn reads(guest: &mut Guest, canaries: &[&str]) -> anyhow::Result<()> {
    let diary = guest.run("cat /var/lib/diary").await?;
    ensure!(diary.lines().eq(canaries.iter().copied()), "what was written down is {diary}");
    Ok(())
}

/// Looks whether a disk is as it left its maker, at its beginning.
fn is_untouched(disk: &Path) -> anyhow::Result<bool> {
    use std::io::Read;
    let mut head = vec![0; 1 << 20];
    std::fs::File::open(disk)?.read_exact(&mut head)?;
    Ok(head.iter().all(|byte| *byte == 0))
}

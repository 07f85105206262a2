//! A machine on two disks: installed on both, it starts with either alone and says so, and what was missing is filled by itself,
//! also where the older one of the two is started, and where one is pulled while the machine runs. A new disk takes the place of one
//! that is lost, which then counts no more.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::Read,
    path::Path,
    time::Duration,
};

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
    let third = hardware.blank(4 << 30)?;
    hardware.pull(&third)?;
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
    pulled(&mut guest, &person).await?;
    guest.run("sync").await?;
    guest.cut().await?;

    // The first alone has all of it by now, and a new one takes the place of the second.
    hardware.pull(&other)?;
    hardware.plug(third.clone());
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    alone(&mut guest, &person, "disk1").await?;
    reads(&mut guest, &CANARIES).await?;
    replaced(&mut guest, &person, key.trim()).await?;
    guest.cut().await?;

    // The new one alone is the same machine. What it took the place of is there again, and is neither read nor written.
    hardware.pull(&one)?;
    hardware.plug(other.clone());
    hardware.prefer(&third);
    let before = digest(&other)?;
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    println!("the new one alone: firmware to a complete start {} s", guest.seconds());
    alone(&mut guest, &person, "disk3").await?;
    reads(&mut guest, &CANARIES).await?;
    told(&person, "as in one that was replaced").await?;
    let refused = person.attempt(&["reset", "--keep-data", "--name", "piccolo"]).await?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("takes no part in it"), "{why}");
    guest.run("sync").await?;
    guest.cut().await?;
    ensure!(digest(&other)? == before, "the disk that was replaced was written to");
    Ok(())
}

/// Pulls the second disk while the machine runs, which tells so, and plugs it in again.
async fn pulled(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    let disk = "$(basename $(readlink -f /dev/disk/by-id/virtio-disk2))";
    guest.run(&format!("echo 1 >$(readlink -f /sys/block/{disk}/device)/../remove")).await?;
    let gone = async {
        while guest.run(ON).await?.trim() != "disk1" {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    timeout(FILLING, gone).await.context("what was pulled still takes part")??;
    told(person, "StateDegraded").await?;
    guest.run("echo 'written meanwhile' >/var/lib/meanwhile && sync").await?;
    guest.run("echo 1 >/sys/bus/pci/rescan").await?;
    filled(guest).await?;
    ensure!(guest.run(ON).await?.trim() == "disk1 disk2", "what was pulled is not filled");
    Ok(())
}

/// Has the third disk take the place of the second.
async fn replaced(guest: &mut Guest, person: &Person, key: &str) -> anyhow::Result<()> {
    guest.run("grep -q meanwhile /var/lib/meanwhile").await?;
    let replace = ["disk", "replace", "--state"];
    for disk in ["disk1", "disk9"] {
        let refused = person.attempt(&[&replace[..], &[disk]].concat()).await?;
        ensure!(!refused.status.success(), "{disk} was not refused");
    }
    let begun = guest.seconds();
    person.piccolo(&[&replace[..], &["disk3"]].concat()).await?;
    println!("a new disk taken in within {} s", guest.seconds() - begun);
    filled(guest).await?;
    println!("and filled after {} s", guest.seconds() - begun);
    ensure!(guest.run(ON).await?.trim() == "disk1 disk3", "the state does not lie on the new disk");
    startable(guest, "disk3").await?;
    // Its state has another UUID by now, and the keys that it had.
    let proved = person.typed(&["disk", "recovery-key", "--state", "--check"], key).await?;
    ensure!(proved.status.success(), "{}", String::from_utf8_lossy(&proved.stderr));
    let again = person.attempt(&[&replace[..], &["disk3"]].concat()).await?;
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    ensure!(!again.status.success() && why.contains("none of its halves is missing"), "{why}");
    guest.run("sync").await?;
    Ok(())
}

/// Waits until a firmware finds the start of a disk, which it does once its half is full.
async fn startable(guest: &mut Guest, disk: &str) -> anyhow::Result<()> {
    let look = format!("sfdisk --part-type $(readlink -f /dev/disk/by-id/virtio-{disk}) 1");
    let found = async {
        while guest.run(&look).await?.trim() != "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    timeout(FILLING, found).await.context("no firmware finds the start of the new disk")?
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
    told(person, "StateDegraded").await
}

/// Waits until these words are in what the machine says of itself.
async fn told(person: &Person, words: &str) -> anyhow::Result<()> {
    let told = async {
        while !person.piccolo(&["status"]).await?.contains(words) {
            sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(120), told).await.with_context(|| format!("nobody is told: {words}"))?
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
    let mut head = vec![0; 1 << 20];
    File::open(disk)?.read_exact(&mut head)?;
    Ok(head.iter().all(|byte| *byte == 0))
}

/// Sums up all bytes of a disk.
fn digest(disk: &Path) -> anyhow::Result<u64> {
    let (mut disk, mut piece, mut sum) = (File::open(disk)?, vec![0; 1 << 20], DefaultHasher::new());
    loop {
        match disk.read(&mut piece)? {
            0 => return Ok(sum.finish()),
            length => sum.write(&piece[..length]),
        }
    }
}

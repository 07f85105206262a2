//! Two encrypted disks that hold the same, and swap that nobody can read later: made, opened at the next start by the TPM, used
//! without the half that is missing, and made whole by another disk in its place.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::{sleep, timeout};

use crate::{Person, claimed, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1800);
/// What is on both disks.
const CANARY: &str = "a picture that is there twice";
const ALBUM: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "album"

[spec]
select = { serial = "disk1" }
mirror = { select = { serial = "disk2" } }
filesystem = "btrfs"
mount = "/srv/album"
encryption = { tpm2 = { pcrs = [7] } }
"#;
const SCRATCH: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "scratch"

[spec]
select = { serial = "disk3" }
filesystem = "swap"
encryption = {}
"#;

/// Prints the UUIDs of the headers of the three disks.
const UUIDS: &str = "for it in 1 2 3; do blkid -s UUID -o value /dev/disk/by-id/virtio-disk$it; done";

#[tokio::test]
async fn an_encrypted_mirror_is_opened_at_the_next_start_and_used_alone() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("pairs")?).await?;
    hardware.stick(&image()?).await?;
    let halves = [hardware.blank(256 << 20)?, hardware.blank(256 << 20)?];
    hardware.blank(96 << 20)?;

    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    for (name, manifest) in [("album.toml", ALBUM), ("scratch.toml", SCRATCH)] {
        person.piccolo(&["apply", "-f", &person.write(name, manifest)?, "--wait", "--timeout", "600"]).await?;
    }
    guest.run(&format!("echo '{CANARY}' >/srv/album/picture && sync")).await?;
    let shown = guest.run("btrfs filesystem show /srv/album").await?;
    ensure!(shown.matches("/dev/mapper/").count() == 2, "it does not lie inside of two encrypted disks: {shown}");
    ensure!(guest.run("swapon --show --noheadings").await?.contains("/dev/dm-"), "swap is not encrypted");
    let uuids = guest.run(UUIDS).await?;
    guest.cut().await?;

    // The next start has nothing of it but the manifests, and the TPM.
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    for (name, manifest) in [("album.toml", ALBUM), ("scratch.toml", SCRATCH)] {
        person.piccolo(&["apply", "-f", &person.write(name, manifest)?, "--wait", "--timeout", "600"]).await?;
    }
    ensure!(guest.run("cat /srv/album/picture").await?.contains(CANARY), "what was on both is not there");
    ensure!(guest.run("swapon --show --noheadings").await?.contains("/dev/dm-"), "swap is not encrypted");
    ensure!(guest.run(UUIDS).await? == uuids, "a disk was made anew");
    println!("{} s after the firmware the album is open", guest.seconds());
    guest.cut().await?;

    // One of them is lost, and another disk is there, which somebody used before.
    hardware.blank(256 << 20)?;
    hardware.pull(&halves[1])?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    let uuid = uuids.split_whitespace().next().context("the first disk has no header")?;
    let alone = ALBUM.replace("\"disk2\" }", "\"disk2\" }, degraded = true");
    let alone = alone.replace("filesystem", &format!("adopt = \"{uuid}\"\nfilesystem"));
    person.piccolo(&["apply", "-f", &person.write("album.toml", &alone)?]).await?;
    person.until("disk", "album", "DiskDegraded").await?;
    ensure!(guest.run("cat /srv/album/picture").await?.contains(CANARY), "the half that is there is not used");
    filled(&mut guest, &person).await?;
    guest.cut().await
}

/// Puts another disk in the place of the lost one, and makes sure that it is filled, encrypted, once there is leave for it.
async fn filled(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    guest.run("mkfs.ext4 -q -L photos /dev/disk/by-id/virtio-disk4 && sync").await?;
    let sum = "sha256sum </dev/disk/by-id/virtio-disk4";
    let before = guest.run(sum).await?;
    let asked = ALBUM.replace("\"disk2\" }", "\"disk4\" }, degraded = true");
    person.piccolo(&["apply", "-f", &person.write("album.toml", &asked)?]).await?;
    let ticket = person.piccolo(&["disk", "wipe-ticket", "disk4", "--serial", "disk4"]).await?;
    ensure!(guest.run(sum).await? == before, "a disk that holds something was written to without leave");
    let given = asked.replace("degraded = true", &format!("degraded = true, wipe = \"{}\"", ticket.trim()));
    person.piccolo(&["apply", "-f", &person.write("album.toml", &given)?, "--wait", "--timeout", "900"]).await?;
    while person.stands("disk", "album").await?.contains("DiskDegraded") {
        sleep(Duration::from_millis(500)).await;
    }
    let lies = guest.run("btrfs filesystem df /srv/album | grep -v GlobalReserve").await?;
    ensure!(lies.contains("Data, RAID1") && !lies.contains("single"), "something lies on one half alone: {lies}");
    let shown = guest.run("btrfs filesystem show /srv/album").await?;
    ensure!(shown.matches("/dev/mapper/").count() == 2 && !shown.contains("missing"), "{shown}");
    let stack = guest.run("lsblk --noheadings --output TYPE,FSTYPE /dev/disk/by-id/virtio-disk4").await?;
    ensure!(stack.contains("crypto_LUKS") && stack.lines().any(|it| it.trim().starts_with("crypt")), "{stack}");
    ensure!(
        guest.run("cat /srv/album/picture").await?.contains(CANARY),
        "what was on the half that is left is not there"
    );
    Ok(())
}

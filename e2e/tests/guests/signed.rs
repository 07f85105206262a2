//! A disk for data that opens after those starts alone which the maker of the system signed: a start with one byte that differs does
//! not open it, and the same one without that does. Beside it a mirror is used without its half that is missing.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::timeout;

use crate::{claimed, cuts::PAPERS, image, place, secure};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1800);
/// What is on the disk after each start that opens it.
const CANARY: &str = "letters that only we sign for";
const ALBUM: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "album"

[spec]
select = { serial = "disk2" }
mirror = { select = { serial = "disk3" } }
filesystem = "btrfs"
mount = "/srv/album"
"#;
/// Where in the start the system says what it is called: what is measured, and changes nothing else.
const NAME: &[u8] = b"PRETTY_NAME=\"";

#[tokio::test]
async fn a_disk_of_signed_starts_opens_after_no_other() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("signed")?).await?;
    hardware.stick(&image()?).await?;
    hardware.blank(96 << 20)?;
    let halves = [hardware.blank(256 << 20)?, hardware.blank(256 << 20)?];
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("papers.toml", PAPERS)?, "--wait", "--timeout", "600"]).await?;
    guest.run(&format!("echo '{CANARY}' >/srv/papers/letter && sync")).await?;

    // Two disks hold the same.
    person.piccolo(&["apply", "-f", &person.write("album.toml", ALBUM)?, "--wait", "--timeout", "600"]).await?;
    guest.run(&format!("echo '{CANARY}' >/srv/album/picture && sync")).await?;
    let uuid = guest.run("blkid -s UUID -o value /dev/disk/by-id/virtio-disk2").await?;
    let signed = register(&mut guest).await?;
    guest.cut().await?;

    // One byte of the start is another one: the chip opens nothing for it. A half of the two disks is lost.
    let start = secure::start(&image()?)?;
    let file = fs::read(image()?.with_extension("efi"))?;
    let name = file.windows(NAME.len()).position(|it| it == NAME).context("the start has no name")?;
    let name = start.at + (name + NAME.len()) as u64;
    hardware.flip(name).await?;
    hardware.pull(&halves[1])?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    ensure!(register(&mut guest).await? != signed, "the change was not measured");
    person.piccolo(&["apply", "-f", &person.write("papers.toml", PAPERS)?]).await?;
    person.until("disk", "papers", "DiskLocked").await?;
    println!("after a changed start: {}", locked(&person.stands("disk", "papers").await?));
    ensure!(guest.run("findmnt /srv/papers").await.is_err(), "a start that nobody signed opened it");
    let alone = ALBUM.replace("\"disk3\" }", "\"disk3\" }, degraded = true");
    let alone = alone.replace("filesystem", &format!("adopt = \"{}\"\nfilesystem", uuid.trim()));
    person.piccolo(&["apply", "-f", &person.write("album.toml", &alone)?]).await?;
    person.until("disk", "album", "DiskDegraded").await?;
    ensure!(guest.run("cat /srv/album/picture").await?.contains(CANARY), "the half that is there is not used");
    guest.cut().await?;

    // As it was signed, it opens it again.
    hardware.flip(name).await?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    ensure!(register(&mut guest).await? == signed, "the same start measured something else");
    person.piccolo(&["apply", "-f", &person.write("papers.toml", PAPERS)?, "--wait", "--timeout", "600"]).await?;
    ensure!(guest.run("cat /srv/papers/letter").await?.contains(CANARY));
    guest.cut().await?;
    Ok(())
}

/// Returns what register 11 holds, which counts the start.
async fn register(guest: &mut Guest) -> anyhow::Result<String> {
    guest.run("cat /sys/class/tpm/tpm0/pcr-sha256/11").await
}

/// Returns why a disk is locked.
fn locked(stands: &str) -> &str {
    stands.lines().find(|it| it.contains("\"message\"") && it.contains("TPM")).unwrap_or("nothing").trim()
}

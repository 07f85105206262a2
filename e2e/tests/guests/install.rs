//! From the stick to a disk, which then boots alone: its TPM opens it, and where that is another one the recovery key does.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::timeout;

use crate::{Person, complete, image, place, way_in};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1500);
/// Writes the seed that names a disk, and has the installer go.
const INSTALL: &str = "mkdir -p /boot/piccolo && echo 'serial = \"DISK\"' >/boot/piccolo/install.toml && systemctl restart piccolo-install";

#[tokio::test]
async fn a_stick_installs_itself_on_a_blank_disk_that_boots_alone() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial lines are kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("install")?).await?;
    hardware.stick(&image()?).await?;
    hardware.blank("4G").await?;
    hardware.blank("64M").await?;
    let mut guest = hardware.boot().await?;
    let (fingerprint, code) = way_in(&mut guest).await?;
    let (person, host) = (Person::new()?, guest.host());
    person.piccolo(&["claim", &host, "--fingerprint", &fingerprint, "--code", &code]).await?;
    let volume = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"photos\"\n[spec]\n";
    person.piccolo(&["apply", "-f", &person.write("photos.toml", volume)?, "--wait"]).await?;

    // What holds something is not written to, nor is the stick itself.
    guest.run("mkfs.ext4 -q /dev/disk/by-id/virtio-disk2 && sync").await?;
    let sum = "sha256sum </dev/disk/by-id/virtio-disk2";
    let before = guest.run(sum).await?;
    let refused = guest.run(&INSTALL.replace("DISK", "disk2")).await;
    ensure!(refused.is_err() && guest.run(sum).await? == before, "a disk with a file system was written to");
    guest.until_said(|it| it.contains("disk2 is not blank: there is ext4").then_some(())).await?;
    ensure!(guest.run(&INSTALL.replace("DISK", "disk0")).await.is_err(), "the stick would be overwritten");

    let begun = guest.seconds();
    guest.run(&INSTALL.replace("DISK", "disk1")).await?;
    println!("installed in {} s", guest.seconds() - begun);
    let recovery = guest.until_said(recovery_key).await?;
    guest.cut().await?;

    // Alone, it opens its state by the TPM, and is the machine that was claimed.
    hardware.unplug();
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    println!("the disk alone: firmware to a complete start {} s", guest.seconds());
    guest.run("systemctl --no-block poweroff").await?;
    guest.until_off().await?;

    // In another machine the disk stays closed, until somebody has the key.
    hardware.new_tpm().await?;
    let mut guest = hardware.boot().await?;
    guest.until_said(|it| it.contains("recovery key for disk").then_some(())).await?;
    guest.type_line(&recovery).await?;
    same_machine(&mut guest, &person).await?;
    guest.cut().await
}

/// Finds the key that the installer showed.
fn recovery_key(said: &str) -> Option<String> {
    // The last line may not have ended yet.
    let key = said.rsplit_once('\n')?.0.lines().find_map(|line| line.trim().strip_prefix("recovery key "))?;
    Some(key.trim().to_owned())
}

/// Makes sure that the state lies encrypted on the disk, and that what was there before the installation still is.
async fn same_machine(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    complete(guest).await?;
    let root = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /)").await?;
    ensure!(root.contains("crypt") && root.contains("crypto_LUKS"), "{root}");
    let volumes = person.piccolo(&["get", "volumes"]).await?;
    ensure!(volumes.contains("photos"), "{volumes}");
    Ok(())
}

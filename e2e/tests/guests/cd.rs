//! The image as a CD: it has no partitions for the kernel, and no loader that tells where it came from.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::guest::Hardware;
use tokio::time::timeout;

use crate::{complete, image, place, way_in};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1200);

#[tokio::test]
async fn the_same_image_starts_as_a_cd() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("cd")?).await?;
    hardware.cd(&image()?.with_extension("iso"))?;
    hardware.blank(4 << 30)?;
    let mut guest = hardware.boot().await?;
    way_in(&mut guest).await?;
    complete(&mut guest).await?;
    println!("from a CD: firmware to a complete start {} s", guest.seconds());
    // What the installer copies to a disk is there.
    let start = guest.run("findmnt --noheadings --output OPTIONS /boot; ls /boot/EFI/BOOT /boot/EFI/Linux").await?;
    ensure!(start.starts_with("ro") && start.contains("BOOTX64.EFI") && start.contains("piccolo_"), "{start}");
    let usr = guest.run("veritysetup status usr").await?;
    ensure!(usr.contains("/dev/loop") && usr.contains("verified"), "{usr}");
    let failed = guest.run("systemctl --failed --no-legend --plain").await?;
    ensure!(failed.trim().is_empty(), "{failed}");
    guest.cut().await
}

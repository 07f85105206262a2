//! Secure Boot: a firmware in its setup mode takes the keys of the image, and from then on starts nothing else. What the stick puts on a
//! disk by itself is among what it starts.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::timeout;

use crate::{
    image,
    install::{Found, found},
    place,
};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1800);
/// How often a key is pressed that has to be down at one moment.
const PRESS: Duration = Duration::from_millis(200);
/// The keys by which another line of the menu is chosen. Beyond its ends nothing happens.
const UPPER: &str = "k";
const LOWER: &str = "j";
/// Prints whether the firmware enforces signatures, and whether it still takes keys from anybody.
const STATE: &str = "for it in SecureBoot SetupMode; do od -An -tu1 -j4 /sys/firmware/efi/efivars/$it-8be4df61-93ca-11d2-aa0d-00e098032b8c; done";
/// Puts a seed on the stick, as its owner would at another computer. The start is not over by then.
const SEED: &str = "until test -d /boot/EFI; do sleep 1; done; mkdir -p /boot/piccolo && echo 'serial = \"disk1\"' >/boot/piccolo/install.toml && sync; systemctl show --property ConditionTimestampMonotonic --value piccolo-install";
/// Where a program for the firmware says where its header lies.
const HEADER: usize = 0x3c;
/// Where from that header on it says where its signature lies, and how long it is.
const SIGNATURE: usize = 168;

#[tokio::test]
async fn a_machine_with_our_keys_starts_our_image_and_nothing_that_is_unsigned_or_changed() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let start = start(&image()?)?;
    let mut hardware = Hardware::build(&place("secure")?).await?;
    hardware.stick(&image()?).await?;
    let disk = hardware.blank(4 << 30)?;

    // From its menu the loader gives the firmware the keys, and starts anew.
    let mut guest = hardware.boot().await?;
    menu(&mut guest).await?;
    guest.type_line(&LOWER.repeat(20)).await?;
    guest.until_said(|it| it.contains("successfully enrolled").then_some(())).await?;
    let looked = guest.run(SEED).await?;
    ensure!(looked.trim() == "0", "it was looked for a seed before there was one");
    enforced(&mut guest).await?;
    println!("with keys of one's own, signatures enforced: firmware to a shell {} s", guest.seconds());

    // Nobody asks for it: the seed is heeded once the start is complete. The disk starts alone, and its TPM opens it.
    let key = guest.until_said(|it| line(it, "recovery key ")).await?;
    guest.until_said(|it| it.contains("holds the system").then_some(())).await?;
    println!("it installed itself by a seed {} s after the firmware", guest.seconds());
    ensure!(found(&disk)? == Found::Whole, "{:?}", found(&disk)?);
    let key = key.trim_start_matches("recovery key ");
    ensure!(!guest.run("journalctl --no-pager").await?.contains(key), "the recovery key is in the journal");
    guest.cut().await?;
    let stick = hardware.unplug()?;
    let mut guest = hardware.boot().await?;
    let root = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE,SERIAL $(findmnt -no SOURCE /)").await?;
    ensure!(root.contains("crypto_LUKS") && root.contains("disk1"), "{root}");
    enforced(&mut guest).await?;
    guest.cut().await?;
    hardware.pull(&disk)?;
    hardware.plug(stick);

    // One byte in what is signed is another one.
    hardware.flip(start.at + start.length / 2).await?;
    refused(&hardware, "one byte that differs").await?;

    // Whole again, but nobody has signed it.
    hardware.flip(start.at + start.length / 2).await?;
    hardware.erase(start.at + start.signature, 8).await?;
    refused(&hardware, "a start that nobody signed").await
}

/// Has the loader show its menu, which it does for a key that is pressed while it starts.
async fn menu(guest: &mut Guest) -> anyhow::Result<()> {
    let shown = |text: &str| text.contains("Enroll Secure Boot keys").then_some(());
    loop {
        match timeout(PRESS, guest.until_said(shown)).await {
            Ok(shown) => return shown,
            Err(_) => guest.press(UPPER).await?,
        }
    }
}

/// Makes sure that the firmware starts nothing but what is signed, and takes keys from nobody.
async fn enforced(guest: &mut Guest) -> anyhow::Result<()> {
    let state = guest.run(STATE).await?;
    ensure!(state.split_whitespace().eq(["1", "0"]), "signatures are not enforced: {state}");
    Ok(())
}

/// Makes sure that the firmware does not start what is on the stick.
async fn refused(hardware: &Hardware, what: &str) -> anyhow::Result<()> {
    let mut guest = hardware.boot().await?;
    let why = guest.until_said(|it| line(it, "Error loading")).await?;
    println!("{what} is refused after {} s: {why}", guest.seconds());
    ensure!(why.contains("denied") || why.contains("iolation"), "{why}");
    guest.cut().await
}

/// Returns the line in which something is said, once it has ended.
fn line(text: &str, what: &str) -> Option<String> {
    let (line, _) = text[text.find(what)?..].split_once('\n')?;
    Some(line.trim().to_owned())
}

/// What the firmware starts, on an image.
pub(super) struct Start {
    /// Where it begins, in bytes.
    pub(super) at: u64,
    length: u64,
    /// Where in it there is the place of its signature.
    signature: u64,
}

/// Finds the one file with kernel, initrd and command line, which lies beside the image as well.
pub(super) fn start(image: &Path) -> anyhow::Result<Start> {
    let file = fs::read(image.with_extension("efi")).context("there is no start beside the image")?;
    let whole = fs::read(image)?;
    let at = whole.chunks_exact(512).position(|it| file.starts_with(it));
    let at = at.context("the image has no such start")? * 512;
    ensure!(whole.get(at..at + file.len()) == Some(&file), "the start does not lie in one piece");
    let header = file.get(HEADER..HEADER + 4).context("it is too short")?;
    let header = u32::from_le_bytes(header.try_into()?) as usize;
    ensure!(file.get(header..header + 4) == Some(b"PE\0\0"), "it is no program of a firmware");
    Ok(Start { at: at as u64, length: file.len() as u64, signature: (header + SIGNATURE) as u64 })
}

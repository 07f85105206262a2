//! A disk for data is encrypted under the chip, and is made whole whenever the power fails meanwhile. Beside it a disk of somebody's
//! stays as it was.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use piccolo_agent::host::HALF_MADE;
use piccolo_e2e::guest::{Guest, Hardware};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{Person, claimed, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1500);
/// A disk that the chip opens after those starts that the maker of the system signed.
pub(super) const PAPERS: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "papers"

[spec]
select = { serial = "disk1" }
filesystem = "ext4"
mount = "/srv/papers"
encryption = { tpm2 = { pcrs = [7], signedPcr11 = true } }
"#;
/// What is remembered of disks, also when the power fails.
const BOOK: &str = "/var/lib/piccolo/disks/book.json";
/// What is in it while a disk is being made.
const RECORD: &str = "\"nonce\"";
/// How many moments are kept at most, and at least, at which the power might have failed.
const MOMENTS: (usize, usize) = (10, 5);
/// How long the rest between two of them is at most, in milliseconds.
const REST: u64 = 900;

#[tokio::test]
async fn an_encrypted_disk_is_made_whole_whenever_the_power_fails() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("cuts")?).await?;
    hardware.stick(&image()?).await?;
    let (disk, foreign) = (hardware.blank(96 << 20)?, hardware.blank(64 << 20)?);
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    guest.run("mkfs.ext4 -q -L photos /dev/disk/by-id/virtio-disk2 && sync").await?;
    let before = sum(&foreign)?;
    let papers = person.write("papers.toml", PAPERS)?;
    let cuts = TempDir::with_prefix("piccolo-cuts-")?;
    let cuts = made(&mut guest, &person, (&papers, &disk), cuts.path()).await?;
    ensure!(cuts.len() >= MOMENTS.1, "the power could have failed at {} moments alone", cuts.len());
    for cut in &cuts {
        resumed(&mut guest, &person, (&papers, &disk), cut).await?;
    }
    println!("each of {} cuts was gone on with to a disk that is mounted", cuts.len());
    guest.cut().await?;
    ensure!(sum(&foreign)? == before, "a disk of somebody's was written to");
    Ok(())
}

/// What a loss of power would leave: what is remembered, and the platters.
struct Cut {
    book: String,
    platters: PathBuf,
}

/// Has the disk made and given a recovery key, keeping all the while what a loss of power would leave.
async fn made(
    guest: &mut Guest,
    person: &Person,
    (manifest, disk): (&str, &Path),
    place: &Path,
) -> anyhow::Result<Vec<Cut>> {
    let work = async {
        person.piccolo(&["apply", "-f", manifest, "--wait", "--timeout", "600"]).await?;
        person.piccolo(&["disk", "recovery-key", "papers"]).await
    };
    tokio::pin!(work);
    let remembered = format!("cat {BOOK} 2>/dev/null || true");
    let (mut cuts, mut seen) = (Vec::new(), BTreeMap::new());
    loop {
        tokio::select! {
            key = &mut work => {
                key?;
                break;
            }
            () = sleep(Duration::from_millis(fastrand::u64(0..REST))) => {}
        }
        // The record stands before the first byte is written, and goes after the last: one of these two has it, if it was there.
        let before = guest.run(&remembered).await?;
        let platters = place.join(format!("cut{}", cuts.len()));
        guest.held(|| fs::copy(disk, &platters).context("no room")).await?;
        let after = guest.run(&remembered).await?;
        let book = if after.contains(RECORD) { after } else { before };
        let stage = stage(&platters)?;
        *seen.entry(stage).or_insert(0_u32) += 1;
        // Not all of them are one and the same moment.
        if cuts.len() < MOMENTS.0 && seen[stage] <= 3 {
            cuts.push(Cut { book, platters });
        }
    }
    println!("what a cut would leave of the disk: {seen:?}; {} of them are tried", cuts.len());
    Ok(cuts)
}

/// Puts what a loss of power left in its place, and makes sure that the disk is made to its end from there.
async fn resumed(guest: &mut Guest, person: &Person, (manifest, disk): (&str, &Path), cut: &Cut) -> anyhow::Result<()> {
    person.piccolo(&["delete", "disk", "papers"]).await?;
    guest.run("for i in $(seq 60); do test -e /dev/mapper/pic-* || exit 0; sleep 1; done; exit 1").await?;
    guest.run("systemctl stop piccolod && sync").await?;
    guest
        .held(|| {
            // The machine has the file open: it is written over, not made anew.
            let (mut from, mut to) = (File::open(&cut.platters)?, File::options().write(true).open(disk)?);
            std::io::copy(&mut from, &mut to).context("the platters can't be written")
        })
        .await?;
    let book = match cut.book.trim() {
        "" => format!("rm -f {BOOK}"),
        book => format!("cat >{BOOK} <<'END'\n{book}\nEND"),
    };
    guest.run(&format!("{book}\nblockdev --flushbufs /dev/disk/by-id/virtio-disk1 && udevadm trigger --settle --name-match=virtio-disk1; systemctl start piccolod")).await?;
    person.piccolo(&["apply", "-f", manifest]).await?;
    let stands = person.until_any("disk", "papers", &["\"Mounted\"", "\"HalfMade\""]).await?;
    ensure!(stands == "\"Mounted\"", "a disk that was {} is not gone on with", stage(&cut.platters)?);
    let stack =
        guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /srv/papers)").await?;
    ensure!(stack.contains("crypt") && stack.contains("crypto_LUKS"), "{stack}");
    Ok(())
}

/// Says by the bytes of the disk alone how far its making came.
fn stage(disk: &Path) -> anyhow::Result<&'static str> {
    let head = fs::read(disk)?;
    let has = |what: &str| head[..(1 << 15)].windows(what.len()).any(|it| it == what.as_bytes());
    let is_encrypted = head.starts_with(b"LUKS\xba\xbe");
    Ok(match () {
        () if head.iter().all(|byte| *byte == 0) => "blank",
        () if head.starts_with(b"piccolo-making:") => "marked",
        () if is_encrypted && has(HALF_MADE) && !has("systemd-tpm2") => "without a slot of the chip",
        () if is_encrypted && has(HALF_MADE) => "half made",
        () if is_encrypted => "whole",
        () => "something else",
    })
}

fn sum(disk: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(Sha256::digest(fs::read(disk)?).to_vec())
}

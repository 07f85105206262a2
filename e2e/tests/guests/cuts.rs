//! Disks for data are encrypted under the chip, one as a whole and one in its partitions, and are made whole whenever the power fails
//! meanwhile. Beside each a disk of somebody's stays as it was.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use piccolo_agent::host::{
    HALF_MADE,
    parted::{HALF_TABLE, table_id},
};
use piccolo_e2e::guest::{Guest, Hardware};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{Person, claimed, image, place};

/// How long a story may take where the processor is emulated and other things run beside it.
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
/// One of which a ticket gives away what is on it, for partitions of each kind.
const CABINET: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "cabinet"

[spec]
select = { serial = "disk1" }
filesystem = "ext4"
wipe = "TICKET"
encryption = { tpm2 = { pcrs = [7] } }

[[spec.partitions]]
name = "films"
size = "16Mi"
plain = true
mount = "/srv/cabinet/films"

[[spec.partitions]]
name = "room"
size = "18Mi"
filesystem = "swap"

[[spec.partitions]]
name = "letters"
size = "32Mi"
mount = "/srv/cabinet/letters"

[[spec.partitions]]
name = "rest"
mount = "/srv/cabinet/rest"
"#;
/// A ticket that nobody was given.
const OTHER_TICKET: &str = "wipe-000000000000000000000000";
/// Says that something of the disk is still open or mounted.
const USED: &str =
    "{ ls /dev/mapper/pic-* || findmnt --raw --noheadings --output TARGET | grep '^/srv/'; } >/dev/null 2>&1";
/// Has the kernel read the table of the disk anew; who looks at a partition just now is waited for.
const REREAD: &str = "{ udevadm settle; for i in $(seq 30); do blockdev --rereadpt /dev/disk/by-id/virtio-disk1 && break; test $i -lt 30 && sleep 1; done; }";
/// What is remembered of disks, also when the power fails.
const BOOK: &str = "/var/lib/piccolo/disks/book.json";
/// What is in it while a disk is being made.
const RECORD: &str = "\"nonce\"";
/// How many moments are kept at most at which the power might have failed.
const MOST: usize = 20;
/// How many of them are tried at least, and at most; more than the least only until the machine has run for so many seconds.
const MOMENTS: (usize, usize) = (4, 8);
const ENOUGH: u64 = 600;
/// How long the rest between two glances is at most, in milliseconds.
const REST: u64 = 300;

/// A disk that is made, and what is known of it.
struct Making {
    /// Its manifest, and the file in which that is.
    name: &'static str,
    manifest: String,
    /// The platters.
    disk: PathBuf,
    /// Where what is encrypted in it is mounted.
    places: &'static [&'static str],
    /// How many moments of one stage are kept.
    of_a_stage: u32,
    /// Says by the bytes of the disk alone how far its making came.
    stage: fn(&[u8]) -> String,
}

#[tokio::test]
async fn an_encrypted_disk_is_made_whole_whenever_the_power_fails() -> anyhow::Result<()> {
    let told = tell("cuts", 96 << 20, async |_, person, disk| {
        let manifest = person.write("papers.toml", PAPERS)?;
        Ok(Making { name: "papers", manifest, disk, places: &["/srv/papers"], of_a_stage: 3, stage: whole })
    });
    timeout(LONG, told).await.context("the story did not end in time; its serial line is kept")?
}

#[tokio::test]
async fn encrypted_partitions_are_made_whole_whenever_the_power_fails() -> anyhow::Result<()> {
    let told = tell("cuts-of-parts", 104 << 20, async |guest, person, disk| {
        guest.run("mkfs.ext4 -q -L old /dev/disk/by-id/virtio-disk1 && sync").await?;
        let ticket = person.piccolo(&["disk", "wipe-ticket", "disk1", "--serial", "disk1"]).await?;
        let manifest = person.write("cabinet.toml", &CABINET.replace("TICKET", ticket.trim()))?;
        let places = &["/srv/cabinet/letters", "/srv/cabinet/rest"];
        Ok(Making { name: "cabinet", manifest, disk, places, of_a_stage: 1, stage: parted })
    });
    timeout(LONG, told).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell(
    name: &str,
    size: u64,
    declare: impl AsyncFnOnce(&mut Guest, &Person, PathBuf) -> anyhow::Result<Making>,
) -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place(name)?).await?;
    hardware.stick(&image()?).await?;
    let (disk, foreign) = (hardware.blank(size)?, hardware.blank(64 << 20)?);
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    guest.run("mkfs.ext4 -q -L photos /dev/disk/by-id/virtio-disk2 && sync").await?;
    let before = sum(&foreign)?;
    let making = declare(&mut guest, &person, disk).await?;
    let cuts = TempDir::with_prefix("piccolo-cuts-")?;
    let mut cuts = made(&mut guest, &person, &making, cuts.path()).await?;
    ensure!(cuts.len() >= MOMENTS.0, "the power could have failed at {} moments alone", cuts.len());
    // Where the time is short, each run tries others.
    fastrand::shuffle(&mut cuts);
    let mut tried = 0;
    for cut in &cuts {
        let begun = guest.seconds();
        if tried >= MOMENTS.0 && begun > ENOUGH {
            break;
        }
        resumed(&mut guest, &person, &making, cut).await.with_context(|| cut.stage.clone())?;
        println!("{}: gone on with in {} s", cut.stage, guest.seconds() - begun);
        tried += 1;
    }
    println!("each of {tried} cuts was gone on with to a disk that is mounted");
    guest.cut().await?;
    ensure!(sum(&foreign)? == before, "a disk of somebody's was written to");
    Ok(())
}

/// What a loss of power would leave: what is remembered, and the platters.
struct Cut {
    stage: String,
    book: String,
    platters: PathBuf,
}

/// Has the disk made and given a recovery key, keeping all the while what a loss of power would leave.
async fn made(guest: &mut Guest, person: &Person, making: &Making, place: &Path) -> anyhow::Result<Vec<Cut>> {
    let work = async {
        person.piccolo(&["apply", "-f", &making.manifest, "--wait", "--timeout", "600"]).await?;
        let made = person.attempt(&["disk", "recovery-key", making.name]).await?;
        let said = String::from_utf8_lossy(&made.stderr);
        // Stopped again and again it may take longer than somebody waits for an answer; it comes to its end all the same.
        ensure!(made.status.success() || said.contains("no answer within"), "{said}");
        anyhow::Ok(())
    };
    tokio::pin!(work);
    let remembered = format!("cat {BOOK} 2>/dev/null || true");
    let (mut cuts, mut seen) = (Vec::new(), BTreeMap::new());
    loop {
        tokio::select! {
            done = &mut work => {
                done?;
                break;
            }
            () = sleep(Duration::from_millis(fastrand::u64(0..REST))) => {}
        }
        // A glance says whether it is worth while to stop the machine. Not all moments are one and the same.
        let is_enough = |stage: &String| seen.get(stage).is_some_and(|many| *many >= making.of_a_stage);
        if cuts.len() >= MOST || is_enough(&(making.stage)(&fs::read(&making.disk)?)) {
            continue;
        }
        // The record stands before the first byte is written, and goes after the last: one of these two has it, if it was there.
        let before = guest.run(&remembered).await?;
        let platters = place.join(format!("cut{}", cuts.len()));
        guest.held(|| fs::copy(&making.disk, &platters).context("no room")).await?;
        let after = guest.run(&remembered).await?;
        let book = if after.contains(RECORD) { after } else { before };
        let stage = (making.stage)(&fs::read(&platters)?);
        *seen.entry(stage.clone()).or_insert(0_u32) += 1;
        cuts.push(Cut { stage, book, platters });
    }
    println!("what a cut would leave of the disk: {seen:?}");
    Ok(spread(cuts, MOMENTS.1))
}

/// Returns so many of these, from the first to the last one.
fn spread(cuts: Vec<Cut>, most: usize) -> Vec<Cut> {
    let (many, most) = (cuts.len(), most.min(cuts.len()));
    let kept: Vec<usize> = (0..most).map(|it| it * (many - 1) / (most - 1).max(1)).collect();
    cuts.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, cut)| cut).collect()
}

/// Puts what a loss of power left in its place, and makes sure that the disk is made to its end from there, by its own manifest alone.
async fn resumed(guest: &mut Guest, person: &Person, making: &Making, cut: &Cut) -> anyhow::Result<()> {
    person.piccolo(&["delete", "disk", making.name]).await?;
    guest.run(&format!("for i in $(seq 60); do {USED} || exit 0; sleep 1; done; exit 1")).await?;
    guest.run("systemctl stop piccolod && sync").await?;
    guest
        .held(|| {
            // The machine has the file open: it is written over, not made anew.
            let (mut from, mut to) = (File::open(&cut.platters)?, File::options().write(true).open(&making.disk)?);
            std::io::copy(&mut from, &mut to).context("the platters can't be written")
        })
        .await?;
    let book = match cut.book.trim() {
        "" => format!("rm -f {BOOK}"),
        book => format!("cat >{BOOK} <<'END'\n{book}\nEND"),
    };
    guest.run(&format!("{book}\nblockdev --flushbufs /dev/disk/by-id/virtio-disk1 && {REREAD} && udevadm trigger --settle --name-match=/dev/disk/by-id/virtio-disk1 && systemctl start piccolod")).await?;
    refused(guest, person, making, cut).await?;
    person.piccolo(&["apply", "-f", &making.manifest]).await?;
    if cut.stage == UNTOUCHED && cut.book.contains(RECORD) {
        // The ticket was used up right before the first byte was written: it takes another one.
        ensure!(sum(&making.disk)? == sum(&cut.platters)?, "bytes changed by a ticket that was used up");
        return Ok(());
    }
    let until = ["\"Mounted\"", "\"HalfMade\"", "\"DiskNotBlank\""];
    let until = if has_ticket(making)? { &until[..1] } else { &until[..] };
    let stands = person.until_any("disk", making.name, until).await?;
    ensure!(stands == "\"Mounted\"", "it is not gone on with: {stands}");
    for at in making.places {
        let below = format!("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE {at})");
        let stack = guest.run(&below).await?;
        ensure!(stack.contains("crypt") && stack.contains("crypto_LUKS"), "{stack}");
    }
    Ok(())
}

/// Makes sure that by another ticket nothing is written to a disk that is half made, or not begun.
async fn refused(guest: &mut Guest, person: &Person, making: &Making, cut: &Cut) -> anyhow::Result<()> {
    if !has_ticket(making)? || cut.stage.starts_with("whole") {
        return Ok(());
    }
    let own = fs::read_to_string(&making.manifest)?;
    let other = own.lines().map(|it| match it.starts_with("wipe = ") {
        true => format!("wipe = \"{OTHER_TICKET}\"\n"),
        false => format!("{it}\n"),
    });
    let other = person.write("other.toml", &other.collect::<String>())?;
    person.piccolo(&["apply", "-f", &other]).await?;
    let stands = person.until_any("disk", making.name, &["\"Mounted\"", "\"HalfMade\"", "\"DiskNotBlank\""]).await?;
    ensure!(stands != "\"Mounted\"", "another ticket lets it be gone on with");
    guest.run("sync").await?;
    ensure!(sum(&making.disk)? == sum(&cut.platters)?, "bytes changed by another ticket");
    Ok(())
}

fn has_ticket(making: &Making) -> anyhow::Result<bool> {
    Ok(fs::read_to_string(&making.manifest)?.contains("\nwipe = "))
}

/// Says how far the making of a disk as a whole came.
fn whole(disk: &[u8]) -> String {
    let is_encrypted = disk.starts_with(LUKS);
    let stage = match () {
        () if disk[..HEADER].iter().all(|byte| *byte == 0) => "blank",
        () if disk.starts_with(b"piccolo-making:") => "marked",
        () if is_encrypted && has(disk, HALF_MADE) && !has(disk, "systemd-tpm2") => "without a slot of the chip",
        () if is_encrypted && has(disk, HALF_MADE) => "half made",
        () if is_encrypted => "whole",
        () => "something else",
    };
    stage.to_owned()
}

/// Says how far the making of a disk with partitions came, by the GUID of its table and by the headers in it.
fn parted(disk: &[u8]) -> String {
    let headers: Vec<&[u8]> = disk.chunks(1 << 20).filter(|it| it.starts_with(LUKS)).collect();
    let many = |what: &str| headers.iter().filter(|it| has(it, what)).count();
    let (slots, half) = (many("systemd-tpm2"), many(HALF_MADE));
    match disk.get(GUID..GUID + 16) {
        Some(id) if id == guid(HALF_TABLE) => {
            format!("{} headers, {half} half made, {slots} with a slot", headers.len())
        }
        Some(id) if id == guid(&table_id("cabinet")) => {
            format!("whole, {} with a recovery key", many("systemd-recovery"))
        }
        _ if disk.starts_with(b"piccolo-making:") => "marked".to_owned(),
        _ => UNTOUCHED.to_owned(),
    }
}

/// What is told of a disk that still holds what it held before.
const UNTOUCHED: &str = "untouched";
/// How a header of LUKS2 begins, and how much of it is looked at.
const LUKS: &[u8] = b"LUKS\xba\xbe";
const HEADER: usize = 1 << 15;
/// Where the GUID of a table lies.
const GUID: usize = 512 + 56;

fn has(header: &[u8], what: &str) -> bool {
    header[..HEADER.min(header.len())].windows(what.len()).any(|it| it == what.as_bytes())
}

/// Returns a GUID as it lies on a disk: the first three of its words are turned around.
fn guid(text: &str) -> Vec<u8> {
    let words = text.split('-').enumerate().map(|(at, word)| {
        let digits =
            (0..word.len() / 2).map(|at| u8::from_str_radix(&word[2 * at..2 * at + 2], 16).unwrap_or_default());
        let mut bytes: Vec<u8> = digits.collect();
        if at < 3 {
            bytes.reverse();
        }
        bytes
    });
    words.flatten().collect()
}

fn sum(disk: &Path) -> anyhow::Result<Vec<u8>> {
    Ok(Sha256::digest(fs::read(disk)?).to_vec())
}

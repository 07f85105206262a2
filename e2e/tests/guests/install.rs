//! From the stick to a disk, which then boots alone: its TPM opens it, and where that is another one the recovery key does.
//! The power is cut in the midst, and at many moments it is looked what a cut would leave.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::{sleep, timeout};

use crate::{Person, RESCUE, claimed, complete, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(2400);
/// Writes the seed that names a disk, and has it heeded.
const SEED: &str = "mkdir -p /boot/piccolo && echo 'serial = \"DISK\"' >/boot/piccolo/install.toml && systemctl restart piccolo-install; rc=$?; rm /boot/piccolo/install.toml; exit $rc";
/// What is told of the work, in order.
const STEPS: [&str; 6] = [
    "marking the disk",
    "writing the system",
    "reading it back",
    "copying who this machine is, and its manifests",
    "making the recovery key",
    "making the disk count",
];
/// At how many moments at least it is looked what a cut would leave.
const MOMENTS: u32 = 20;
/// How long the rest between two of them is at most, in milliseconds.
const REST: u64 = 1500;

#[tokio::test]
async fn a_stick_installs_itself_on_a_disk_that_boots_alone_whenever_the_power_fails() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial lines are kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("install")?).await?;
    hardware.stick(&image()?).await?;
    let disk = hardware.blank(4 << 30)?;
    hardware.blank(4 << 30)?;
    let mut guest = hardware.boot().await?;
    // Where the stick keeps the seed is there by then.
    let person = claimed(&mut guest).await?;

    // What holds something is not written to without leave, by whichever door, nor is the stick itself ever.
    guest.run("mkfs.ext4 -q -L photos /dev/disk/by-id/virtio-disk2 && sync").await?;
    let sum = "head -c 64M /dev/disk/by-id/virtio-disk2 | sha256sum";
    let before = guest.run(sum).await?;
    ensure!(guest.run(&SEED.replace("DISK", "disk2")).await.is_err(), "a disk with a file system would be written to");
    guest.until_said(|it| it.contains("it is not blank: there is ext4 \"photos\" on it").then_some(())).await?;
    for words in
        [&["install", "disk2"][..], &["install", "disk0"], &["install", "disk2", "--erase", "--serial", "disk1"]]
    {
        ensure!(!person.attempt(words).await?.status.success(), "{words:?} was not refused");
    }
    ensure!(guest.run(sum).await? == before, "a disk with a file system was written to");
    let list = person.piccolo(&["install"]).await?;
    ensure!(list.lines().any(|it| it.contains("disk1") && it.contains("yes, it is blank")), "{list}");

    // The power fails while the system is written. The stick boots all the same, and knows the disk again.
    cut_while_it_writes(guest, &person, &disk).await?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    let list = person.piccolo(&["install"]).await?;
    ensure!(list.lines().any(|it| it.contains("disk1") && it.contains("an unfinished installation")), "{list}");
    let volume = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"photos\"\n[spec]\n";
    person.piccolo(&["apply", "-f", &person.write("photos.toml", volume)?, "--wait"]).await?;
    let recovery = install(&mut guest, &person, &disk).await?;
    guest.cut().await?;

    // Alone, it opens its state by the TPM, and is the machine that was claimed.
    let stick = hardware.unplug()?;
    let mut guest = hardware.boot().await?;
    same_machine(&mut guest, &person).await?;
    println!("the disk alone: firmware to a complete start {} s", guest.seconds());
    run_something(&mut guest, &person).await?;
    let recovery = other_key(&person, &recovery).await?;
    guest.cut().await?;

    // In another machine the disk stays closed, until somebody has the key. The stick is there too, with the same version.
    hardware.new_tpm().await?;
    hardware.plug(stick.clone());
    let mut guest = hardware.boot().await?;
    guest.until_said(|it| it.contains("recovery key for disk").then_some(())).await?;
    guest.type_line(&recovery).await?;
    same_machine(&mut guest, &person).await?;
    runs_from(&mut guest, "disk1").await?;
    let told = person.typed(&["disk", "reseal", "--state", "--yes"], &recovery).await?;
    let (slots, why) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    ensure!(told.status.success() && slots.contains("the TPM opens slot"), "{slots}{why}");

    // That TPM opens it from now on. In the rescue whoever could ask before can ask, and nothing runs.
    guest.run(&format!("bootctl set-default {RESCUE} && systemctl --no-block poweroff")).await?;
    guest.until_off().await?;
    let mut guest = hardware.boot().await?;
    rescued(&mut guest, &person).await?;
    println!("the rescue: firmware to an answer {} s", guest.seconds());
    guest.run("bootctl set-default ''").await?;
    guest.cut().await?;

    // And when the stick is started, it takes nothing from the disk.
    hardware.prefer(&stick);
    let mut guest = hardware.boot().await?;
    runs_from(&mut guest, "disk0").await?;
    guest.cut().await
}

/// Proves the recovery key of the state, makes another one in its place, and returns that.
async fn other_key(person: &Person, old: &str) -> anyhow::Result<String> {
    let check = ["disk", "recovery-key", "--state", "--check"];
    ensure!(!person.typed(&check, "wrong").await?.status.success(), "a wrong key counts");
    ensure!(person.typed(&check, old).await?.status.success(), "the key that the installation told does not count");
    let new = person.piccolo(&["disk", "recovery-key", "--state"]).await?;
    ensure!(person.typed(&check, &new).await?.status.success(), "a new key does not count");
    ensure!(!person.typed(&check, old).await?.status.success(), "the key before it still counts");
    Ok(new.trim().to_owned())
}

/// Makes sure that the API answers those who might ask it before, and that nothing is kept as the manifests ask.
async fn rescued(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    let started = "systemctl is-system-running --wait >/dev/null; systemctl is-active piccolo-rescue.target piccolod";
    guest
        .run(&format!("{started} || {{ systemctl list-jobs; systemctl --failed; cat /proc/cmdline; exit 1; }}"))
        .await?;
    let others = guest.run("systemctl is-active docker containerd; true").await?;
    ensure!(others.lines().all(|it| it == "inactive"), "an engine runs: {others}");
    let volumes = person.piccolo(&["get", "volumes"]).await?;
    ensure!(volumes.contains("photos"), "{volumes}");
    let stranger = Person::new()?.attempt(&["--host", &guest.host(), "get", "volumes"]).await?;
    ensure!(!stranger.status.success(), "a stranger was answered");
    let status = guest.run("piccolo status").await?;
    ensure!(status.contains("observe"), "{status}");
    Ok(())
}

/// Makes sure that the system is read from this disk, and from no other.
async fn runs_from(guest: &mut Guest, serial: &str) -> anyhow::Result<()> {
    let disks = guest.run("lsblk --noheadings --inverse --output SERIAL /dev/mapper/usr | sort -u").await?;
    ensure!(disks.split_whitespace().eq([serial]), "the system is read from {disks}");
    Ok(())
}

/// Installs, and cuts the power once something of the system is on the disk.
async fn cut_while_it_writes(guest: Guest, person: &Person, disk: &Path) -> anyhow::Result<()> {
    let has_begun = async {
        while found(disk)? == Found::Untouched {
            sleep(Duration::from_millis(50)).await;
        }
        sleep(Duration::from_millis(fastrand::u64(500..8000))).await;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = person.attempt(&["install", "disk1"]) => bail!("it ended before the power was cut: {:?}", ended?),
        begun = has_begun => begun?,
    }
    guest.cut().await?;
    let left = found(disk)?;
    println!("the power was cut: {left:?}");
    ensure!(matches!(left, Found::Marked | Found::HalfMade), "{left:?}");
    Ok(())
}

/// Installs to the end, looking all the while what a cut would leave, and returns the recovery key.
async fn install(guest: &mut Guest, person: &Person, disk: &Path) -> anyhow::Result<String> {
    let begun = guest.seconds();
    let work = person.attempt(&["install", "disk1"]);
    tokio::pin!(work);
    let (mut looks, mut seen) = (0, BTreeMap::new());
    let ended = loop {
        tokio::select! {
            ended = &mut work => break ended?,
            () = sleep(Duration::from_millis(fastrand::u64(0..REST))) => {
                let left = guest.held(|| found(disk)).await?;
                ensure!(matches!(left, Found::Marked | Found::HalfMade | Found::Whole), "a cut would leave {left:?}");
                *seen.entry(left).or_insert(0_u32) += 1;
                looks += 1;
            }
        }
    };
    let (key, said) = (String::from_utf8(ended.stdout)?, String::from_utf8_lossy(&ended.stderr));
    ensure!(ended.status.success(), "{said}");
    println!("installed in {} s; what a cut would leave, at {looks} moments: {seen:?}", guest.seconds() - begun);
    ensure!(looks >= MOMENTS, "it was looked {looks} times alone");
    ensure!(found(disk)? == Found::Whole, "{:?}", found(disk)?);
    // The key is on the screen of the machine as well, and not in its journal.
    let key = key.trim().to_owned();
    guest.until_said(|it| it.contains(&key).then_some(())).await?;
    let steps: Vec<_> = said.lines().filter_map(|line| Some(line.split_once(" of 6  ")?.1.trim())).collect();
    ensure!(steps == STEPS, "{said}");
    ensure!(!guest.run("journalctl --no-pager").await?.contains(&key), "the recovery key is in the journal");
    Ok(key)
}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Found {
    Untouched,
    Marked,
    HalfMade,
    Whole,
    Other,
}

/// Looks at the bytes of the disk alone, as whoever finds it would.
pub(super) fn found(disk: &Path) -> anyhow::Result<Found> {
    use std::io::Read;
    let mut head = vec![0; 1 << 20];
    std::fs::File::open(disk)?.read_exact(&mut head)?;
    let has = |name: &str| {
        // The table has names in UTF-16.
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        head[1024..].windows(wide.len()).any(|it| it == wide)
    };
    let is_table = &head[512..520] == b"EFI PART";
    Ok(match () {
        () if head.iter().all(|byte| *byte == 0) => Found::Untouched,
        () if is_table && has("piccolo-half-made") => Found::HalfMade,
        () if is_table && has("piccolo-state") => Found::Whole,
        () if head.starts_with(b"piccolo-making:") => Found::Marked,
        () => Found::Other,
    })
}

/// Makes sure that a container runs, from an image that came as a file.
async fn run_something(guest: &mut Guest, person: &Person) -> anyhow::Result<()> {
    let archive = std::env::var("ARCHIVE").context("ARCHIVE is not set: run e2e/test image")?;
    person.piccolo(&["image", "import", &archive]).await?;
    let spec = "command = [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/www\"]\nports = [{ hostPort = 8088, containerPort = 80 }]";
    let file = person.write("web.toml", &piccolo_e2e::container("web", "busybox:1", spec))?;
    person.piccolo(&["apply", "-f", &file, "--wait"]).await?;
    let page = guest.run("exec 3<>/dev/tcp/127.0.0.1/8088; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3").await?;
    ensure!(page.contains("It runs"), "{page}");
    Ok(())
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

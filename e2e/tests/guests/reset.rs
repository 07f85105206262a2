//! A machine that was installed by a manifest becomes as new, also when the power fails in the midst: it is nobody's, nobody reads what it knew, the
//! disk that was named is erased, and every other disk for data is what it was, byte for byte.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use piccolo_e2e::guest::{Guest, Hardware};
use tokio::time::timeout;

use crate::{Person, RESCUE, complete, image, place, way_in};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(3000);
/// What nobody reads any more.
const CANARY: &str = "a diary that nobody else reads";
/// What brings the system onto its disk.
const INSTALL: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Install"
metadata.name = "install"

[spec]
select = { serial = "disk1" }
"#;
/// Finds the partition of the state.
const STATE: &str = "$(blkid --match-token PARTLABEL=piccolo-state --output device)";
/// Where the keys lie in the header of what is encrypted.
const KEYS: (u64, usize) = (32 << 10, 1 << 20);

#[tokio::test]
async fn a_machine_is_reset_to_nobodys_and_keeps_the_data_that_was_not_named() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial lines are kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("reset")?).await?;
    hardware.stick(&image()?).await?;
    let own = hardware.blank(4 << 30)?;
    let (kept, erased) = (hardware.blank(64 << 20)?, hardware.blank(64 << 20)?);
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    let refused = person.attempt(&["reset"]).await?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("runs in memory"), "{why}");
    let old_key = installed(&mut guest, &person).await?;
    guest.cut().await?;
    hardware.unplug()?;

    // It has a life: somebody's, with manifests, and data on disks.
    let mut guest = hardware.boot().await?;
    let old_print = print(&mut guest).await?;
    complete(&mut guest).await?;
    let inert = person.piccolo(&["get", "install", "install", "-o", "json"]).await?;
    ensure!(inert.contains("RunsFromDisk"), "{inert}");
    let volume = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Volume\"\nmetadata.name = \"photos\"\n[spec]\n";
    person.piccolo(&["apply", "-f", &person.write("photos.toml", volume)?, "--wait"]).await?;
    guest.run(&format!("echo '{CANARY}' >/var/lib/diary && sync")).await?;
    for disk in ["disk2", "disk3"] {
        let make = format!("mkfs.ext4 -q /dev/disk/by-id/virtio-{disk} && mount /dev/disk/by-id/virtio-{disk} /mnt");
        guest.run(&format!("{make} && echo '{CANARY}' >/mnt/diary && umount /mnt && sync")).await?;
    }
    let old_id = guest.run(&format!("cryptsetup luksUUID {STATE}")).await?;
    let start: u64 = guest.run(&format!("lsblk --noheadings --nodeps --output START {STATE}")).await?.trim().parse()?;
    let (old_keys, before) = (keys(&own, start)?, std::fs::read(&kept)?);

    // Nobody resets it by mistake, and an order can be taken back.
    for words in [
        &["reset", "--keep-data", "--name", "attic"][..],
        &["reset", "--erase-data", "disk3", "--serial", "disk2", "--name", "piccolo"],
        &["reset", "--erase-data", "disk1", "--serial", "disk1", "--name", "piccolo"],
    ] {
        ensure!(!person.attempt(words).await?.status.success(), "{words:?} was not refused");
    }
    person.piccolo(&["reset", "--keep-data", "--name", "piccolo"]).await?;
    ensure!(person.piccolo(&["status"]).await?.contains("ResetPending"));
    guest.run("cp /boot/piccolo/reset.json /boot/loader/loader.conf /root/").await?;
    person.piccolo(&["reset", "--cancel"]).await?;
    ensure!(!person.piccolo(&["status"]).await?.contains("ResetPending"));
    ensure!(guest.run("cat /boot/loader/loader.conf; ls /boot/piccolo").await?.trim() == "timeout 0");

    // Nor does somebody else who only has the disk: what the state does not know is not done.
    guest.run("cp /root/reset.json /boot/piccolo/ && cp /root/loader.conf /boot/loader/ && sync").await?;
    guest.cut().await?;
    let mut guest = hardware.boot().await?;
    guest.until_said(|it| it.contains("this machine did not give the order").then_some(())).await?;
    ensure!(print(&mut guest).await? == old_print, "it is another machine after an order that it did not give");
    complete(&mut guest).await?;
    guest.run(&format!("grep -q '{CANARY}' /var/lib/diary")).await?;
    let told = person.piccolo(&["events"]).await?;
    ensure!(told.contains("did not give the order"), "{told}");

    // Whoever cut themselves off orders it from the rescue, once the firmware does not go there for ever.
    guest.run(&format!("bootctl set-default {RESCUE} && systemctl --no-block poweroff")).await?;
    guest.until_off().await?;
    let mut guest = hardware.boot().await?;
    guest
        .run("systemctl is-system-running --wait >/dev/null; systemctl is-active piccolo-rescue.target piccolod")
        .await?;
    let order = ["reset", "--erase-data", "disk3", "--serial", "disk3", "--name", "piccolo", "--restart"];
    let refused = person.attempt(&order).await?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("bootctl set-default"), "{why}");
    guest.run("bootctl set-default ''").await?;
    person.piccolo(&order).await?;

    // The power fails when the old keys are gone and no new state is there.
    guest.until_said(|it| it.contains("making an empty state").then_some(())).await?;
    guest.cut().await?;
    let mut guest = hardware.boot().await?;
    guest.until_said(|it| it.contains("done: the machine is as new").then_some(())).await?;
    println!("the reset: firmware to its end {} s", guest.seconds());
    let new_key = guest.until_said(|it| Some(after(it, "recovery key ")?.to_owned())).await?;

    // It starts anew by itself, and is nobody's.
    let new_print = print(&mut guest).await?;
    ensure!(new_print != old_print, "it is still who it was");
    ensure!(!person.attempt(&["get", "volumes"]).await?.status.success(), "its old owner still comes in");
    let person = claimed(&mut guest).await?;
    complete(&mut guest).await?;
    let volumes = person.piccolo(&["get", "volumes"]).await?;
    ensure!(!volumes.contains("photos"), "{volumes}");
    guest.run("! test -e /var/lib/diary").await?;
    ensure!(!person.piccolo(&["status"]).await?.contains("ResetPending"));
    let told = person.piccolo(&["events"]).await?;
    ensure!(told.contains("The machine was made as new"), "{told}");
    ensure!(guest.run(&format!("cryptsetup luksUUID {STATE}")).await? != old_id, "the state is still what it was");
    for (key, opens) in [(old_key.trim(), false), (new_key.as_str(), true)] {
        let test = format!("printf %s '{key}' | cryptsetup open --test-passphrase --disable-external-tokens {STATE}");
        ensure!(guest.run(&test).await.is_ok() == opens, "the {} recovery key", if opens { "new" } else { "old" });
    }
    let root = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /)").await?;
    ensure!(root.contains("crypt") && root.contains("crypto_LUKS"), "{root}");
    guest.cut().await?;

    // What opened the old state is on the disk no more, and data is where it was, or is not, as it was said.
    let left = old_keys.intersection(&keys(&own, start)?).count();
    ensure!(!old_keys.is_empty() && left == 0, "{left} of {} pieces of the old keys are left", old_keys.len());
    ensure!(std::fs::read(&kept)? == before, "a disk that was not named was written to");
    let bytes = std::fs::read(&erased)?;
    ensure!(!bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes()), "what was on the disk can be read");
    Ok(())
}

/// Has the system come onto its disk as a manifest asks, and returns the recovery key that the screen shows.
async fn installed(guest: &mut Guest, person: &Person) -> anyhow::Result<String> {
    let begun = guest.seconds();
    let file = person.write("install.toml", INSTALL)?;
    person.piccolo(&["apply", "-f", &file, "--wait", "--timeout", "1200"]).await?;
    println!("installed by a manifest in {} s", guest.seconds() - begun);
    let key = guest.until_said(|it| after(it, "recovery key ").map(str::to_owned)).await?;
    let told = guest.run("piccolo get install install -o json; journalctl --no-pager").await?;
    ensure!(told.contains("Installed") && !told.contains(&key), "the recovery key is told elsewhere, or nothing is");
    Ok(key)
}

/// Returns the fingerprint that the screen shows.
async fn print(guest: &mut Guest) -> anyhow::Result<String> {
    guest.until_said(|it| after(it, "fingerprint ").map(str::to_owned)).await
}

/// Returns the word after the last of these words.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    // The last line may not have ended yet.
    let (whole, _) = text.rsplit_once('\n')?;
    whole.rsplit_once(words)?.1.split_whitespace().next()
}

/// Waits for the way in, and claims the machine by what its screen shows.
async fn claimed(guest: &mut Guest) -> anyhow::Result<Person> {
    let (fingerprint, code) = way_in(guest).await?;
    let (person, host) = (Person::new()?, guest.host());
    person.piccolo(&["claim", &host, "--fingerprint", &fingerprint, "--code", &code]).await?;
    Ok(person)
}

/// Returns what is not zero of where the keys of a state lie that begins at this sector, in pieces.
fn keys(disk: &Path, start: u64) -> anyhow::Result<HashSet<Vec<u8>>> {
    let mut disk = File::open(disk)?;
    disk.seek(SeekFrom::Start(start * 512 + KEYS.0))?;
    let mut bytes = vec![0; KEYS.1];
    disk.read_exact(&mut bytes)?;
    Ok(bytes.chunks(512).filter(|it| it.iter().any(|byte| *byte != 0)).map(<[u8]>::to_vec).collect())
}

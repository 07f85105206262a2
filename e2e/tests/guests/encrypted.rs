//! Disks for data that are encrypted, one as a whole and one in its partitions: the TPM of their machine opens them again after a
//! start, also for a system that knows nothing of them but the manifests. In another machine they stay closed until somebody has
//! the recovery key.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use piccolo_e2e::{guest::Hardware, machine::program};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::{Person, claimed, image, place};

/// How long the story may take where the processor is emulated and other things run beside it.
const LONG: Duration = Duration::from_secs(1500);
/// What nobody reads who has the disk alone.
const CANARY: &str = "a film that nobody else sees";
const MANIFEST: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "films"

[spec]
select = { serial = "disk1" }
filesystem = "ext4"
mount = "/srv/films"
encryption = { tpm2 = {} }
"#;

/// How large the last partition is inside, in kibibytes.
const ROOM: &str = "df --output=size /srv/shelf/rest | tail -n 1";
/// Of its partitions one is plain, one swap, and the last one takes what is left.
const SHELF: &str = r#"apiVersion = "piccolo.os/v1alpha1"
kind = "Disk"
metadata.name = "shelf"

[spec]
select = { serial = "disk2" }
filesystem = "ext4"
encryption = { tpm2 = { pcrs = [7] } }

[[spec.partitions]]
name = "open"
size = "32Mi"
plain = true
mount = "/srv/shelf/open"

[[spec.partitions]]
name = "room"
size = "48Mi"
filesystem = "swap"

[[spec.partitions]]
name = "papers"
size = "64Mi"
mount = "/srv/shelf/papers"

[[spec.partitions]]
name = "rest"
mount = "/srv/shelf/rest"
"#;

#[tokio::test]
async fn an_encrypted_disk_opens_in_its_machine_and_elsewhere_by_its_recovery_key() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("encrypted")?).await?;
    hardware.stick(&image()?).await?;
    let platters = [hardware.blank(512 << 20)?, hardware.blank(256 << 20)?];
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    declare(&person, true).await?;
    let stack = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /srv/films)").await?;
    ensure!(stack.contains("crypt") && stack.contains("crypto_LUKS"), "{stack}");
    let shelf =
        guest.run("lsblk --noheadings --list --output PARTLABEL,FSTYPE,TYPE /dev/disk/by-id/virtio-disk2").await?;
    ensure!(shelf.matches("crypto_LUKS").count() == 3 && shelf.matches("crypt\n").count() >= 3, "{shelf}");
    guest
        .run(&format!("for it in films shelf/papers shelf/rest; do echo '{CANARY}' >/srv/$it/film; done; sync"))
        .await?;
    let room = guest.run(ROOM).await?;

    // There is no recovery key yet, which is told. One that is made counts once somebody has typed it.
    ensure!(stands(&person).await?.contains("NotMade"), "{}", stands(&person).await?);
    let key = person.piccolo(&["disk", "recovery-key", "films"]).await?;
    person.until("disk", "films", "NotConfirmed").await?;
    ensure!(!type_key(&person, &["disk", "recovery-key", "films", "--check"], "wrong").await?);
    ensure!(type_key(&person, &["disk", "recovery-key", "films", "--check"], &key).await?, "it was not taken");
    person.until("disk", "films", "recoveryProved").await?;
    let told = guest.run("journalctl --no-pager; cat /var/lib/piccolo/disks/book.json").await?;
    ensure!(!told.contains(key.trim()), "the recovery key is in the journal");
    // Of the other disk one key opens each partition that has keys.
    let shelf_key = person.piccolo(&["disk", "recovery-key", "shelf"]).await?;
    ensure!(type_key(&person, &["disk", "recovery-key", "shelf", "--check"], &shelf_key).await?, "it was not taken");
    guest.cut().await?;
    for disk in &platters {
        let bytes = std::fs::read(disk)?;
        ensure!(!bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes()), "what is on the disk can be read");
    }
    // While the power is off, the disk with partitions becomes larger.
    std::fs::OpenOptions::new().write(true).open(&platters[1])?.set_len(320 << 20)?;

    // The power came back. Nothing is known here but the manifests.
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    declare(&person, true).await?;
    let films = guest.run("cat /srv/films/film /srv/shelf/papers/film /srv/shelf/rest/film").await?;
    ensure!(films.matches(CANARY).count() == 3, "{films}");
    ensure!(guest.run("swapon --show --noheadings").await?.contains("/dev/dm-"), "swap is not encrypted");
    guest
        .run(&format!(
            "for i in $(seq 60); do test $({ROOM}) -gt $(({room} + 40000)) && exit 0; sleep 1; done; exit 1",
            room = room.trim()
        ))
        .await?;
    ensure!(!stands(&person).await?.contains("RecoveryKeyNotRetrieved"), "{}", stands(&person).await?);
    let shelf = person.stands("disk", "shelf").await?;
    ensure!(!shelf.contains("RecoveryKeyNotRetrieved") && shelf.contains("recoveryProved"), "{shelf}");
    // Without their manifests they are closed, and their data stays.
    person.piccolo(&["delete", "disk", "films"]).await?;
    person.piccolo(&["delete", "disk", "shelf"]).await?;
    guest.run("for i in $(seq 60); do test -e /dev/mapper/pic-* || exit 0; sleep 1; done; exit 1").await?;
    guest.cut().await?;

    // In another machine nothing opens it, until somebody has the key.
    hardware.new_tpm().await?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    declare(&person, false).await?;
    person.until("disk", "films", "DiskLocked").await?;
    person.until("disk", "shelf", "DiskLocked").await?;
    guest.run("for i in $(seq 60); do findmnt /srv/shelf/open && exit 0; sleep 1; done; exit 1").await?;
    ensure!(guest.run("findmnt /srv/shelf/papers").await.is_err(), "it is mounted");
    ensure!(!type_key(&person, &["disk", "unlock", "films"], "wrong").await?, "a wrong key opens it");
    ensure!(guest.run("findmnt /srv/films").await.is_err(), "it is mounted");
    ensure!(type_key(&person, &["disk", "unlock", "films"], &key).await?, "the recovery key does not open it");
    guest.run("for i in $(seq 60); do test -e /srv/films/film && exit 0; sleep 1; done; exit 1").await?;
    ensure!(guest.run("cat /srv/films/film").await?.contains(CANARY));
    ensure!(type_key(&person, &["disk", "unlock", "shelf"], &shelf_key).await?, "the recovery key does not open each");
    guest
        .run("for i in $(seq 60); do cat /srv/shelf/papers/film /srv/shelf/rest/film && exit 0; sleep 1; done; exit 1")
        .await?;
    guest.cut().await
}

/// Says that both disks are there, and waits until they are mounted, or does not.
async fn declare(person: &Person, waits: bool) -> anyhow::Result<()> {
    for (name, manifest) in [("films.toml", MANIFEST), ("shelf.toml", SHELF)] {
        let file = person.write(name, manifest)?;
        let waits: &[&str] = if waits { &["--wait", "--timeout", "300"] } else { &[] };
        person.piccolo(&[&["apply", "-f", &file][..], waits].concat()).await?;
    }
    Ok(())
}

async fn stands(person: &Person) -> anyhow::Result<String> {
    person.stands("disk", "films").await
}

/// Runs a command that is given a key, and returns whether it was taken.
async fn type_key(person: &Person, words: &[&str], key: &str) -> anyhow::Result<bool> {
    let mut command = Command::new(program()?.with_file_name("piccolo"));
    command.args(words).env("XDG_CONFIG_HOME", person.0.path()).env_remove("PICCOLO_HOST").kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(format!("{}\n", key.trim()).as_bytes()).await?;
    drop(input);
    Ok(child.wait_with_output().await?.status.success())
}

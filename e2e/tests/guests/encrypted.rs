//! A disk for data that is encrypted: the TPM of its machine opens it again after a start, also for a system that knows
//! nothing of it but the manifest. In another machine it stays closed until somebody has the recovery key.

use std::time::Duration;

use anyhow::{Context, ensure};
use piccolo_e2e::guest::Hardware;
use tokio::time::timeout;

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

#[tokio::test]
async fn an_encrypted_disk_opens_in_its_machine_and_elsewhere_by_its_recovery_key() -> anyhow::Result<()> {
    timeout(LONG, tell()).await.context("the story did not end in time; its serial line is kept")?
}

async fn tell() -> anyhow::Result<()> {
    let mut hardware = Hardware::build(&place("encrypted")?).await?;
    hardware.stick(&image()?).await?;
    let platters = hardware.blank(512 << 20)?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("films.toml", MANIFEST)?, "--wait"]).await?;
    let stack = guest.run("lsblk --noheadings --inverse --output TYPE,FSTYPE $(findmnt -no SOURCE /srv/films)").await?;
    ensure!(stack.contains("crypt") && stack.contains("crypto_LUKS"), "{stack}");
    guest.run(&format!("echo '{CANARY}' >/srv/films/film && sync")).await?;

    // There is no recovery key yet, which is told. One that is made counts once somebody has typed it.
    ensure!(stands(&person).await?.contains("NotMade"), "{}", stands(&person).await?);
    let key = person.piccolo(&["disk", "recovery-key", "films"]).await?;
    person.until("disk", "films", "NotConfirmed").await?;
    ensure!(!person.typed(&["disk", "recovery-key", "films", "--check"], "wrong").await?.status.success());
    ensure!(
        person.typed(&["disk", "recovery-key", "films", "--check"], &key).await?.status.success(),
        "it was not taken"
    );
    person.until("disk", "films", "recoveryProved").await?;
    let told = guest.run("journalctl --no-pager; cat /var/lib/piccolo/disks/book.json").await?;
    ensure!(!told.contains(key.trim()), "the recovery key is in the journal");
    guest.cut().await?;
    let bytes = std::fs::read(&platters)?;
    ensure!(!bytes.windows(CANARY.len()).any(|it| it == CANARY.as_bytes()), "what is on the disk can be read");
    drop(bytes);

    // The power came back. Nothing is known here but the manifest.
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("films.toml", MANIFEST)?, "--wait"]).await?;
    ensure!(guest.run("cat /srv/films/film").await?.contains(CANARY));
    ensure!(!stands(&person).await?.contains("RecoveryKeyNotRetrieved"), "{}", stands(&person).await?);
    // Without its manifest it is closed, and its data stays.
    person.piccolo(&["delete", "disk", "films"]).await?;
    guest.run("for i in $(seq 60); do test -e /dev/mapper/pic-* || exit 0; sleep 1; done; exit 1").await?;
    guest.cut().await?;

    // In another machine nothing opens it, until somebody has the key.
    hardware.new_tpm().await?;
    let mut guest = hardware.boot().await?;
    let person = claimed(&mut guest).await?;
    person.piccolo(&["apply", "-f", &person.write("films.toml", MANIFEST)?]).await?;
    person.until("disk", "films", "DiskLocked").await?;
    ensure!(!person.typed(&["disk", "unlock", "films"], "wrong").await?.status.success(), "a wrong key opens it");
    ensure!(guest.run("findmnt /srv/films").await.is_err(), "it is mounted");
    ensure!(
        person.typed(&["disk", "unlock", "films"], &key).await?.status.success(),
        "the recovery key does not open it"
    );
    guest.run("for i in $(seq 60); do test -e /srv/films/film && exit 0; sleep 1; done; exit 1").await?;
    ensure!(guest.run("cat /srv/films/film").await?.contains(CANARY));
    guest.cut().await
}

async fn stands(person: &Person) -> anyhow::Result<String> {
    person.stands("disk", "films").await
}

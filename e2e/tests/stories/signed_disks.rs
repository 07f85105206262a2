//! Disks that a manifest binds to signatures over the kernel's image, on a software TPM and files as loop devices. What the
//! kernel would have to open is not needed: the header is made before.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{
        Disks as _,
        linux::{Chip as Tpm, Drives, Keyring, Slots, Vault},
    },
    reconcile::{Plan, Reconciler, disk::DiskStep, disk::Disks},
    secrets::Identity,
};
use piccolo_e2e::tpm::Chip;
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Encryption, Filesystem, Selector, Tpm2},
};
use tempfile::TempDir;

use super::{disks::Shelf, starts::Signed};

fn wanted(shelf: &Shelf) -> anyhow::Result<Desired<Disk>> {
    let tpm2 = Some(Tpm2 { signed_pcr11: true, ..Tpm2::default() });
    let spec = DiskSpec {
        select: Selector { serial: Some(shelf.path("papers")?.display().to_string()), ..Selector::default() },
        filesystem: Filesystem::Ext4,
        mount: Some(shelf.at("papers")?.display().to_string()),
        encryption: Some(Encryption { tpm2, ..Encryption::default() }),
        ..DiskSpec::default()
    };
    Ok(Desired::complete(vec![Disk::new("papers", spec)]))
}

#[tokio::test]
async fn a_disk_is_encrypted_for_images_that_are_signed() -> anyhow::Result<()> {
    let Some(mut shelf) = Shelf::new()? else { return Ok(()) };
    let device = shelf.plug("papers")?;
    let mut chip = Chip::start().await?;
    let (image, another) = (Signed::make(&chip).await?, Signed::make(&chip).await?);
    let way = chip.way();
    let with = |image: &Signed, key: PathBuf| {
        Tpm::new(Some(&way)).with_signatures(&image.path("signatures")).with_signer(&key)
    };
    let (ours, theirs) = (with(&image, image.path("public")), with(&another, another.path("public")));
    let none = with(&image, PathBuf::from("/nonexistent"));
    image.start(&mut chip).await?;
    let home = TempDir::with_prefix("piccolo-signed-")?;
    let drives = |chip: &Tpm| {
        let vault = Vault::new(home.path().join("secrets"), Ok(Identity::generate()));
        Drives::open_with(&home.path().join("state"), Keyring::new(chip.clone(), vault))
    };
    let desired = wanted(&shelf)?;
    let plan = async |chip: &Tpm| -> anyhow::Result<Plan<DiskStep>> {
        Ok(Disks::<Drives>::plan(&desired, &drives(chip).disks().await?))
    };

    // Where nobody signs, nothing is made.
    let waits = plan(&none).await?;
    ensure!(waits.steps.is_empty() && waits.waiting[0].reason == "SignerMissing", "{:?}", waits.waiting);
    // Nor where the signatures don't cover this start: what the TPM would not give back is worth no slot.
    let uncovered = with(&image, another.path("public"));
    let step = plan(&uncovered).await?.steps.pop().context("no step")?;
    let refused = Disks(drives(&uncovered)).apply(&step).await.err().context("it was made")?;
    ensure!(refused.message.contains("No signature"), "{refused}");
    let blank = plan(&ours).await?;
    let step = blank.steps.first().context("no step")?;
    ensure!(step.to_string().starts_with("format disk papers as encrypted"), "{step}");
    if let Err(error) = Disks(drives(&ours)).apply(step).await {
        println!("as far as this kernel goes: {error}");
    }
    let seen = drives(&ours).disks().await?;
    let disk = seen.disks.iter().find(|it| device.ends_with(&it.device)).context("it is gone")?;
    let key = disk.luks.first().and_then(|it| it.keys.first()).context("it has no key")?;
    ensure!(key.bound().is_some_and(|it| it.signed.is_some() && it.signed == seen.signer), "{key:?}");

    // It is a slot as systemd makes them, and opens with the signatures of its maker alone.
    let slots = Slots::new(device.into(), "/dev/shm".into());
    let (slot, opens) = slots.unlock(&ours, None).await?;
    ensure!(slots.opens(Some(slot), &opens).await?);
    ensure!(slots.unlock(&theirs, None).await.is_err());
    chip.extend(11, &"11".repeat(32)).await?;
    ensure!(slots.unlock(&ours, None).await.is_err(), "it opens further on in the start");
    image.start(&mut chip).await?;
    chip.extend(7, &"11".repeat(32)).await?;
    ensure!(slots.unlock(&ours, None).await.is_err(), "register 7 counts for nothing");
    Ok(())
}

//! Machines that start another way than before: what changed is named, and nothing opens until its owner says so. Needs no
//! engine; what a start measures is measured into a software TPM from logs of real ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{Above, Pcrs, Terms, Tpm, linux},
    secrets::Plain,
    trust::Story,
};
use piccolo_e2e::tpm::Chip;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{
    locked_disks::{Disk, UNLOCK, first, flush},
    updates::text,
};

/// The starts that were recorded.
const STARTS: [&str; 6] = ["first", "command-line", "release", "firmware", "secure-boot-off", "secure-boot-on"];
/// How far the start has come that is signed here.
const PHASE: &str = "enter-initrd";

pub(super) fn log(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/starts").join(format!("{name}.log"))
}

/// Starts the machine of this chip as it was once recorded.
pub(super) async fn start(chip: &mut Chip, name: &str) -> anyhow::Result<()> {
    chip.restart().await?;
    let story = Story::read(&fs::read(log(name))?, b"")?;
    let digests: Vec<String> = story.events.iter().map(|it| format!("{}:sha256={}", it.pcr, hex(&it.digest))).collect();
    chip.tool("tpm2_pcrextend", &digests.iter().map(String::as_str).collect::<Vec<_>>()).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_is_sealed_for_a_start_opens_in_that_one_alone() -> anyhow::Result<()> {
    let (mut chip, mut other) = (Chip::start().await?, Chip::start().await?);
    let (ours, theirs) = (linux::Chip::new(Some(&chip.way())), linux::Chip::new(Some(&other.way())));
    let secret = Zeroizing::new(vec![7; 32]);
    let values = |name: &str| {
        let story = Story::read(&fs::read(log(name))?, b"")?;
        anyhow::Ok([0, 4, 7, 11].map(|pcr| (pcr, hex(&story.value(pcr)))).into())
    };
    start(&mut chip, "first").await?;
    theirs.seal(&secret, Pcrs::NONE, None, Above::Shared).await?;
    let mut all = Vec::new();
    for name in STARTS {
        all.push((name, ours.seal_on(&secret, &Terms::held(values(name)?), None, Above::Shared).await?));
    }
    let (mut opened, mut refused) = (0, 0);
    for now in STARTS {
        start(&mut chip, now).await?;
        start(&mut other, now).await?;
        for (name, sealed) in &all {
            match ours.unseal(sealed, None).await {
                Ok(told) if told == secret && *name == now => opened += 1,
                Ok(_) => anyhow::bail!("what is sealed for {name} opens in {now}"),
                Err(_) => refused += 1,
            }
            ensure!(theirs.unseal(sealed, None).await.is_err(), "another chip opens what is sealed for {name}");
            refused += 1;
        }
        // Whatever is measured once more shuts it.
        chip.extend(7, &"11".repeat(32)).await?;
        for (_, sealed) in &all {
            ensure!(ours.unseal(sealed, None).await.is_err());
            refused += 1;
        }
    }
    println!("opened {opened}, refused {refused}");
    ensure!((opened, refused) == (6, 30 + 36 + 36), "opened {opened}, refused {refused}");
    Ok(())
}

/// A kernel's image in parts, and the signatures of its maker.
pub(super) struct Signed {
    home: TempDir,
    measured: Vec<[u8; 32]>,
}

impl Signed {
    /// Makes an image, and has systemd sign what its start measures.
    pub(super) async fn make(chip: &Chip) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let path = |name: &str| home.path().join(name).display().to_string();
        let openssl = async |words: &[&str]| text(Command::new("openssl").args(words).output().await?);
        openssl(&["genrsa", "-out", &path("private"), "2048"]).await?;
        openssl(&["rsa", "-in", &path("private"), "-pubout", "-out", &path("public")]).await?;
        let mut measured = Vec::new();
        let mut command = Command::new("/lib/systemd/systemd-measure");
        command.args(["sign", "--bank=sha256", &format!("--phase={PHASE}")]);
        command.arg(format!("--tpm2-device={}", chip.way()));
        command.args([format!("--private-key={}", path("private")), format!("--public-key={}", path("public"))]);
        for (name, content) in [("linux", "a kernel"), ("osrel", "ID=piccolo\n"), ("cmdline", "quiet")] {
            fs::write(path(name), content)?;
            command.arg(format!("--{name}={}", path(name)));
            measured.push(Sha256::digest(format!(".{name}\0")).into());
            measured.push(Sha256::digest(content).into());
        }
        measured.push(Sha256::digest(PHASE).into());
        let signatures = text(command.output().await.context("systemd-measure is not installed")?)?;
        flush(chip).await?;
        fs::write(path("signatures"), signatures)?;
        Ok(Self { home, measured })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Starts a machine by this image.
    pub(super) async fn start(&self, chip: &mut Chip) -> anyhow::Result<()> {
        chip.restart().await?;
        for digest in &self.measured {
            chip.extend(11, &hex(digest)).await?;
        }
        Ok(())
    }
}

async fn systemd_opens(chip: &Chip, image: &Path, signatures: &Path) -> anyhow::Result<bool> {
    let mut command = Command::new("python3");
    command.args(["-c", UNLOCK]).arg(image).arg(chip.way()).env("SIGNATURES", signatures);
    let told = text(command.output().await.context("python3 is not installed")?)?;
    flush(chip).await?;
    let slot = told.trim().strip_prefix("slot ").and_then(|it| it.parse::<i32>().ok());
    Ok(slot.with_context(|| format!("it said `{told}`"))? >= 0)
}

async fn opens(disk: &Disk, chip: &linux::Chip) -> anyhow::Result<bool> {
    let Ok((slot, key)) = disk.slots.unlock(chip, None).await else { return Ok(false) };
    Ok(disk.slots.opens(Some(slot), &key).await?)
}

#[tokio::test]
async fn a_disk_opens_for_every_image_that_its_maker_signed() -> anyhow::Result<()> {
    let (mut chip, mut other) = (Chip::start().await?, Chip::start().await?);
    let (image, another) = (Signed::make(&chip).await?, Signed::make(&chip).await?);
    let with =
        |chip: &Chip, signed: &Signed| linux::Chip::new(Some(&chip.way())).with_signatures(&signed.path("signatures"));
    let (ours, enrolled) = (Disk::make().await?, Disk::make().await?);
    image.start(&mut chip).await?;
    // Both ways: enrolled here and opened by systemd, enrolled by systemd and opened here.
    let wish = linux::Enrolment { pcrs: Pcrs::NONE, pin: None, above: Above::Old };
    let key = fs::read(image.path("public"))?;
    let signer = piccolo_agent::host::Signer::new(key, Pcrs::of([11]).unwrap_or_default())?;
    ours.slots.enrol_signed(&with(&chip, &image), &first(), &wish, Some(&signer)).await?;
    let mut command = Command::new("systemd-cryptenroll");
    command.arg(format!("--tpm2-device={}", chip.way())).args(["--tpm2-pcrs=", "--tpm2-public-key-pcrs=11"]);
    command
        .arg(format!("--tpm2-public-key={}", image.path("public").display()))
        .env("PASSWORD", "the passphrase of the first day");
    text(command.arg(enrolled.image()).output().await.context("systemd-cryptenroll is not installed")?)?;
    flush(&chip).await?;
    let (mut opened, mut refused) = (0, 0);
    for disk in [&ours, &enrolled] {
        let [token] = &disk.slots.tokens().await?[..] else { anyhow::bail!("it has not one token") };
        ensure!(token.1.as_ref().is_ok_and(|it| it.sealed.signer.as_ref() == Some(&signer)), "{token:?}");
        ensure!(opens(disk, &with(&chip, &image)).await?, "it does not open here");
        ensure!(systemd_opens(&chip, &disk.image(), &image.path("signatures")).await?, "systemd does not open it");
        opened += 2;
        // The signatures of another key, and none.
        ensure!(!opens(disk, &with(&chip, &another)).await?);
        ensure!(!systemd_opens(&chip, &disk.image(), &another.path("signatures")).await?);
        ensure!(!opens(disk, &linux::Chip::new(Some(&chip.way())).with_signatures(Path::new("/nonexistent"))).await?);
        refused += 3;
    }
    // The same image on another chip, and this one further on in its start.
    image.start(&mut other).await?;
    chip.extend(11, &"11".repeat(32)).await?;
    for disk in [&ours, &enrolled] {
        ensure!(!opens(disk, &with(&other, &image)).await? && !opens(disk, &with(&chip, &image)).await?);
        ensure!(!systemd_opens(&chip, &disk.image(), &image.path("signatures")).await?);
        refused += 3;
        ensure!(disk.slots.opens(None, &first()).await?, "the key of a person does not open it");
    }
    println!("opened {opened}, refused {refused}");
    ensure!((opened, refused) == (4, 12));
    Ok(())
}

#[tokio::test]
async fn slots_of_a_disk_are_bound_to_another_start() -> anyhow::Result<()> {
    let mut chip = Chip::start().await?;
    let ours = linux::Chip::new(Some(&chip.way()));
    let disk = Disk::make().await?;
    start(&mut chip, "first").await?;
    let pcrs: Pcrs = "4,7".parse().map_err(anyhow::Error::msg)?;
    let plain = linux::Enrolment { pcrs, ..Default::default() };
    let guarded = linux::Enrolment { pin: Some("1234"), above: Above::Old, ..plain };
    disk.slots.enrol(&ours, &first(), &plain).await?;
    disk.slots.enrol(&ours, &first(), &guarded).await?;
    let (recovery_slot, recovery) = disk.slots.recovery_key(&first()).await?;
    start(&mut chip, "release").await?;
    ensure!(!opens(&disk, &ours).await?);
    // A PIN that is missing, and a key that opens nothing, change nothing.
    let wrong = Plain::new(b"wrong".to_vec());
    ensure!(disk.slots.reseal(&ours, &wrong, Some("1234")).await.is_err() && disk.slots.tokens().await?.len() == 2);
    let moved = disk.slots.reseal(&ours, &recovery.text(), Some("1234")).await?;
    ensure!(moved.moved.iter().map(|it| it.old).collect::<Vec<_>>() == [1, 2], "{moved}");
    ensure!(moved.failed.is_none() && moved.moved.iter().all(|it| !it.kept), "{moved}");
    let tokens = disk.slots.tokens().await?;
    ensure!(tokens.len() == 2 && tokens.iter().filter(|it| it.1.as_ref().is_ok_and(|it| it.sealed.pin)).count() == 1);
    ensure!(opens(&disk, &ours).await? && disk.slots.unlock(&ours, Some("1234")).await.is_ok());
    ensure!(disk.slots.opens(Some(recovery_slot), &recovery.text()).await?);
    start(&mut chip, "first").await?;
    ensure!(!opens(&disk, &ours).await?, "the start of before still opens it");
    Ok(())
}

//! Disks whose key a TPM gives: what we enrol, what systemd enrols, and the recovery key. Needs no engine; the disk is a
//! file, whose key slots are tried without opening it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use piccolo_agent::{
    host::{Above, Reason, linux},
    secrets::{Plain, RecoveryKey},
};
use piccolo_e2e::{Machine, tpm::Chip};
use tempfile::TempDir;
use tokio::process::Command;

use super::updates::text;

/// A digest that is measured.
const MEASURED: &str = "1111111111111111111111111111111111111111111111111111111111111111";
pub(super) const FIRST: &str = "the passphrase of the first day";
const PIN: &str = "1234";

/// An encrypted disk in a file.
pub(super) struct Disk {
    home: TempDir,
    pub(super) slots: linux::Slots,
}

impl Disk {
    pub(super) async fn make() -> anyhow::Result<Self> {
        let home = TempDir::with_prefix_in("piccolo-disk-", "/dev/shm")?;
        let image = home.path().join("disk");
        File::create_new(&image)?.set_len(32 << 20)?;
        let key = home.path().join("first");
        fs::write(&key, FIRST)?;
        let words = ["luksFormat", "--type", "luks2", "--batch-mode", "--pbkdf", "pbkdf2", "--key-file"];
        let slow = ["--pbkdf-force-iterations", "1000"];
        let done = Command::new("cryptsetup").args(words).arg(&key).args(slow).arg(&image).output().await;
        text(done.context("cryptsetup is not installed")?)?;
        fs::remove_file(key)?;
        let slots = linux::Slots::new(image, home.path().to_owned());
        Ok(Self { home, slots })
    }

    pub(super) fn image(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    /// Returns true if the TPM gives what opens a slot of it.
    async fn opens(&self, chip: &linux::Chip, pin: Option<&str>) -> anyhow::Result<bool> {
        let Ok((slot, key)) = self.slots.unlock(chip, pin).await else { return Ok(false) };
        Ok(self.slots.opens(Some(slot), &key).await?)
    }
}

pub(super) fn first() -> Plain {
    Plain::new(FIRST.as_bytes().to_vec())
}

fn sealed(pin: Option<&str>, above: Above) -> anyhow::Result<linux::Enrolment<'_>> {
    let pcrs = "7".parse().map_err(anyhow::Error::msg)?;
    Ok(linux::Enrolment { pcrs, pin, above })
}

#[tokio::test]
async fn what_is_enrolled_here_opens_on_this_chip_alone() -> anyhow::Result<()> {
    let (chip, other) = (Chip::start().await?, Chip::start().await?);
    let (ours, theirs) = (linux::Chip::new(Some(&chip.way())), linux::Chip::new(Some(&other.way())));
    let (plain, guarded) = (Disk::make().await?, Disk::make().await?);
    // The key must open the disk already.
    let wrong = Plain::new(b"wrong".to_vec());
    let refused =
        plain.slots.enrol(&ours, &wrong, &sealed(None, Above::Shared)?).await.err().context("it was enrolled")?;
    ensure!(refused.reason == Reason::PermissionDenied, "{refused}");
    ensure!(plain.slots.tokens().await?.is_empty(), "a token was left");

    let token = plain.slots.enrol(&ours, &first(), &sealed(None, Above::Shared)?).await?;
    ensure!(token.slot == 1 && token.sealed.home.is_some());
    guarded.slots.enrol(&ours, &first(), &sealed(Some(PIN), Above::Shared)?).await?;
    ensure!(plain.opens(&ours, None).await? && guarded.opens(&ours, Some(PIN)).await?);
    ensure!(!guarded.opens(&ours, None).await? && !guarded.opens(&ours, Some("4321")).await?);
    ensure!(!plain.opens(&theirs, None).await? && !guarded.opens(&theirs, Some(PIN)).await?);
    // cryptsetup knows the token for one of systemd's.
    let dump = text(Command::new("cryptsetup").arg("luksDump").arg(plain.image()).output().await?)?;
    ensure!(dump.contains("0: systemd-tpm2"), "{dump}");

    chip.extend(7, MEASURED).await?;
    ensure!(!plain.opens(&ours, None).await? && !guarded.opens(&ours, Some(PIN)).await?);
    // A person comes in all the same, and makes it right again.
    let refused = plain.slots.unlock(&ours, None).await.err().context("it opens")?;
    ensure!(refused.message.contains("recovery key"), "{refused}");
    plain.slots.kill(token.slot, &first()).await?;
    ensure!(plain.slots.tokens().await?.is_empty());
    plain.slots.enrol(&ours, &first(), &sealed(None, Above::Shared)?).await?;
    ensure!(plain.opens(&ours, None).await?);
    let left: Vec<_> = fs::read_dir(plain.home.path())?.collect::<Result<_, _>>()?;
    ensure!(left.len() == 1, "a key was left in a file: {left:?}");
    Ok(())
}

#[tokio::test]
async fn what_systemd_enrolled_opens_here() -> anyhow::Result<()> {
    let (chip, other) = (Chip::start().await?, Chip::start().await?);
    let (ours, theirs) = (linux::Chip::new(Some(&chip.way())), linux::Chip::new(Some(&other.way())));
    for pin in [None, Some(PIN)] {
        let disk = Disk::make().await?;
        cryptenroll(&chip, &disk.image(), pin).await?;
        ensure!(disk.opens(&ours, pin).await?, "with the PIN {pin:?} it does not open");
        ensure!(!disk.opens(&theirs, pin).await?);
        if pin.is_some() {
            ensure!(!disk.opens(&ours, Some("4321")).await? && !disk.opens(&ours, None).await?);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_enrolled_here_systemd_opens() -> anyhow::Result<()> {
    let chip = Chip::start().await?;
    let ours = linux::Chip::new(Some(&chip.way()));
    for pin in [None, Some(PIN)] {
        let disk = Disk::make().await?;
        let token = disk.slots.enrol(&ours, &first(), &sealed(pin, Above::Old)?).await?;
        ensure!(token.sealed.home.is_none() && token.salt.is_none());
        ensure!(disk.opens(&ours, pin).await?, "with the PIN {pin:?} it does not open");
        ensure!(systemd_opens(&chip, &disk.image(), pin).await?, "systemd does not open it with the PIN {pin:?}");
        ensure!(pin.is_none() || !systemd_opens(&chip, &disk.image(), Some("4321")).await?);
        chip.extend(7, MEASURED).await?;
        ensure!(!systemd_opens(&chip, &disk.image(), pin).await?, "systemd opens it after a change");
    }
    Ok(())
}

#[tokio::test]
async fn a_recovery_key_opens_whatever_became_of_the_chip() -> anyhow::Result<()> {
    let disk = Disk::make().await?;
    let (slot, key) = disk.slots.recovery_key(&first()).await?;
    // As a person types it.
    let typed = String::from_utf8(key.text().expose().to_vec())?.to_uppercase().replace('-', " ");
    let typed = RecoveryKey::parse(&typed).context("it can't be read")?.text();
    ensure!(disk.slots.opens(Some(slot), &typed).await? && disk.slots.opens(None, &typed).await?);
    // It is a key like any other: another one is made with it, and the one before goes.
    let (next, another) = disk.slots.recovery_key(&typed).await?;
    disk.slots.kill(slot, &another.text()).await?;
    ensure!(!disk.slots.opens(None, &typed).await? && disk.slots.opens(Some(next), &another.text()).await?);
    ensure!(!disk.slots.opens(Some(slot), &another.text()).await?);
    // The last way in is not taken by who does not have another one.
    ensure!(disk.slots.kill(0, &typed).await.is_err() && disk.slots.opens(Some(0), &first()).await?);
    Ok(())
}

#[tokio::test]
async fn a_person_enrols_a_disk_by_commands() -> anyhow::Result<()> {
    let chip = Chip::start().await?;
    let (ours, way) = (linux::Chip::new(Some(&chip.way())), format!("PICCOLO_TCTI={}", chip.way()));
    let mut daemon = Machine::on("unix:///nonexistent/docker.sock")?.launched_by(&["env", "TSS2_LOG=all+NONE", &way]);
    daemon.start().await?;
    let (disk, file) = (Disk::make().await?, daemon.state().join("first"));
    fs::write(&file, FIRST)?;
    let (image, key) = (disk.image().display().to_string(), file.display().to_string());
    let say = async |words: &[&str]| text(daemon.piccolo(words)?.output().await?);
    let enrolled = say(&["trust", "enrol", &image, "--key-file", &key]).await?;
    ensure!(enrolled.contains("slot 1") && disk.opens(&ours, None).await?, "{enrolled}");
    let made = say(&["trust", "recovery", &image, "--key-file", &key]).await?;
    let recovery = made.lines().find_map(RecoveryKey::parse).context("no recovery key")?;
    ensure!(disk.slots.opens(Some(2), &recovery.text()).await?, "{made}");
    // The journal tells of both, and of no key.
    let journal = daemon.get("/journal?limit=100").await?.to_string();
    ensure!(journal.contains("the TPM opens slot 1") && journal.contains("a recovery key opens slot 2"), "{journal}");
    let seen = journal + &daemon.whole_log();
    ensure!(!seen.contains(FIRST) && !made.lines().any(|it| RecoveryKey::parse(it).is_some() && seen.contains(it)));
    // What opens nothing adds nothing, and a path is never taken for an option.
    fs::write(&file, "wrong")?;
    for words in [["trust", "enrol", &image, "--key-file", &key], ["trust", "recovery", &image, "--key-file", &key]] {
        let refused = daemon.piccolo(&words)?.output().await?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && told.contains("does not open"), "{told}");
    }
    ensure!(disk.slots.tokens().await?.len() == 1);
    daemon.stop().await
}

/// Has the library of `cryptsetup` try the token with the plugin of systemd, as happens when a machine starts, but for the
/// device that would be made. Its way to a chip that is none of the machine's own goes by the plugin's own argument.
pub(super) const UNLOCK: &str = r"
import ctypes, os, sys
class Way(ctypes.Structure):
    _fields_ = [('mask', ctypes.c_uint32), ('device', ctypes.c_char_p), ('signature', ctypes.c_char_p), ('lock', ctypes.c_char_p)]
image, way, *pin = (word.encode() for word in sys.argv[1:])
pin = pin[0] if pin else None
library, disk = ctypes.CDLL('libcryptsetup.so.12'), ctypes.c_void_p()
assert library.crypt_init(ctypes.byref(disk), image) == 0
assert library.crypt_load(disk, b'LUKS2', None) == 0
told, size = Way(0xffffffff, way, os.environb.get(b'SIGNATURES'), None), ctypes.c_size_t(len(pin or b''))
slot = library.crypt_activate_by_token_pin(disk, None, b'systemd-tpm2', -1, pin, size, ctypes.byref(told), 0)
print('slot', slot)
";

async fn systemd_opens(chip: &Chip, image: &Path, pin: Option<&str>) -> anyhow::Result<bool> {
    let mut command = Command::new("python3");
    command.args(["-c", UNLOCK]).arg(image).arg(chip.way()).args(pin);
    let told = text(command.output().await.context("python3 is not installed")?)?;
    flush(chip).await?;
    let slot = told.trim().strip_prefix("slot ").and_then(|it| it.parse::<i32>().ok());
    Ok(slot.with_context(|| format!("it said `{told}`"))? >= 0)
}

/// The tools of systemd leave sessions behind, which a chip without a manager of its resources runs out of.
pub(super) async fn flush(chip: &Chip) -> anyhow::Result<()> {
    for left in ["-t", "-l", "-s"] {
        chip.tool("tpm2_flushcontext", &[left]).await?;
    }
    Ok(())
}

/// Enrols a disk as a person does with the tools of systemd.
async fn cryptenroll(chip: &Chip, image: &Path, pin: Option<&str>) -> anyhow::Result<()> {
    let mut command = Command::new("systemd-cryptenroll");
    command.arg(format!("--tpm2-device={}", chip.way())).arg("--tpm2-pcrs=7").env("PASSWORD", FIRST);
    if let Some(pin) = pin {
        command.arg("--tpm2-with-pin=yes").env("NEWPIN", pin);
    }
    text(command.arg(image).output().await.context("systemd-cryptenroll is not installed")?)?;
    flush(chip).await
}

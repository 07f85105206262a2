//! Encrypted disks on real ones: files of this machine as loop devices. Needs root, `losetup` and `cryptsetup`; where one is
//! missing it says so and looks at nothing. Where the kernel opens no encrypted disk, it is looked how far it comes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use piccolo_agent::{
    host::{
        Disks as _, Secrets as _,
        linux::{Chip, Drives, Keyring, Vault},
    },
    reconcile::{Plan, Reconciler, disk::DiskStep, disk::Disks},
    secrets::{Identity, Plain, seal},
};
use piccolo_schema::{
    Desired, Disk, DiskSpec, SecretSpec,
    disk::{Encryption, Filesystem, Passphrase, Selector},
};
use tempfile::TempDir;
use zeroize::Zeroizing;

const SECRET: &str = "what nobody but the secret says";

fn run(words: &[&str]) -> Output {
    Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// A disk that is a file; it goes with the room.
struct Room {
    dir: TempDir,
    device: String,
}

impl Room {
    fn open() -> Option<Self> {
        let exists =
            |program: &str| ["/sbin", "/usr/sbin", "/usr/bin"].iter().any(|it| Path::new(it).join(program).exists());
        if !["losetup", "cryptsetup", "mkfs.ext4", "wipefs", "lsblk"].iter().all(|it| exists(it)) {
            eprintln!("skipped: a program is missing");
            return None;
        }
        let dir = TempDir::with_prefix("piccolo-encrypted-").unwrap();
        let file = dir.path().canonicalize().unwrap().join("disk");
        fs::File::create(&file).unwrap().set_len(96 << 20).unwrap();
        let output = run(&["losetup", "--find", "--show", file.to_str().unwrap()]);
        if !output.status.success() {
            eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { dir, device })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn wanted(&self) -> (DiskSpec, Desired<Disk>) {
        let passphrase = Passphrase { secret: "disks".to_owned(), key: "films".to_owned() };
        let spec = DiskSpec {
            select: Selector { serial: Some(self.path("disk").display().to_string()), ..Selector::default() },
            filesystem: Filesystem::Ext4,
            mount: Some(self.path("mnt").display().to_string()),
            encryption: Some(Encryption { passphrase: Some(passphrase), ..Encryption::default() }),
            ..DiskSpec::default()
        };
        (spec.clone(), Desired::complete(vec![Disk::new("films", spec)]))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        run(&["umount", self.path("mnt").to_str().unwrap_or_default()]);
        run(&["losetup", "--detach", &self.device]);
        run(&["chattr", "-i", self.path("mnt").to_str().unwrap_or_default()]);
    }
}

async fn plan(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Plan<DiskStep> {
    Disks::<Drives>::plan(desired, &drives.disks().await.unwrap())
}

#[tokio::test]
async fn an_encrypted_disk_is_half_made_until_its_last_step() {
    let Some(room) = Room::open() else { return };
    let identity = Identity::generate();
    let vault = Vault::new(room.path("secrets"), Ok(identity.clone()));
    let keyring = Keyring::new(Chip::new(Some("none")), vault.clone());
    let drives = Drives::open_with(&room.path("state"), keyring);
    let reconciler = Disks(Arc::clone(&drives));
    let (spec, desired) = room.wanted();

    // Without the secret nothing is written at all.
    let first = plan(&drives, &desired).await;
    assert!(first.steps[0].to_string().starts_with("format disk films as encrypted ext4"), "{}", first.steps[0]);
    let refused = reconciler.apply(&first.steps[0]).await.unwrap_err();
    assert!(refused.message.contains("holds no `films`"), "{refused}");
    assert!(fs::read(room.path("disk")).unwrap().iter().all(|byte| *byte == 0), "something was written");

    let sealed = seal(&Plain::new(SECRET.into()), &[identity.recipient()]).unwrap();
    let secret = SecretSpec { data: [("films".to_owned(), sealed)].into(), recipients: Vec::new() };
    vault.write_secret("disks", &secret).await.unwrap();
    let made = reconciler.apply(&first.steps[0]).await;
    let next = plan(&drives, &desired).await;
    match made {
        Ok(()) => assert_eq!(next.steps[0].to_string(), "open disk films"),
        Err(error) => {
            // This kernel opens nothing, which comes after the header.
            eprintln!("as far as it goes: {error}");
            assert!(!error.message.contains(SECRET));
            assert!(next.steps[0].to_string().starts_with("go on to format disk films"), "{}", next.steps[0]);
            let seen = drives.disks().await.unwrap();
            let disk = seen.disks.iter().find(|it| room.device.ends_with(&it.device)).unwrap();
            assert_eq!(disk.whole().unwrap().label.as_deref(), Some("piccolo-half"));
            assert_eq!(disk.luks[0].keys[0].words(), "the secret disks/films");
            // Nobody takes it for a disk of ours, whatever key he has.
            let typed = Zeroizing::new(SECRET.to_owned());
            assert!(drives.unlock("films", &spec, &typed).await.is_err());
        }
    }
    let book = fs::read_to_string(room.path("state/disks/book.json")).unwrap();
    assert!(!book.contains(SECRET));
    drives.unmount_disk("films").await.unwrap();
    assert!(Path::new(&room.device).exists());
}

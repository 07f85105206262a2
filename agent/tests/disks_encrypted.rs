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

#[path = "support/loops.rs"]
mod loops;
#[path = "disks_encrypted/mirrored.rs"]
mod mirrored;
#[path = "disks_encrypted/parted.rs"]
mod parted;
#[path = "support/skip.rs"]
mod skip;
#[path = "disks_encrypted/swap.rs"]
mod swap;

use std::{
    cell::RefCell,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use loops::forget_partitions;
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
use serde_json::{Value, json};
use skip::skipped;
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
    /// Further ones.
    others: Vec<String>,
}

impl Room {
    fn open() -> Option<Self> {
        let exists =
            |program: &str| ["/sbin", "/usr/sbin", "/usr/bin"].iter().any(|it| Path::new(it).join(program).exists());
        if !["losetup", "cryptsetup", "mkfs.ext4", "wipefs", "lsblk"].iter().all(|it| exists(it)) {
            skipped("a program is missing");
            return None;
        }
        let dir = TempDir::with_prefix("piccolo-encrypted-").unwrap();
        let mut room = Self { dir, device: String::new(), others: Vec::new() };
        room.device = room.plug("disk", 96)?;
        Some(room)
    }

    /// Plugs a disk of so many mebibytes in.
    fn plug(&self, name: &str, size: u64) -> Option<String> {
        let file = self.path(name);
        fs::File::create(&file).unwrap().set_len(size << 20).unwrap();
        let output = run(&["losetup", "--find", "--show", file.to_str().unwrap()]);
        if !output.status.success() {
            skipped(String::from_utf8_lossy(&output.stderr));
            return None;
        }
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        // What was a disk of that name before may have left some.
        forget_partitions(&device);
        Some(device)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// Returns the disks as a daemon sees them, and the secret that opens them once it is told.
    fn drives(&self) -> (Arc<Drives>, Hidden) {
        let identity = Identity::generate();
        let vault = Vault::new(self.path("secrets"), Ok(identity.clone()));
        let drives = Drives::open_with(&self.path("state"), Keyring::new(Chip::new(Some("none")), vault.clone()));
        (drives, Hidden { identity, vault })
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

/// A secret that nobody has told yet.
struct Hidden {
    identity: Identity,
    vault: Vault,
}

impl Hidden {
    async fn tell(&self) {
        let sealed = seal(&Plain::new(SECRET.into()), &[self.identity.recipient()]).unwrap();
        let secret = SecretSpec { data: [("films".to_owned(), sealed)].into(), recipients: Vec::new() };
        self.vault.write_secret("disks", &secret).await.unwrap();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        run(&["umount", self.path("mnt").to_str().unwrap_or_default()]);
        for device in self.others.iter().chain([&self.device]) {
            run(&["losetup", "--detach", device]);
        }
        run(&["chattr", "-i", self.path("mnt").to_str().unwrap_or_default()]);
    }
}

async fn plan(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Plan<DiskStep> {
    Disks::<Drives>::plan(desired, &drives.disks().await.unwrap())
}

#[tokio::test]
async fn an_encrypted_disk_is_written_only_with_its_key_and_says_how_far_it_came() {
    let Some(room) = Room::open() else { return };
    let (drives, secret) = room.drives();
    let reconciler = Disks(Arc::clone(&drives));
    let (spec, desired) = room.wanted();

    // Without the secret nothing is written at all.
    let first = plan(&drives, &desired).await;
    assert!(first.steps[0].to_string().starts_with("format disk films as encrypted ext4"), "{}", first.steps[0]);
    let refused = reconciler.apply(&first.steps[0]).await.unwrap_err();
    assert!(refused.message.contains("holds no `films`"), "{refused}");
    assert!(fs::read(room.path("disk")).unwrap().iter().all(|byte| *byte == 0), "something was written");

    secret.tell().await;
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

/// The keys that are met. Each is hard to guess, so that no step is slow on purpose.
const KEYS: [&str; 3] = ["first-0123456789abcdef", "second-0123456789abcdef", "third-0123456789abcdef"];
const UUID: &str = "6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21";

/// An encrypted disk whose keys are changed by `piccolod disks`, as systemd runs it, which is killed right before a step.
struct Cut<'a> {
    room: &'a Room,
    /// Which keys opened it before, each with its token.
    start: &'a [(&'a str, Value)],
    /// The header as it was before, once it was made.
    header: RefCell<Vec<u8>>,
}

/// As much of a header as a few keys take.
const HEADER: usize = 2 << 20;

impl Cut<'_> {
    /// Makes the disk as it was before.
    fn begin(&self) {
        let mut disk = fs::OpenOptions::new().read(true).write(true).open(&self.room.device).unwrap();
        let mut header = self.header.borrow_mut();
        if !header.is_empty() {
            disk.write_all(&header).unwrap();
            return disk.sync_all().unwrap();
        }
        let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let file = self.room.path("key");
        fs::write(&file, KEYS[0]).unwrap();
        let words = ["cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--uuid", UUID, "--key-file"];
        assert!(run(&[&words[..], &[file.to_str().unwrap()], &quick, &[&self.room.device]].concat()).status.success());
        for (key, token) in self.start {
            assert!(self.add(key, token, None), "{key} was not added");
        }
        *header = vec![0; HEADER];
        disk.read_exact(&mut header).unwrap();
    }

    fn add(&self, key: &str, token: &Value, steps: Option<u32>) -> bool {
        self.ask(&json!({ "add": { "with": KEYS[0], "new": key, "is_chosen": false, "token": token } }), steps)
    }

    /// Has it do something with keys; after so many steps it is killed. Returns true if it came to its end and did so.
    fn ask(&self, work: &Value, steps: Option<u32>) -> bool {
        let device = self.room.device.trim_start_matches("/dev/");
        let request = json!({ "keys": { "device": device, "uuid": UUID, "work": work } });
        cut_off(self.room, &request, steps, "").0
    }

    fn opens(&self, key: &str) -> bool {
        let file = self.room.path("key");
        fs::write(&file, key).unwrap();
        let words = ["cryptsetup", "open", "--test-passphrase", "--disable-external-tokens", "--key-file"];
        run(&[&words[..], &[file.to_str().unwrap(), &self.room.device]].concat()).status.success()
    }

    /// Cuts the work off before each of its steps in turn, sees what is there, does it once more to its end, and sees what is
    /// there then. Returns how many steps it has.
    fn at_each_step(&self, work: &Value, between: impl Fn(), after: impl Fn()) -> u32 {
        for steps in 0.. {
            self.begin();
            let is_done = self.ask(work, Some(steps));
            between();
            // What was done already need not be done once more.
            self.ask(work, None);
            after();
            if is_done {
                return steps;
            }
            assert!(steps < 40, "it never ends");
        }
        0
    }
}

/// Has `piccolod disks` do something, which is killed after so many steps, but for those that this word names. Returns whether it
/// came to its end and did so, and whether it was killed.
fn cut_off(room: &Room, request: &Value, steps: Option<u32>, uncounted: &str) -> (bool, bool) {
    let (shim, left) = (room.path("shim"), room.path("left"));
    fs::create_dir_all(&shim).unwrap();
    fs::write(&left, steps.unwrap_or(u32::MAX / 4).to_string()).unwrap();
    let real = ["/sbin/cryptsetup", "/usr/sbin/cryptsetup"].into_iter().find(|it| Path::new(it).exists()).unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = \"{uncounted}\" ] && exec {real} \"$@\"\nleft=$(cat {0})\n[ \"$left\" -gt 0 ] || kill -9 $PPID\n[ \"$left\" -gt 0 ] || exit 1\n\
         echo $((left - 1)) > {0}\nexec {real} \"$@\"\n",
        left.display(),
    );
    let program = shim.join("cryptsetup");
    if fs::read_to_string(&program).unwrap_or_default() != script {
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let path = format!("{}:{}", shim.display(), std::env::var("PATH").unwrap_or_default());
    let mut child = Command::new(env!("CARGO_BIN_EXE_piccolod"))
        .args(["disks", room.path("state").to_str().unwrap()])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success() && answer.get("Ok").is_some(), output.status.code().is_none())
}

/// Who was killed leaves the key in memory that it handed over, until the daemon sweeps.
fn sweep() {
    let homes = ["/run/piccolo/keys", "/dev/shm"].map(|it| fs::read_dir(it).into_iter().flatten().flatten());
    for entry in homes.into_iter().flatten() {
        let is_ours = fs::read_to_string(entry.path()).is_ok_and(|it| KEYS.contains(&it.as_str()));
        if entry.file_name().to_string_lossy().starts_with(".key-") && is_ours {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        sweep();
    }
}

#[test]
fn killed_at_any_step_of_a_change_of_keys_no_way_in_is_lost_and_the_next_one_ends_it() {
    let Some(room) = Room::open() else { return };
    let chip = json!({ "type": "systemd-tpm2", "piccolo_disk": true, "tpm2-pcrs": [7], "tpm2-blob": "", "tpm2-policy-hash": "" });
    let recovery = json!({ "type": "systemd-recovery" });
    let mut moments = 0;

    // A slot is added: the first key always opens, and in the end both do.
    let cut = Cut { room: &room, start: &[], header: RefCell::default() };
    let add = json!({ "add": { "with": KEYS[0], "new": KEYS[1], "is_chosen": false, "token": chip } });
    let first = || assert!(cut.opens(KEYS[0]), "the first key opens no more");
    moments += cut.at_each_step(&add, first, || assert!(cut.opens(KEYS[0]) && cut.opens(KEYS[1])));

    // One is taken away: the other always opens, and in the end it alone does.
    let start = [(KEYS[1], chip.clone())];
    let cut = Cut { room: &room, start: &start, header: RefCell::default() };
    let what = "the TPM (registers 7)";
    let remove = json!({ "remove": { "with": KEYS[0], "slot": 1, "what": what, "proved": false } });
    let first = || assert!(cut.opens(KEYS[0]), "the first key opens no more");
    moments += cut.at_each_step(&remove, first, || assert!(cut.opens(KEYS[0]) && !cut.opens(KEYS[1])));

    // A recovery key is proved: it always opens, and in the end the one before does not.
    let start = [(KEYS[1], recovery.clone()), (KEYS[2], recovery)];
    let cut = Cut { room: &room, start: &start, header: RefCell::default() };
    let prove = json!({ "prove": { "key": KEYS[2], "now": "2026-11-28T12:00:00Z", "kept": false } });
    let new = || assert!(cut.opens(KEYS[0]) && cut.opens(KEYS[2]), "the new recovery key opens no more");
    moments += cut.at_each_step(&prove, new, || assert!(cut.opens(KEYS[2]) && !cut.opens(KEYS[1])));
    eprintln!("killed at {moments} moments");
    assert!(moments >= 12, "killed at {moments} moments only");
}

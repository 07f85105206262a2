//! Disks whose partitions are encrypted, each for itself. Where the kernel opens none, it is looked how far it comes.

use std::{fs, io::Write as _, path::Path, sync::Arc};

use piccolo_agent::{
    host::{
        DiskSeen, Disks as _, Meant, disk_label,
        linux::Drives,
        parted::{HALF_TABLE, table_id},
        swap_label,
    },
    reconcile::{
        Plan, Reconciler as _,
        disk::{Act, DiskStep, Disks},
    },
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Filesystem, Partition, Selector},
    quantity::Bytes,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    KEYS, Room, SECRET, cut_off,
    loops::forget_partitions,
    mirrored::{open_ones, settle},
    plan, run,
    skip::skipped,
    sweep,
};

/// How large the disk is, in mebibytes.
const SIZE: u64 = 160;

/// A disk with partitions, under a name that no other test has: a table is known by the name of its manifest, and disks are seen
/// by all.
struct Shelf {
    room: Room,
    device: String,
    name: String,
    spec: DiskSpec,
}

impl Shelf {
    fn open() -> Option<Self> {
        let mut room = Room::open()?;
        let lacks =
            |program: &&str| !["/sbin", "/usr/sbin", "/usr/bin"].iter().any(|it| Path::new(it).join(program).exists());
        if ["sfdisk", "partx", "mkswap"].iter().any(lacks) {
            skipped("a program is missing that partitions are made with");
            return None;
        }
        let device = room.plug("shelf", SIZE)?;
        room.others.push(device.clone());
        let random = room.dir.path().file_name().unwrap().to_string_lossy().into_owned();
        let name = random.trim_start_matches("piccolo-encrypted-").to_lowercase().replace('_', "-");
        let at = |place: &str| Some(room.path(&format!("mnt-{place}")).display().to_string());
        let part = |name: &str, size: Option<u64>, mount| Partition {
            name: name.to_owned(),
            size: size.map(|it| Bytes::new(it << 20)),
            mount,
            ..Partition::default()
        };
        let partitions = vec![
            Partition { plain: true, ..part("boot", Some(20), at("boot")) },
            Partition { filesystem: Some(Filesystem::Swap), ..part("room", Some(24), None) },
            part("films", Some(40), at("films")),
            part("rest", None, at("rest")),
        ];
        let select = Selector { serial: Some(room.path("shelf").display().to_string()), ..Selector::default() };
        let spec = DiskSpec { select, mount: None, partitions, ..room.wanted().0 };
        Some(Self { room, device, name, spec })
    }

    fn desired(&self) -> Desired<Disk> {
        Desired::complete(vec![Disk::new(&self.name, self.spec.clone())])
    }

    fn meant(&self) -> Meant {
        Meant::Declared { name: self.name.clone(), spec: Box::new(self.spec.clone()) }
    }

    fn key(&self, part: &str) -> String {
        format!("{}/{part}", self.name)
    }

    async fn seen(&self, drives: &Arc<Drives>) -> DiskSeen {
        let seen = drives.disks().await.unwrap();
        seen.disks.into_iter().find(|it| self.device.ends_with(&it.device)).unwrap()
    }

    async fn words(&self, drives: &Arc<Drives>) -> Vec<String> {
        plan(drives, &self.desired()).await.steps.iter().map(ToString::to_string).collect()
    }

    fn sum(&self) -> Vec<u8> {
        run(&["blockdev", "--flushbufs", &self.device]);
        fs::read(self.room.path("shelf")).unwrap()
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for number in 1..5 {
            run(&["umount", &format!("{}p{number}", self.device)]);
        }
        for place in ["boot", "films", "rest"] {
            let at = self.room.path(&format!("mnt-{place}"));
            run(&["umount", at.to_str().unwrap_or_default()]);
            run(&["chattr", "-i", at.to_str().unwrap_or_default()]);
        }
        forget_partitions(&self.device);
    }
}

#[tokio::test]
async fn each_partition_is_encrypted_for_itself_and_half_made_until_the_last_step() {
    let Some(shelf) = Shelf::open() else { return };
    let (drives, secret) = shelf.room.drives();
    let reconciler = Disks(Arc::clone(&drives));
    let neighbour = fs::read(shelf.room.path("disk")).unwrap();
    let first = plan(&drives, &shelf.desired()).await;
    let parts = "into boot (ext4, 20.9 MB), room (encrypted swap, 25.1 MB), films (encrypted ext4, 41.9 MB), rest (encrypted ext4";
    assert!(first.steps[0].to_string().contains(parts), "{}", first.steps[0]);
    // Without the secret nothing is written at all.
    let refused = reconciler.apply(&first.steps[0]).await.unwrap_err();
    assert!(refused.message.contains("holds no `films`"), "{refused}");
    assert!(shelf.sum().iter().all(|byte| *byte == 0), "something was written");

    secret.tell().await;
    let settled = settle(&drives, &shelf.desired()).await;
    let seen = shelf.seen(&drives).await;
    let label = |number: usize| seen.partitions[number].whole().unwrap().label.clone().unwrap();
    assert_eq!([label(0), label(1)], [disk_label(&shelf.key("boot")), swap_label(&shelf.key("room"))]);
    assert!(!fs::read_to_string(shelf.room.path("state/disks/book.json")).unwrap().contains(SECRET));
    if let Err(error) = settled {
        // This kernel opens nothing, which comes after the first header with a key.
        eprintln!("as far as it goes: {error}");
        assert!(!error.contains(SECRET) && open_ones().is_empty());
        assert_eq!((seen.table.as_deref(), &*label(2)), (Some(HALF_TABLE), "piccolo-half"));
        assert_eq!(seen.luks[1].keys[0].words(), "the secret disks/films");
        // Nobody takes it for a disk of ours, whatever key he has, and it goes on where it was.
        let typed = Zeroizing::new(SECRET.to_owned());
        assert!(drives.unlock(&shelf.name, &shelf.spec, &typed).await.is_err());
        let next = shelf.words(&drives).await;
        assert!(next[0].starts_with(&format!("go on to part disk {}", shelf.name)), "{next:?}");
        assert!(settle(&drives, &shelf.desired()).await.is_err());
        assert_eq!(shelf.words(&drives).await, next);
        // Whoever is asked for it under another name leaves it alone.
        let before = shelf.sum();
        let other = Desired::complete(vec![Disk::new("another", shelf.spec.clone())]);
        assert_eq!(settle(&drives, &other).await, Err("HalfMade".to_owned()));
        assert!(shelf.sum() == before, "bytes changed");
    } else {
        opens_grows_and_is_let_go(&shelf, &drives).await;
    }
    assert!(fs::read(shelf.room.path("disk")).unwrap() == neighbour, "the disk beside it changed");
}

/// What is looked at where the kernel opens what is encrypted.
async fn opens_grows_and_is_let_go(shelf: &Shelf, drives: &Arc<Drives>) {
    let at = |number: usize| shelf.spec.partitions[number].mount.clone().unwrap();
    let [films, rest] = [at(2), at(3)];
    for place in [&films, &rest] {
        fs::write(format!("{place}/film"), "a film that nobody else sees").unwrap();
    }
    assert_eq!(open_ones().len(), 3);
    let told = Disks::<Drives>::report(&shelf.desired().manifests, &drives.disks().await.unwrap());
    assert!(told[0].ready && told[0].fields["partitions"][2]["encryption"]["open"] == true, "{told:?}");
    // A start takes all of it away.
    let swap = format!("/dev/mapper/{}", disk_label(&shelf.key("room")));
    assert!(run(&["swapoff", &swap]).status.success());
    for place in [&films, &rest] {
        assert!(run(&["umount", place]).status.success());
    }
    open_ones().iter().for_each(|name| assert!(run(&["cryptsetup", "close", name]).status.success(), "{name}"));
    let [room, films_key, rest_key] = ["room", "films", "rest"].map(|it| shelf.key(it));
    let steps = [
        format!("open disk {room} with a new key, and make swap inside"),
        format!("open disk {films_key}"),
        format!("open disk {rest_key}"),
    ];
    assert_eq!(shelf.words(drives).await, steps);
    assert_eq!(settle(drives, &shelf.desired()).await, Ok(()));
    assert!(fs::read_to_string(format!("{films}/film")).unwrap().starts_with("a film"));
    // The last one fills the disk that has grown, with its encryption.
    let size = || {
        let output = run(&["findmnt", "--noheadings", "--bytes", "--output", "SIZE", &rest]);
        String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
    };
    let before = size();
    fs::OpenOptions::new().write(true).open(shelf.room.path("shelf")).unwrap().set_len((2 * SIZE) << 20).unwrap();
    assert!(run(&["losetup", "--set-capacity", &shelf.device]).status.success());
    assert_eq!(settle(drives, &shelf.desired()).await, Ok(()));
    assert!(size() > before + (SIZE << 20) * 3 / 4, "{before} became {}", size());
    // Let go, all is closed, and nobody else reads it.
    assert_eq!(settle(drives, &Desired::complete(Vec::new())).await, Ok(()));
    assert_eq!(open_ones(), Vec::<String>::new());
    let bytes = shelf.sum();
    assert!(!bytes.windows(12).any(|it| it == b"a film that "), "what is on the disk can be read");
}

/// Makes the table and the headers as they are once all was made, with a key in each.
fn made_by_hand(shelf: &Shelf, keys: [&str; 2]) {
    let script = format!(
        "label: gpt\nlabel-id: {}\nsize=20MiB, name=boot\nsize=24MiB, name=room\nsize=40MiB, name=films\nname=rest\n",
        table_id(&shelf.name)
    );
    let words = ["--quiet", "--no-reread", "--no-tell-kernel", &shelf.device];
    let mut sfdisk =
        std::process::Command::new("sfdisk").args(words).stdin(std::process::Stdio::piped()).spawn().unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    assert!(run(&["partx", "--update", &shelf.device]).status.success());
    for (number, (part, key)) in (3..).zip([("films", keys[0]), ("rest", keys[1])]) {
        locked(&format!("{}p{number}", shelf.device), &disk_label(&shelf.key(part)), &shelf.room.path("key"), key);
    }
}

/// Encrypts a device with this label, which this key opens.
fn locked(device: &str, label: &str, file: &Path, key: &str) {
    fs::write(file, key).unwrap();
    let words = ["cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--label", label, "--key-file"];
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let done = run(&[&words[..], &[file.to_str().unwrap()], &quick, &[device]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn one_recovery_key_opens_each_partition_or_none() {
    let Some(shelf) = Shelf::open() else { return };
    let (drives, secret) = shelf.room.drives();
    secret.tell().await;
    let parts = [3, 4].map(|number| format!("{}p{number}", shelf.device));
    let keys = async || {
        let seen = shelf.seen(&drives).await;
        seen.luks.iter().map(|it| it.keys.clone()).collect::<Vec<_>>()
    };
    // What opens one of them does not open the other: then neither gets a key.
    made_by_hand(&shelf, [SECRET, "what nobody but its owner says"]);
    let refused = drives.recovery_key(&shelf.meant(), None).await.unwrap_err();
    assert!(!refused.message.contains(SECRET), "{refused}");
    assert_eq!(keys().await.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    locked(&parts[1], &disk_label(&shelf.key("rest")), &shelf.room.path("key"), SECRET);

    // What is planned is to open each, and that is all.
    let before = shelf.sum();
    let words = shelf.words(&drives).await;
    let open = ["films", "rest"].map(|it| format!("open disk {}", shelf.key(it)));
    assert_eq!(words, open);
    assert!(shelf.sum() == before, "bytes changed");

    let (slot, key) = drives.recovery_key(&shelf.meant(), None).await.unwrap();
    assert_eq!(slot, None, "each has a number of its own");
    let opens = |device: &str| {
        fs::write(shelf.room.path("key"), key.as_bytes()).unwrap();
        let words = ["cryptsetup", "open", "--test-passphrase", "--disable-external-tokens", "--key-file"];
        run(&[&words[..], &[shelf.room.path("key").to_str().unwrap(), device]].concat()).status.success()
    };
    assert!(parts.iter().all(|it| opens(it)), "the key does not open each");
    assert!(drives.prove_recovery(&shelf.meant(), &Zeroizing::new("wrong".to_owned())).await.is_err());
    assert!(keys().await.iter().flatten().all(|it| it.proved.is_none()));
    drives.prove_recovery(&shelf.meant(), &key).await.unwrap();
    let proved = |keys: &Vec<piccolo_agent::host::KeySeen>| keys.iter().filter(|it| it.proved.is_some()).count();
    assert_eq!(keys().await.iter().map(proved).collect::<Vec<_>>(), [1, 1]);
    // One that the manifest asks for no more, or otherwise, keeps its keys: none is made or proved for the others alone.
    let mut less = shelf.spec.clone();
    less.partitions.pop();
    let mut plain = shelf.spec.clone();
    plain.partitions[3].plain = true;
    for (spec, help) in [(less, "put it into `partitions` again"), (plain, "take `plain` out of it")] {
        let (meant, before) = (Meant::Declared { name: shelf.name.clone(), spec: Box::new(spec) }, keys().await);
        for refused in [
            drives.recovery_key(&meant, None).await.map(drop).unwrap_err(),
            drives.prove_recovery(&meant, &key).await.map(drop).unwrap_err(),
        ] {
            assert!(refused.message.contains("Partition `rest`") && refused.message.contains(help), "{refused}");
        }
        assert_eq!(keys().await, before);
    }
    // While one is not what it should be, there is none for each.
    assert!(run(&["wipefs", "--all", "--force", &parts[1]]).status.success());
    let refused = drives.recovery_key(&shelf.meant(), None).await.unwrap_err();
    assert!(refused.message.contains("A partition is not there"), "{refused}");
    let refused = drives.prove_recovery(&shelf.meant(), &key).await.unwrap_err();
    assert!(refused.message.contains("A partition is not there"), "{refused}");
}

/// Asks for what is planned, with a key for each partition that keeps one.
fn making(shelf: &Shelf, plan: &Plan<DiskStep>) -> Value {
    let Act::Make { order, .. } = &plan.steps[0].act else { panic!("{}", plan.steps[0]) };
    let token = json!({ "type": "systemd-tpm2", "piccolo_disk": true, "tpm2-pcrs": [7], "tpm2-blob": "", "tpm2-policy-hash": "" });
    let key = |key: &str| json!({ "tpm": [key, token], "tang": null, "passphrase": null });
    json!({ "make": { "subject": shelf.name, "order": order, "keys": [key(KEYS[0]), key(KEYS[1])] } })
}

#[tokio::test]
async fn killed_at_any_step_of_the_making_it_goes_on() {
    let mut moments = 0;
    for steps in 0..40 {
        let Some(shelf) = Shelf::open() else { return };
        let (drives, _) = shelf.room.drives();
        let neighbour = fs::read(shelf.room.path("disk")).unwrap();
        let request = making(&shelf, &plan(&drives, &shelf.desired()).await);
        let (is_done, is_killed) = cut_off(&shelf.room, &request, Some(steps), "luksDump");
        // It goes on with the same record, and that is all that is planned.
        let seen = drives.disks().await.unwrap();
        let next = Disks::<Drives>::plan(&shelf.desired(), &seen);
        let words: Vec<String> = next.steps.iter().map(ToString::to_string).collect();
        if !is_done {
            assert!(words.len() == 1 && words[0].starts_with("go on to part disk"), "after {steps}: {words:?}");
            let disk = seen.disks.iter().find(|it| shelf.device.ends_with(&it.device)).unwrap();
            assert!(disk.table.as_deref().is_none_or(|it| it == HALF_TABLE), "it is called whole: {disk:?}");
            let (is_done, _) = cut_off(&shelf.room, &making(&shelf, &next), None, "luksDump");
            let after = shelf.words(&drives).await;
            assert!(is_done || after[0].starts_with("go on to part disk"), "after {steps}: {after:?}");
        }
        assert!(fs::read(shelf.room.path("disk")).unwrap() == neighbour, "the disk beside it changed");
        moments += 1;
        if !is_killed {
            break;
        }
    }
    sweep();
    eprintln!("killed at {moments} moments");
    assert!(moments >= 6, "killed at {moments} moments only");
}

//! Two encrypted disks that hold the same. Where the kernel opens none, it is looked how far it comes.

use std::{fs, path::Path, sync::Arc, time::Duration};

use piccolo_agent::{
    host::{Disks as _, Meant, disk_label, linux::Drives},
    reconcile::{Reconciler as _, disk::Disks},
};
use piccolo_schema::{
    Desired, Disk, DiskSpec,
    disk::{Filesystem, Mirror, Selector},
};
use zeroize::Zeroizing;

use crate::{Room, SECRET, plan, run};

fn mirrored(room: &Room, [one, other]: [&str; 2], degraded: bool) -> DiskSpec {
    let select = |name: &str| Selector { serial: Some(room.path(name).display().to_string()), ..Selector::default() };
    let mirror = Some(Mirror { select: select(other), degraded, wipe: None });
    DiskSpec { select: select(one), mirror, filesystem: Filesystem::Btrfs, ..room.wanted().0 }
}

fn films(spec: DiskSpec) -> Desired<Disk> {
    Desired::complete(vec![Disk::new("films", spec)])
}

fn meant(spec: &DiskSpec) -> Meant {
    Meant::Declared { name: "films".to_owned(), spec: Box::new(spec.clone()) }
}

/// Plans and applies until nothing is left to do; returns why it waits, or what went wrong.
pub(crate) async fn settle(drives: &Arc<Drives>, desired: &Desired<Disk>) -> Result<(), String> {
    let reconciler = Disks(Arc::clone(drives));
    for _ in 0..200 {
        let plan = plan(drives, desired).await;
        for step in &plan.steps {
            reconciler.apply(step).await.map_err(|error| format!("{step}: {error}"))?;
        }
        if !plan.steps.is_empty() {
            continue;
        }
        let seen = drives.disks().await.unwrap();
        let fills = |it: &piccolo_agent::host::PairSeen| it.rebuilt.is_some() || it.moves;
        if !seen.mounts.iter().filter_map(|it| it.pair.as_ref()).any(fills) {
            return plan.waiting.first().map_or(Ok(()), |it| Err(it.reason.clone()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err("it never settles".to_owned())
}

/// What the kernel calls the inside of what is open.
pub(crate) fn open_ones() -> Vec<String> {
    let entries = fs::read_dir("/dev/mapper").into_iter().flatten().flatten();
    entries.filter_map(|it| it.file_name().into_string().ok()).filter(|it| it.starts_with("pic-")).collect()
}

/// Takes everything away that a start of the machine takes away.
fn start_anew(at: &str) {
    assert!(run(&["umount", at]).status.success());
    open_ones().iter().for_each(|name| assert!(run(&["cryptsetup", "close", name]).status.success(), "{name}"));
}

#[tokio::test]
async fn two_encrypted_halves_are_filled_together_and_a_lost_one_anew() {
    let Some(mut room) = Room::open() else { return };
    for name in ["one", "two", "three"] {
        let Some(device) = room.plug(name, 300) else { return };
        room.others.push(device);
    }
    let (drives, secret) = room.drives();
    secret.tell().await;
    let careful = films(mirrored(&room, ["one", "two"], false));
    let first = plan(&drives, &careful).await;
    let steps: Vec<String> = first.steps.iter().map(ToString::to_string).collect();
    assert!(steps.len() == 2 && steps[1].starts_with("encrypt a half of disk films"), "{steps:?}");
    if let Err(error) = settle(&drives, &careful).await {
        // This kernel opens nothing, which comes after the first header.
        eprintln!("as far as it goes: {error}");
        assert!(!error.contains(SECRET) && open_ones().is_empty());
        let next = plan(&drives, &careful).await;
        assert!(next.steps[0].to_string().starts_with("go on to encrypt a half of disk films"), "{}", next.steps[0]);
        assert!(fs::read(room.path("three")).unwrap().iter().all(|byte| *byte == 0), "something was written");
        return;
    }
    let at = careful.manifests[0].spec.mount.clone().unwrap();
    fs::write(format!("{at}/film"), "a film").unwrap();
    assert_eq!(open_ones().len(), 2);
    let seen = drives.disks().await.unwrap();
    assert_eq!(seen.disks.iter().filter(|it| it.mounted.contains(&at)).count(), 2, "both are in use");

    // Both are opened again, and while one is missing that is waited for, or not.
    start_anew(&at);
    assert_eq!(settle(&drives, &careful).await, Ok(()));
    assert_eq!(fs::read_to_string(format!("{at}/film")).unwrap(), "a film");
    start_anew(&at);
    assert!(run(&["losetup", "--detach", &room.others[1]]).status.success());
    assert_eq!(settle(&drives, &careful).await, Err("HalfMissing".to_owned()));
    assert_eq!(settle(&drives, &films(mirrored(&room, ["one", "two"], true))).await, Ok(()));
    fs::write(format!("{at}/later"), "later").unwrap();

    // It is back, and filled anew; then another one takes the place of the first.
    let output = run(&["losetup", "--find", "--show", room.path("two").to_str().unwrap()]);
    room.others[1] = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(settle(&drives, &careful).await, Ok(()));
    assert_eq!(settle(&drives, &films(mirrored(&room, ["three", "two"], false))).await, Ok(()));
    assert_eq!(open_ones().len(), 2, "what is a part of it no more stays open");
    start_anew(&at);
    assert_eq!(settle(&drives, &films(mirrored(&room, ["two", "three"], false))).await, Ok(()));
    assert_eq!(fs::read_to_string(format!("{at}/later")).unwrap(), "later");

    // Let go, it is closed, and nobody else reads it.
    assert_eq!(settle(&drives, &Desired::complete(Vec::new())).await, Ok(()));
    assert_eq!(open_ones(), Vec::<String>::new());
    let bytes = fs::read(room.path("three")).unwrap();
    assert!(!bytes.windows(6).any(|it| it == b"a film"), "what is on the disk can be read");
}

/// Encrypts a disk as a half of this manifest, which this key opens.
fn half(device: &str, manifest: &str, file: &Path, key: &str) {
    fs::write(file, key).unwrap();
    let label = disk_label(manifest);
    let words = ["cryptsetup", "luksFormat", "--type", "luks2", "--batch-mode", "--label", &label, "--key-file"];
    let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let done = run(&[&words[..], &[file.to_str().unwrap()], &quick, &[device]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn one_recovery_key_opens_both_halves_or_neither() {
    let Some(mut room) = Room::open() else { return };
    let Some(other) = room.plug("other", 96) else { return };
    room.others.push(other.clone());
    let (drives, secret) = room.drives();
    secret.tell().await;
    let spec = mirrored(&room, ["disk", "other"], false);
    let slots = async || {
        let seen = drives.disks().await.unwrap();
        let of = |device: &String| seen.disks.iter().find(|it| device.ends_with(&it.device)).unwrap().luks[0].clone();
        [&room.device, &other].map(|it| of(it).keys)
    };
    let file = room.path("key");
    half(&room.device, "films", &file, SECRET);
    // What opens one of them does not open the other: then neither gets a key.
    half(&other, "films", &file, "what nobody but its owner says");
    let refused = drives.recovery_key(&meant(&spec), None).await.unwrap_err();
    assert!(!refused.message.contains(SECRET), "{refused}");
    assert_eq!(slots().await.map(|it| it.len()), [1, 1]);

    half(&other, "films", &file, SECRET);
    let (_, key) = drives.recovery_key(&meant(&spec), None).await.unwrap();
    let opens = |device: &str| {
        fs::write(&file, key.as_bytes()).unwrap();
        let words = ["cryptsetup", "open", "--test-passphrase", "--disable-external-tokens", "--key-file"];
        run(&[&words[..], &[file.to_str().unwrap(), device]].concat()).status.success()
    };
    assert!(opens(&room.device) && opens(&other), "the key does not open both");
    let wrong = Zeroizing::new("wrong".to_owned());
    assert!(drives.prove_recovery(&meant(&spec), &wrong).await.is_err());
    assert!(slots().await.iter().flatten().all(|it| it.proved.is_none()));
    drives.prove_recovery(&meant(&spec), &key).await.unwrap();
    let proved = slots().await.map(|keys| keys.iter().filter(|it| it.proved.is_some()).count());
    assert_eq!(proved, [1, 1]);
    // A copy of one is not the other.
    let uuid = run(&["cryptsetup", "luksUUID", &room.device]);
    let uuid = String::from_utf8(uuid.stdout).unwrap().trim().to_owned();
    assert!(run(&["cryptsetup", "luksUUID", "--batch-mode", "--uuid", &uuid, &other]).status.success());
    let refused = drives.recovery_key(&meant(&spec), None).await.unwrap_err();
    assert!(refused.message.contains("the same header"), "{refused}");
    // While one is missing there is none for both.
    assert!(run(&["losetup", "--detach", &other]).status.success());
    let refused = drives.recovery_key(&meant(&spec), None).await.unwrap_err();
    assert!(refused.message.contains("is missing"), "{refused}");
}

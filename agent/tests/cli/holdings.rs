//! What is done to a machine that others use, and to what lies on its disks.

use std::{fs, os::unix::fs::PermissionsExt};

use piccolo_schema::parse::parse;

use crate::{machine::Machine, support};

#[tokio::test]
async fn images_go_and_come_as_files() {
    let machine = Machine::open().await;
    let app =
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"app\"\nspec.reference = \"app:1\"\n";
    machine.write("app.toml", app);
    machine.run(&["apply", "-f", "app.toml"]).await.is(0, "image/app created\n", "");
    let told = "app exported, 7B, sha256:a\n";
    machine.run(&["image", "export", "image/app", "saved.tar"]).await.is(0, "", told);
    assert_eq!(fs::read_to_string(machine.house.dir.path().join("saved.tar")).unwrap(), "archive");
    machine.run(&["image", "export", "app:1", "-"]).await.is(0, "archive", &told.replace("app ", "app:1 "));
    let missing = machine.run(&["image", "export", "app:2", "none.tar"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (3, ""), "{}", missing.err);
    assert!(missing.err.starts_with("error: there is no image app:2 on this machine\n help: "), "{}", missing.err);
    assert!(
        !machine.house.dir.path().join("none.tar").exists() && !machine.house.dir.path().join("none.tar.part").exists()
    );

    machine.run(&["image", "import", "saved.tar"]).await.is(0, "app:7 imported, sha256:b\n", "");
    machine.run(&["image", "import", "saved.tar", "--as", "a/b:1"]).await.is(0, "a/b:1 imported, sha256:b\n", "");
    // More than the other paths take.
    let large = format!("archive{}", " ".repeat(3 << 20));
    let piped = machine.run_with(&["image", "import", "-"], &[], &large).await;
    piped.is(0, &format!("app:{} imported, sha256:b\n", large.len()), "");
    let refused = machine.run_with(&["image", "import", "-"], &[], "junk").await;
    refused.is(1, "", "error: The archive can't be used: it is no tar\n");
    let none = machine.run(&["image", "import", "none.tar"]).await;
    assert_eq!(none.code, 1, "{}", none.err);
    let folder = machine.run(&["image", "import", "."]).await;
    assert!(folder.code == 1 && folder.err.contains("can't be read to its end: Is a directory"), "{}", folder.err);
}

#[tokio::test]
async fn what_others_run_is_written_down_and_secrets_are_for_the_owner_alone() {
    let machine = Machine::open().await;
    let printed = machine.run(&["capture"]).await;
    assert!(printed.code == 7 && printed.out.contains("ADMIN_PASSWORD = \"hunter2\""), "{}", printed.out);
    assert!(!printed.err.contains("hunter2"), "{}", printed.err);
    assert!(printed.err.contains("`ADMIN_PASSWORD` can be read by all who"), "{}", printed.err);
    assert!(printed.err.contains("Config.Tty              there is no terminal"), "{}", printed.err);
    let written = machine.run(&["capture", "--out", "captured"]).await;
    assert!(written.code == 7 && written.out.ends_with("1 manifest(s) written; look at them, then `piccolo plan`.\n"));
    let file = machine.house.dir.path().join("captured/containers/their-web.toml");
    assert!(parse(&fs::read_to_string(&file).unwrap()).is_ok());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = machine.run(&["capture", "--out", "captured"]).await;
    assert!(again.code == 2 && again.err.contains("is there already; nothing was written"), "{}", again.err);
}

#[tokio::test]
async fn what_would_be_lost_is_not_taken_over_unless_that_is_accepted() {
    let machine = Machine::open().await;
    let refused = machine.run(&["adopt", "container", "their_web"]).await;
    let words = "a manifest can't say all that `their_web` is: Config.Tty: there is no terminal";
    assert!(refused.code == 5 && refused.err.contains(words), "{}", refused.err);
    assert!(refused.err.contains("`--accept-loss` if that is meant") && refused.out.is_empty(), "{}", refused.err);
    let adopted = machine.run(&["adopt", "container/their_web", "--accept-loss"]).await;
    assert_eq!(adopted.out, "container/their-web adopted, which was called their_web\n", "{}", adopted.err);
    assert!(machine.house.read("containers/their-web.toml").contains("hunter2") && !adopted.err.contains("hunter2"));
    machine.run(&["adopt", "network", "x"]).await.is(2, "", "error: only a container can be adopted\n");
}

#[tokio::test]
async fn the_system_of_a_stick_comes_onto_a_disk_with_leave_alone() {
    let machine = Machine::open().await;
    let list =
        "SERIAL          DISK          HOLDS    INSTALL\nS4EVNX0N123456  a disk, 8 GB  nothing  yes, it is blank\n";
    machine.run(&["install"]).await.is(0, list, "");
    let refused = "1 of 1  marking S4EVNX0N123456\nerror: S4EVNX0N123456: it is not blank\n help: `piccolo install` lists the disks\n";
    machine.run(&["install", "S4EVNX0N123456"]).await.is(5, "", refused);
    machine.write("install.toml", "serial = \"S4EVNX0N123456\"\n");
    machine.run(&["install", "--seed", "install.toml"]).await.is(5, "", refused);
    let both = refused.replace("S4EVNX0N123456", "S4EVNX0N123456 and S5");
    machine.run(&["install", "S4EVNX0N123456", "S5"]).await.is(5, "", &both);
    machine.write("install.toml", "serial = \"S4EVNX0N123456\"\nmirror = { serial = \"S5\" }\n");
    machine.run(&["install", "--seed", "install.toml"]).await.is(5, "", &both);
    let other = machine.run(&["install", "S4EVNX0N123456", "--erase", "--serial", "S5"]).await;
    assert!(other.code == 5 && other.err.contains("`S5` is not the serial number"), "{}", other.err);
    // Where nobody can be asked, nobody is taken to have said yes.
    assert_eq!(machine.run(&["install", "S4EVNX0N123456", "--erase"]).await.code, 2);
    let done = machine.run(&["install", "S4EVNX0N123456", "--erase", "--serial", "S4EVNX0N123456"]).await;
    assert_eq!((done.code, done.out.as_str()), (0, "key-of-wipe-0123456789abcdef01234567\n"), "{}", done.err);
    assert!(done.err.ends_with("S4EVNX0N123456 holds the system\n"), "{}", done.err);

    // So does a disk in the place of a lost one.
    let replace = ["disk", "replace", "--state", "S4EVNX0N123456"];
    let refused = refused.replace("`piccolo install` lists", "`piccolo disk list` shows");
    machine.run(&replace).await.is(5, "", &refused);
    assert_eq!(machine.run(&["disk", "replace", "S4EVNX0N123456"]).await.code, 2);
    let erase = |serial| [&replace[..], &["--erase", "--serial", serial]].concat();
    let other = machine.run(&erase("S5")).await;
    assert!(other.code == 5 && other.err.contains("`S5` is not the serial number"), "{}", other.err);
    let done = machine.run(&erase("S4EVNX0N123456")).await;
    assert!(done.code == 0 && done.err.ends_with("S4EVNX0N123456 holds the system\n"), "{}", done.err);
}

#[tokio::test]
async fn a_machine_is_reset_by_whoever_types_its_name_and_not_by_default() {
    let machine = Machine::open().await;
    let disks = "SERIAL  DISK  HOLDS\nWD-1    WD-1  ext4 \"photos\"\n";
    let none = "no reset is ordered; say `--keep-data`, or `--erase-data DISK` for disks of these\n";
    machine.run(&["reset"]).await.is(0, &format!("{none}{disks}"), "");
    machine.run(&["reset", "--cancel"]).await.is(0, "no reset was ordered\n", "");
    // Where nobody can be asked, nobody is taken to have said yes, and nothing is said by saying both.
    assert_eq!(machine.run(&["reset", "--keep-data"]).await.code, 2);
    assert_eq!(machine.run(&["reset", "--keep-data", "--erase-data", "WD-1", "--name", "attic"]).await.code, 2);
    assert_eq!(machine.run(&["reset", "--erase-data", "WD-1", "--name", "attic"]).await.code, 2);
    let other = machine.run(&["reset", "--keep-data", "--name", "cellar"]).await;
    assert!(other.code == 5 && other.err.contains("`cellar` is not the name of this machine"), "{}", other.err);
    let status = machine.run(&["status"]).await;
    assert!(!status.out.contains("ResetPending"), "{}", status.out);

    let told = "its next start makes it as new; `piccolo reset --cancel` takes that back\n";
    let ordered = machine.run(&["reset", "--erase-data", "WD-1", "--serial", "WD-1", "--name", "attic"]).await;
    assert_eq!((ordered.code, ordered.out.as_str()), (0, told), "{}", ordered.err);
    let shown = machine.run(&["reset"]).await;
    let pending = "! The next start forgets all that this machine knows, and erases WD-1\n  if it is not meant: piccolo reset --cancel\n";
    shown.is(0, &format!("{pending}{disks}"), "");
    let status = machine.run(&["status"]).await;
    let line = "! The next start forgets all that this machine knows, and erases WD-1 (ResetPending)\n  if it is not meant: piccolo reset --cancel\n";
    assert!(status.out.ends_with(line), "{}", status.out);
    let overview = machine.house.get("/overview").await.json();
    assert_eq!(overview["waits"][0]["reason"], "ResetPending", "{overview}");
    machine.run(&["reset", "--cancel"]).await.is(0, "the next start is an ordinary one\n", "");
    machine.run(&["reset"]).await.is(0, &format!("{none}{disks}"), "");
    // It is told when the machine does not start anew by itself.
    let restart = machine.run(&["reset", "--keep-data", "--name", "attic", "--restart"]).await;
    assert!(restart.code == 5 && restart.err.contains("it goes on"), "{}", restart.err);
    assert!(restart.err.contains("the reset is ordered, but") && restart.err.contains("--cancel"), "{}", restart.err);
    // Nothing starts anew, and nobody's name is taken, without a word of data.
    assert_eq!(machine.run(&["reset", "--restart"]).await.code, 2);
    assert_eq!(machine.run(&["reset", "--name", "attic"]).await.code, 2);
}

#[tokio::test]
async fn a_key_of_an_encrypted_disk_is_shown_once_and_counts_when_it_is_typed() {
    let machine = Machine::open().await;
    let missing = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert!(missing.code == 3 && missing.err.contains("not found"), "{}", missing.err);
    let disk = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Disk\"\nmetadata.name = \"papers\"\n[spec]\n\
                select = { serial = \"A1\" }\nfilesystem = \"ext4\"\nmount = \"/srv/papers\"\n";
    machine.write("papers.toml", disk);
    assert_eq!(machine.run(&["apply", "-f", "papers.toml"]).await.code, 0);
    let plain = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert!(plain.code == 5 && plain.err.contains("has no `encryption`"), "{}", plain.err);
    machine.write("papers.toml", &format!("{disk}encryption = {{ tpm2 = {{}} }}\n"));
    assert_eq!(machine.run(&["apply", "-f", "papers.toml"]).await.code, 0);

    let key = support::willing::recovery_key();
    let made = machine.run(&["disk", "recovery-key", "papers"]).await;
    assert_eq!((made.code, made.out.as_str()), (0, format!("{key}\n").as_str()), "{}", made.err);
    assert!(made.err.contains("piccolo disk recovery-key papers --check"), "{}", made.err);
    // As a person types it.
    let check = ["disk", "recovery-key", "papers", "--check"];
    machine.run_with(&check, &[], &format!("{key}\n")).await.is(
        0,
        "it opens slot 2 of disk `papers`; any other recovery key of it is worth nothing\n",
        "",
    );
    let wrong = machine.run_with(&check, &[], "wrong\n").await;
    assert!(wrong.code == 5 && wrong.err.contains("no recovery key") && !wrong.err.contains("wrong"), "{}", wrong.err);
    assert_eq!(machine.run_with(&check, &[], "").await.code, 2);
    // Another one can be made by the one that a person has, and the disk be bound to another start by it.
    let again = machine.run_with(&["disk", "recovery-key", "papers", "--ask-key"], &[], &format!("{key}\n")).await;
    assert_eq!((again.code, again.out.as_str()), (0, format!("{key}\n").as_str()), "{}", again.err);
    let bind = ["disk", "reseal", "papers", "--yes"];
    let moved = "the TPM opens slot 3 of disk `papers`; slot 0 is gone\n";
    machine.run_with(&bind, &[], &format!("{key}\n")).await.is(0, moved, "");
    let wrong = machine.run_with(&bind, &[], "wrong\n").await;
    assert!(wrong.code == 5 && !wrong.err.contains("wrong"), "{}", wrong.err);
    let unasked = machine.run_with(&bind[..3], &[], &format!("{key}\n")).await;
    assert!(unasked.code == 2 && unasked.err.contains("--yes"), "{}", unasked.err);
    let opened = machine.run_with(&["disk", "unlock", "papers"], &[], &format!("{key}\n")).await;
    opened.is(0, "", "disk `papers` is open; it is mounted in a moment\n");
    assert_eq!(machine.run_with(&["disk", "unlock", "papers"], &[], "wrong\n").await.code, 5);
}

#[tokio::test]
async fn of_several_partitions_no_slot_stands_for_all() {
    let machine = Machine::open().await;
    let part = |name: &str| format!("[[spec.partitions]]\nname = \"{name}\"\nmount = \"/srv/{name}\"\n");
    let disk = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Disk\"\nmetadata.name = \"shelf\"\n[spec]\n\
                select = { serial = \"A1\" }\nfilesystem = \"ext4\"\nencryption = { tpm2 = {} }\n";
    machine.write("shelf.toml", &format!("{disk}{}size = \"1Gi\"\n{}", part("films"), part("papers")));
    let applied = machine.run(&["apply", "-f", "shelf.toml"]).await;
    assert_eq!(applied.code, 0, "{}", applied.err);
    let typed = format!("{}\n", support::willing::recovery_key());
    let proved = "it opens disk `shelf`; any other recovery key of it is worth nothing\n";
    machine.run_with(&["disk", "recovery-key", "shelf", "--check"], &[], &typed).await.is(0, proved, "");
    let moved = "the TPM opens slot 3 of disk `shelf` (partition `films`); slot 0 is gone\n";
    machine.run_with(&["disk", "reseal", "shelf", "--yes"], &[], &typed).await.is(0, moved, "");
    // What one key leaves shut is told, though it opens something.
    let partly = machine.run_with(&["disk", "unlock", "shelf"], &[], "of one partition\n").await;
    assert!(
        partly.code == 5 && partly.err.contains("only a part of the disk: /dev/sdb2"),
        "{}: {}",
        partly.code,
        partly.err
    );
    // A right one is no guess, whatever it left undone.
    for _ in 0..6 {
        let kept = machine.run_with(&["disk", "unlock", "shelf"], &[], "without a TPM\n").await;
        assert!(kept.code == 5 && kept.err.contains("a key was not added"), "{}: {}", kept.code, kept.err);
    }
    machine.run_with(&["disk", "unlock", "shelf"], &[], &typed).await.is(
        0,
        "",
        "disk `shelf` is open; it is mounted in a moment\n",
    );
}

#[tokio::test]
async fn whoever_guesses_at_keys_has_to_wait() {
    let machine = Machine::open().await;
    let (key, unlock) = (format!("{}\n", support::willing::recovery_key()), ["disk", "unlock", "papers"]);
    let disk = "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Disk\"\nmetadata.name = \"papers\"\n[spec]\n\
                select = { serial = \"A1\" }\nfilesystem = \"ext4\"\nmount = \"/srv/papers\"\nencryption = { tpm2 = {} }\n";
    machine.write("papers.toml", disk);
    assert_eq!(machine.run(&["apply", "-f", "papers.toml"]).await.code, 0);
    // A right one forgives those before it.
    for typed in ["wrong\n", "wrong\n", &key, "wrong\n", "wrong\n", "wrong\n", "wrong\n", "wrong\n"] {
        let tried = machine.run_with(&unlock, &[], typed).await;
        assert_eq!(tried.code, if *typed == *key { 0 } else { 5 }, "{}", tried.err);
    }
    for words in [&unlock[..], &["disk", "recovery-key", "papers", "--check"], &["disk", "reseal", "papers", "--yes"]] {
        let late = machine.run_with(words, &[], &key).await;
        assert!(late.code != 0 && late.err.contains("too many tries; wait "), "{}: {}", late.code, late.err);
    }
    let body = serde_json::json!({ "disk": "papers", "key": key.trim() }).to_string();
    let answer = machine.house.send("POST", "/disks/unlock", &[("content-type", "application/json")], body).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=4).contains(&wait), "{wait}");
    // What the machine opens it with itself, and other disks, wait for nobody.
    assert_eq!(machine.run(&["disk", "recovery-key", "papers"]).await.code, 0);
    assert_eq!(machine.run_with(&["disk", "recovery-key", "--state", "--check"], &[], &key).await.code, 0);
}

#[tokio::test]
async fn the_systems_own_disk_has_the_same_commands() {
    let machine = Machine::open().await;
    let key = support::willing::recovery_key();
    let made = machine.run(&["disk", "recovery-key", "--state"]).await;
    assert_eq!((made.code, made.out.as_str()), (0, format!("{key}\n").as_str()), "{}", made.err);
    assert!(made.err.contains("piccolo disk recovery-key --state --check"), "{}", made.err);
    let typed = format!("{key}\n");
    let proved = "it opens slot 2 of the state of the system; any other recovery key of it is worth nothing\n";
    machine.run_with(&["disk", "recovery-key", "--state", "--check"], &[], &typed).await.is(0, proved, "");
    let moved = "the TPM opens slot 3 of the state of the system; slot 0 is gone\n";
    machine.run_with(&["disk", "reseal", "--state", "--yes"], &[], &typed).await.is(0, moved, "");
    // Whose keys are meant is said once.
    for words in [&["disk", "reseal", "--yes"][..], &["disk", "reseal", "papers", "--state", "--yes"]] {
        assert_eq!(machine.run_with(words, &[], &typed).await.code, 2, "{words:?}");
    }
}

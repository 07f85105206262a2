//! The key of a machine, and values that only it can read.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{fs, os::unix::fs::PermissionsExt};

use piccolo_agent::secrets::{Identity, IdentityError, OpenError, Plain, Recipient, seal};
use tempfile::TempDir;

fn plain(text: &str) -> Plain {
    Plain::new(text.into())
}

#[test]
fn a_key_is_made_once_and_for_root_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state/identity.age");
    let made = Identity::read_or_make(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Identity::read_or_make(&path).unwrap().recipient(), made.recipient());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "something was left beside it");
}

#[test]
fn a_key_file_that_is_broken_is_never_written_over() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("identity.age");
    for text in ["", "# nothing\n", "AGE-SECRET-KEY-1BROKEN\n"] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Identity::read_or_make(&path).unwrap_err();
        assert!(matches!(error, IdentityError::NoKey(_)), "{error}");
        assert!(!error.to_string().contains("BROKEN"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Identity::read_or_make(&path), Err(IdentityError::Open(_))));
}

#[test]
fn many_starts_at_once_agree_on_one_key() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("identity.age");
    let start = || Identity::read_or_make(&path).unwrap().recipient().to_string();
    let all: Vec<String> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        starts.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(all.iter().all(|it| *it == all[0]), "{all:?}");
}

#[test]
fn whoever_it_is_encrypted_for_can_read_it_and_nobody_else() {
    let (machine, recovery, other) = (Identity::generate(), Identity::generate(), Identity::generate());
    let armour = seal(&plain("one"), &[machine.recipient(), recovery.recipient()]).unwrap();
    assert!(!armour.contains("one") && armour.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    assert_eq!(machine.open(&armour).unwrap(), plain("one"));
    assert_eq!(recovery.open(&format!("\n{armour}\n\n")).unwrap(), plain("one"));
    assert_eq!(other.open(&armour).unwrap_err(), OpenError::NotForUs);
    assert_ne!(seal(&plain("one"), &[machine.recipient()]).unwrap(), armour, "two of one value must not look alike");
    assert!(seal(&plain("one"), &[]).is_err());
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let machine = Identity::generate();
    let armour = seal(&plain(&"a secret that is long ".repeat(20)), &[machine.recipient()]).unwrap();
    for (at, was) in armour.char_indices().filter(|(_, was)| was.is_ascii_alphanumeric()) {
        let mut damaged = armour.clone();
        damaged.replace_range(at..=at, if was == 'A' { "B" } else { "A" });
        assert!(machine.open(&damaged).is_err(), "changed at {at}");
    }
    for end in (0..armour.trim_end().len()).step_by(7) {
        assert!(machine.open(&armour[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_digest_tells_values_apart_on_this_machine_alone() {
    let (machine, other) = (Identity::generate().digest_key(), Identity::generate().digest_key());
    assert_eq!(machine.digest(&plain("one")), machine.digest(&plain("one")));
    assert_ne!(machine.digest(&plain("one")), machine.digest(&plain("two")));
    assert_ne!(machine.digest(&plain("one")), other.digest(&plain("one")));
}

#[test]
fn nothing_secret_can_be_printed() {
    let machine = Identity::generate();
    let words = format!("{:?} {machine:?} {:?}", plain("hunter2"), machine.digest_key());
    assert!(!words.contains("hunter2") && !words.contains("104") && !words.contains("SECRET"), "{words}");
    let pasted = "AGE-SECRET-KEY-1HUNTER2".parse::<Recipient>().unwrap_err();
    assert!(!pasted.contains("HUNTER2"), "{pasted}");
}

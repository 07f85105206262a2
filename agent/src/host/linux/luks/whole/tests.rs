#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what is wrong, or that it was skipped")]

use std::fs::File;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::host::linux::vault::is_in_memory;

const TEXT: &str = r#"{"keyslots":{"0":{"type":"luks2"},"10":{"type":"luks2"},"2":{},"3":{}},"tokens":{
    "0":{"type":"systemd-tpm2","keyslots":["0"],"tpm2-pcrs":[7],"piccolo_disk":true},
    "1":{"type":"systemd-recovery","keyslots":["2"],"piccolo_proved":"2026-11-20T10:00:00Z"},
    "2":{"type":"piccolo-passphrase","keyslots":["3"],"secret":"disks/media"},
    "3":{"type":"other","keyslots":["9"]}}}"#;

#[test]
fn a_header_tells_what_opens_its_slots() {
    let seen = keys(&serde_json::from_str(TEXT).unwrap());
    let told: Vec<(u8, OpenedBy)> = seen.iter().map(|it| (it.slot, it.by)).collect();
    let by = [OpenedBy::Tpm2, OpenedBy::Recovery, OpenedBy::Passphrase, OpenedBy::Unknown];
    assert_eq!(told, [0, 2, 3, 10].into_iter().zip(by).collect::<Vec<_>>());
    assert_eq!(seen[0].pcrs, "7".parse().ok());
    // One that somebody else enrolled is a slot of the TPM, and no more is known of it.
    let theirs = keys(&serde_json::from_str(&TEXT.replace(",\"piccolo_disk\":true", "")).unwrap());
    assert_eq!((theirs[0].by, theirs[0].pcrs), (OpenedBy::Tpm2, None));
    assert!(seen[1].proved.is_some() && seen[2].secret.as_deref() == Some("disks/media"));
    assert_eq!(numbers_of(&serde_json::from_str(TEXT).unwrap(), 2), ["1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_breaks_it(at in 0..TEXT.len(), what in "\\PC{0,8}") {
        let text = format!("{}{what}{}", &TEXT[..at], &TEXT[at..]);
        if let Ok(header) = serde_json::from_str(&text) {
            drop(keys(&header));
            drop(numbers_of(&header, 2));
        }
    }
}

/// A disk that is a file; none where it can't be one.
fn disk() -> Option<(TempDir, Slots)> {
    let memory = Path::new("/dev/shm");
    let has = ["/sbin", "/usr/sbin"].iter().any(|home| Path::new(home).join(CRYPTSETUP).exists());
    if !has || !is_in_memory(memory).unwrap_or_default() {
        eprintln!("skipped: there is no cryptsetup, or no memory to hand keys over in");
        return None;
    }
    let home = TempDir::with_prefix_in("piccolo-luks-", memory).unwrap();
    File::create_new(home.path().join("disk")).unwrap().set_len(32 << 20).unwrap();
    let slots = Slots::new(home.path().join("disk"), home.path().to_owned());
    Some((home, slots))
}

fn plain(text: &str) -> Plain {
    Plain::new(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_recovery_key_counts_once_it_was_typed_and_the_one_before_goes_then() {
    let Some((home, slots)) = disk() else { return };
    let (first, secret) = (plain("what the TPM gave back"), plain("a passphrase in a secret"));
    slots.format(&first, Strength::Random, "piccolo-half").await.unwrap();
    let token =
        json!({ "type": token::TYPE, "piccolo_disk": true, "tpm2-pcrs": [7], "tpm2-blob": "", "tpm2-policy-hash": "" });
    slots.tell(0, token).await.unwrap();
    let passphrase = json!({ "type": PASSPHRASE, "secret": "disks/media" });
    let slot = slots.add_with(&first, &secret, Strength::Chosen, passphrase).await.unwrap();
    assert!(slots.opens(Some(slot), &secret).await.unwrap());
    // What opens nothing adds nothing.
    assert!(slots.recovery_key(&plain("another")).await.is_err());
    let told = async || {
        let seen = slots.keys().await.unwrap();
        seen.iter().map(|it| format!("{} {} {}", it.slot, it.words(), it.proved.is_some())).collect::<Vec<_>>()
    };
    let before = ["0 the TPM (registers 7) false", "1 the secret disks/media false"];
    assert_eq!(told().await, before);

    let (one, old) = slots.recovery_key(&first).await.unwrap();
    assert_eq!(told().await[2], "2 a recovery key false");
    let now: jiff::Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    assert!(slots.prove(&secret, now, false).await.is_err(), "a passphrase is taken for a recovery key");
    assert_eq!(slots.prove(&old.text(), now, false).await.unwrap(), one);
    assert_eq!(told().await[2], "2 a recovery key true");
    // Another one is made with it, and until somebody has typed that, both open the disk.
    let (two, new) = slots.recovery_key(&old.text()).await.unwrap();
    assert!(slots.opens(Some(one), &old.text()).await.unwrap() && slots.opens(Some(two), &new.text()).await.unwrap());
    assert_eq!(slots.prove(&new.text(), now, false).await.unwrap(), two);
    assert!(!slots.opens(None, &old.text()).await.unwrap() && slots.opens(Some(two), &new.text()).await.unwrap());
    // Typed once more it stays what it is.
    assert_eq!(slots.prove(&new.text(), now, false).await.unwrap(), two);
    assert_eq!(told().await, [&before[..], &["3 a recovery key true"]].concat());

    slots.kill(0, &new.text()).await.unwrap();
    slots.kill(slot, &new.text()).await.unwrap();
    assert_eq!(told().await, ["3 a recovery key true"]);
    let header = slots.header().await.unwrap();
    assert_eq!(header["tokens"].as_object().unwrap().len(), 1, "a token was left: {header}");
    slots.label("pic-721c9525").await.unwrap();
    assert!(slots.opens(Some(3), &new.text()).await.unwrap());
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "a key was left in a file: {left:?}");
}

#[tokio::test]
async fn a_passphrase_whose_token_was_never_written_gets_it_and_recovery_keys_of_an_owner_stay() {
    let Some((_home, slots)) = disk() else { return };
    let (first, second) = (plain("what the TPM gave back"), plain("a passphrase in a secret"));
    slots.format(&first, Strength::Random, "pic-721c9525").await.unwrap();
    // One that a person added stays his, also if it has the same value.
    let theirs = slots.add_as(&first, &second, &Strength::Random.words()).await.unwrap();
    slots
        .import(&json!({ "type": INTENT, "keyslots": [], "before": ["0", theirs.to_string()] }).to_string())
        .await
        .unwrap();
    let slot = slots.add_as(&first, &second, &Strength::Random.words()).await.unwrap();
    let token = json!({ "type": PASSPHRASE, "secret": "disks/media" });
    assert_eq!(slots.add_with(&first, &second, Strength::Chosen, token.clone()).await.unwrap(), slot);
    let told = async || {
        let seen = slots.keys().await.unwrap();
        seen.into_iter().filter_map(|it| it.secret.map(|_| it.slot)).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [slot]);
    // Where nothing was about to be added, another one is.
    slots.kill(slot, &first).await.unwrap();
    let slot = slots.add_with(&first, &second, Strength::Chosen, token).await.unwrap();
    assert!(slot != theirs && told().await == [slot]);
    let header = slots.header().await.unwrap();
    assert_eq!(header["tokens"].as_object().unwrap().len(), 1, "an intent was left: {header}");

    let ((one, old), (_, new)) = (slots.recovery_key(&first).await.unwrap(), slots.recovery_key(&first).await.unwrap());
    let now: jiff::Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    slots.prove(&new.text(), now, true).await.unwrap();
    assert!(slots.opens(Some(one), &old.text()).await.unwrap(), "a recovery key of the owner was taken away");
}

#[tokio::test]
async fn a_token_of_no_slot_opens_nothing_and_goes_with_the_next_slot_that_goes() {
    let Some((_home, slots)) = disk() else { return };
    let (first, second) = (plain("what the TPM gave back"), plain("a passphrase in a secret"));
    slots.format(&first, Strength::Random, "pic-721c9525").await.unwrap();
    let of_chip = |kept| json!({ "type": token::TYPE, "piccolo_disk": kept, "tpm2-pcrs": [7], "tpm2-blob": "", "tpm2-policy-hash": "" });
    let tang = json!({ "type": CLEVIS, "jwe": {}, TANG: { "url": "http://tang.lan", "thumbprint": "" } });
    let gone = slots.add_as(&first, &second, &Strength::Random.words()).await.unwrap();
    for token in [of_chip(true), of_chip(false), tang, json!({ "type": PASSPHRASE, "secret": "disks/media" })] {
        slots.tell(gone, token).await.unwrap();
    }
    assert_eq!((slots.opening_tokens().await.unwrap().len(), slots.tokens().await.unwrap().len()), (3, 2));
    // It ends suddenly once the slot is gone: `cryptsetup` leaves the tokens.
    let text = slots.text();
    slots.done(&words(&["luksKillSlot", "--batch-mode", &text, &gone.to_string()]), None).await.unwrap();
    assert_eq!(slots.header().await.unwrap()["tokens"].as_object().unwrap().len(), 4);
    assert!(slots.opening_tokens().await.unwrap().is_empty() && slots.tokens().await.unwrap().is_empty());
    let next = slots.add_as(&first, &second, &Strength::Random.words()).await.unwrap();
    slots.kill(next, &first).await.unwrap();
    let header = slots.header().await.unwrap();
    let left: Vec<&Value> = header["tokens"].as_object().unwrap().values().collect();
    assert!(left.len() == 1 && left[0]["piccolo_disk"] == false, "not ours alone: {header}");
}

#[test]
fn what_a_sudden_end_left_of_keys_is_swept_away() {
    let home = TempDir::with_prefix("piccolo-sweep-").unwrap();
    for name in [".key-0a", ".key-0b", "another"] {
        File::create_new(home.path().join(name)).unwrap();
    }
    let left = || std::fs::read_dir(home.path()).unwrap().count();
    crate::host::linux::luks::sweep(home.path(), std::time::Duration::from_secs(600));
    assert_eq!(left(), 3, "a key that is in use was taken away");
    crate::host::linux::luks::sweep(home.path(), std::time::Duration::ZERO);
    assert_eq!(left(), 1);
}

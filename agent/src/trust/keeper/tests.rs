use std::fs;

use super::*;
use crate::{file, host::fake::FakeTpm, trust::Level};

const KEYS: [(&str, &str); 2] = [("secrets", "identity.age"), ("authority", "access/ca.key")];

struct Room {
    dir: tempfile::TempDir,
    recovery: Identity,
}

impl Room {
    fn new() -> Self {
        let room = Self { dir: tempfile::tempdir().unwrap(), recovery: Identity::generate() };
        for (name, path) in KEYS {
            file::replace(&room.dir.path().join(path), format!("the key of {name}\n").as_bytes()).unwrap();
        }
        room
    }

    fn wish(&self, pcrs: &str) -> Wish {
        Wish { pcrs: pcrs.parse().unwrap(), recovery: vec![self.recovery.recipient()] }
    }

    fn keeper(&self, tpm: &FakeTpm) -> Keeper<FakeTpm> {
        let keys = KEYS.map(|(name, path)| KeyFile { name, path: self.dir.path().join(path) });
        Keeper::new(tpm.clone(), keys.into(), self.dir.path().join("trust/lock.json"))
    }

    /// Reads every key as a start of the daemon does.
    async fn opens(&self, tpm: &FakeTpm) -> Result<(), TrustError> {
        let keeper = self.keeper(tpm);
        for (name, path) in KEYS {
            let key = match keeper.open(name).await? {
                Some(key) => key.expose().to_vec(),
                None => fs::read(self.dir.path().join(path)).unwrap(),
            };
            assert_eq!(String::from_utf8(key).unwrap(), format!("the key of {name}\n"));
        }
        Ok(())
    }

    fn levels(&self, tpm: &FakeTpm) -> Level {
        self.keeper(tpm).standing().level
    }
}

#[tokio::test]
async fn keys_go_into_the_chip_and_back() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    assert_eq!(room.levels(&tpm), Level::Software);
    let standing = room.keeper(&tpm).seal(&room.wish("none")).await.unwrap();
    assert_eq!((standing.level, standing.recovery.len()), (Level::Hardware, 1));
    room.opens(&tpm).await.unwrap();
    let all = fs::read_to_string(room.dir.path().join("identity.age.sealed")).unwrap();
    assert!(!room.dir.path().join("identity.age").exists() && !all.contains("the key of"));
    // It is an ordinary file of age, which the recovery key opens too.
    assert_eq!(room.recovery.open(&all).unwrap().expose(), b"the key of secrets\n");
    assert_eq!(room.keeper(&tpm).unseal().await.unwrap().level, Level::Software);
    room.opens(&tpm).await.unwrap();
    assert!(!room.dir.path().join("identity.age.sealed").exists());
}

#[tokio::test]
async fn broken_off_after_any_step_every_key_opens_and_the_next_call_goes_on() {
    for goal in [Goal::Sealed, Goal::Files] {
        for kept in 0.. {
            let (room, tpm) = (Room::new(), FakeTpm::default());
            if goal == Goal::Files {
                room.keeper(&tpm).seal(&room.wish("none")).await.unwrap();
            }
            let keeper = room.keeper(&tpm);
            let mut is_over = false;
            for _ in 0..kept {
                match keeper.next(goal).unwrap() {
                    Some(step) => keeper.apply(step, &room.wish("none")).await.unwrap(),
                    None => is_over = true,
                }
            }
            // What a write leaves that was broken off.
            fs::File::create(room.dir.path().join("identity.age.writing")).unwrap();
            room.opens(&tpm).await.unwrap();
            match goal {
                Goal::Sealed => drop(room.keeper(&tpm).seal(&room.wish("none")).await.unwrap()),
                Goal::Files => drop(room.keeper(&tpm).unseal().await.unwrap()),
            }
            room.opens(&tpm).await.unwrap();
            assert_eq!(room.levels(&tpm), if goal == Goal::Sealed { Level::Hardware } else { Level::Software });
            if is_over {
                assert!(kept > 4, "{goal:?} had {kept} steps only");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_chip_that_fails_at_any_verb_takes_no_key_along() {
    for verbs in 0.. {
        let (room, tpm) = (Room::new(), FakeTpm::default());
        tpm.last(Some(verbs));
        let is_sealed = room.keeper(&tpm).seal(&room.wish("none")).await.is_ok();
        tpm.last(None);
        room.opens(&tpm).await.unwrap();
        if is_sealed {
            assert!(verbs > 4, "{verbs}");
            break;
        }
        room.keeper(&tpm).seal(&room.wish("none")).await.unwrap();
        room.opens(&tpm).await.unwrap();
    }
}

#[tokio::test]
async fn another_chip_opens_nothing_and_the_recovery_key_does() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    room.keeper(&tpm).seal(&room.wish("7")).await.unwrap();
    tpm.extend(7, b"another boot loader");
    assert!(room.opens(&tpm).await.is_err());
    let keeper = room.keeper(&tpm);
    assert!(keeper.open("secrets").await.is_err());
    let standing = keeper.standing();
    assert!(standing.level == Level::None && standing.message.contains("registers"), "{}", standing.message);
    let gone = FakeTpm::default();
    gone.take_out(true);
    assert!(room.opens(&gone).await.is_err() && room.keeper(&gone).unseal().await.is_err());
    tpm.clear();
    assert!(room.opens(&tpm).await.is_err() && room.keeper(&tpm).seal(&room.wish("7")).await.is_err());
    // A person opens it, and puts the file back.
    let armour = fs::read_to_string(room.dir.path().join("identity.age.sealed")).unwrap();
    let plain = room.recovery.open(&armour).unwrap();
    file::replace(&room.dir.path().join("identity.age"), plain.expose()).unwrap();
    assert!(room.keeper(&tpm).open("secrets").await.unwrap().is_none(), "the file is not used");
}

#[tokio::test]
async fn sealed_anew_it_opens_by_other_registers_and_for_others() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    room.keeper(&tpm).seal(&room.wish("7")).await.unwrap();
    let other = Identity::generate();
    let wish = Wish { pcrs: Pcrs::NONE, recovery: vec![other.recipient()] };
    room.keeper(&tpm).seal(&wish).await.unwrap();
    tpm.extend(7, b"another boot loader");
    room.opens(&tpm).await.unwrap();
    let armour = fs::read_to_string(room.dir.path().join("access/ca.key.sealed")).unwrap();
    assert!(other.open(&armour).is_ok() && room.recovery.open(&armour).is_err());
    // Who says nothing of recovery keeps whom there was.
    room.keeper(&tpm).seal(&Wish::default()).await.unwrap();
    assert_eq!(room.keeper(&tpm).standing().recovery, [other.recipient().to_string()]);
}

#[tokio::test]
async fn nothing_is_lost_where_two_keys_meet() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    room.keeper(&tpm).seal(&room.wish("none")).await.unwrap();
    let path = room.dir.path().join("identity.age");
    file::replace(&path, b"another key\n").unwrap();
    for refused in [room.keeper(&tpm).seal(&Wish::default()).await, room.keeper(&tpm).unseal().await] {
        assert!(matches!(refused, Err(TrustError::Different(..))), "{refused:?}");
        assert!(path.exists() && room.dir.path().join("identity.age.sealed").exists());
    }
}

#[tokio::test]
async fn without_a_way_back_nothing_is_sealed() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    assert!(matches!(room.keeper(&tpm).seal(&Wish::default()).await, Err(TrustError::NoRecovery)));
    fs::remove_file(room.dir.path().join("access/ca.key")).unwrap();
    assert!(matches!(room.keeper(&tpm).seal(&room.wish("none")).await, Err(TrustError::NoKeys)));
}

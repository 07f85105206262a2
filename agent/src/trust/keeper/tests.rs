use std::fs;

use super::*;
use crate::{
    file,
    host::{Measured, fake::FakeTpm},
    trust::{Grub, Level, Next, Story, Verdict},
};

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

/// What one of the recorded starts measured.
fn start(name: &str) -> Measured {
    let path = |ending: &str| format!("{}/tests/starts/{name}.{ending}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path("registers")).unwrap();
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    let registers = pairs.map(|(pcr, value)| (pcr.parse().unwrap(), value.to_owned())).collect();
    Measured { firmware_log: fs::read(path("log")).unwrap(), registers, ..Measured::default() }
}

fn with(recovery: Option<&Identity>) -> Rebinding {
    Rebinding { recovery: recovery.map(|it| Identity::parse(&it.text()).unwrap()), ..Rebinding::default() }
}

const NOW: &str = "2026-01-01T00:00:00Z";

#[tokio::test]
async fn a_start_is_kept_where_it_is_the_first_or_opened_a_key() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    let why = |tpm: &FakeTpm| {
        let keeper = room.keeper(tpm);
        async move { keeper.why().await.unwrap().verdict }
    };
    // No log, nothing to keep.
    room.keeper(&tpm).remember(NOW.to_owned()).await.unwrap();
    assert!(why(&tpm).await == Verdict::NoLog && !room.dir.path().join("trust/start.json").exists());
    tpm.start(start("first"));
    assert_eq!(why(&tpm).await, Verdict::NothingKept);
    room.keeper(&tpm).remember(NOW.to_owned()).await.unwrap();
    assert_eq!(why(&tpm).await, Verdict::NothingChanged);
    // Keys in files say nothing of a start, so the first stays the good one.
    tpm.start(start("release"));
    assert_eq!(room.keeper(&tpm).remember(NOW.to_owned()).await.unwrap().verdict, Verdict::Changed);
    assert_eq!(why(&tpm).await, Verdict::Changed);
    // Keys that are bound to a register which is as it was do.
    room.keeper(&tpm).seal(&room.wish("7")).await.unwrap();
    tpm.start(start("command-line"));
    let keeper = room.keeper(&tpm);
    keeper.open("secrets").await.unwrap();
    assert_eq!(keeper.remember(NOW.to_owned()).await.unwrap().verdict, Verdict::Changed);
    assert_eq!(why(&tpm).await, Verdict::NothingChanged);
    // Those that do not open take no start for a good one.
    tpm.start(start("secure-boot-on"));
    let keeper = room.keeper(&tpm);
    assert!(keeper.open("secrets").await.is_err());
    let found = keeper.remember(NOW.to_owned()).await.unwrap();
    assert!(found.verdict == Verdict::Changed && found.bound.to_string() == "7");
    assert!(found.causes.iter().any(|it| it.shuts) && why(&tpm).await == Verdict::Changed);
}

#[tokio::test]
async fn a_start_that_shuts_keys_is_told_until_they_are_bound_to_it() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    tpm.start(start("first"));
    room.keeper(&tpm).seal(&room.wish("4,7")).await.unwrap();
    room.keeper(&tpm).keep(NOW.to_owned()).await.unwrap();
    assert_eq!(room.keeper(&tpm).look().await.start(), None);
    tpm.start(start("release"));
    let keeper = room.keeper(&tpm);
    assert!(keeper.open("secrets").await.is_err());
    let told = keeper.look().await.start().unwrap();
    // The initrd is measured into a register that nothing is bound to.
    assert!(told.contains("the kernel") && told.contains("piccolo trust reseal"), "{told}");
    assert!(!told.contains("initrd"), "{told}");
    keeper.reseal(&with(Some(&room.recovery)), NOW.to_owned()).await.unwrap();
    assert_eq!(keeper.look().await.start(), None);
}

#[tokio::test]
async fn keys_are_bound_to_another_start_with_the_recovery_key_alone() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    tpm.start(start("first"));
    assert!(matches!(room.keeper(&tpm).reseal(&with(None), NOW.to_owned()).await, Err(TrustError::NotBound)));
    room.keeper(&tpm).seal(&room.wish("4,7")).await.unwrap();
    tpm.start(start("command-line"));
    assert!(room.opens(&tpm).await.is_err());
    let sealed = room.dir.path().join("identity.age.sealed");
    let before = [fs::read(&sealed).unwrap(), fs::read(room.dir.path().join("trust/lock.json")).unwrap()];
    // Without it, or with another one, nothing is written.
    let refused = room.keeper(&tpm).reseal(&with(None), NOW.to_owned()).await;
    assert!(matches!(refused, Err(TrustError::Chip(_))), "{refused:?}");
    let refused = room.keeper(&tpm).reseal(&with(Some(&Identity::generate())), NOW.to_owned()).await;
    assert!(matches!(refused, Err(TrustError::NotRecovery)), "{refused:?}");
    let after = [fs::read(&sealed).unwrap(), fs::read(room.dir.path().join("trust/lock.json")).unwrap()];
    assert_eq!(before, after);
    // Broken off before the lock is written, the recovery key opens every key, and the next try goes on.
    room.keeper(&tpm).reseal(&with(Some(&room.recovery)), NOW.to_owned()).await.unwrap();
    file::replace(&room.dir.path().join("trust/lock.json"), &before[1]).unwrap();
    assert!(room.opens(&tpm).await.is_err());
    let armour = fs::read_to_string(&sealed).unwrap();
    assert_eq!(room.recovery.open(&armour).unwrap().expose(), b"the key of secrets\n");
    let standing = room.keeper(&tpm).reseal(&with(Some(&room.recovery)), NOW.to_owned()).await.unwrap();
    assert_eq!((standing.level, standing.pcrs.to_string().as_str()), (Level::Hardware, "4,7"));
    room.opens(&tpm).await.unwrap();
    assert_eq!(room.keeper(&tpm).why().await.unwrap().verdict, Verdict::NothingChanged);
    // The start of before opens nothing any more, and the recovery key still does.
    tpm.start(start("first"));
    assert!(room.opens(&tpm).await.is_err());
    assert!(room.recovery.open(&fs::read_to_string(&sealed).unwrap()).is_ok());
    // Where the chip opens them, nobody is asked for it.
    tpm.start(start("command-line"));
    let wish = Rebinding { pcrs: Some(Pcrs::of([0]).unwrap()), ..Rebinding::default() };
    room.keeper(&tpm).reseal(&wish, NOW.to_owned()).await.unwrap();
    tpm.start(start("first"));
    room.opens(&tpm).await.unwrap();
}

#[tokio::test]
async fn a_chip_that_fails_while_keys_are_bound_anew_takes_none_along() {
    for verbs in 0.. {
        let (room, tpm) = (Room::new(), FakeTpm::default());
        tpm.start(start("first"));
        room.keeper(&tpm).seal(&room.wish("4")).await.unwrap();
        tpm.start(start("command-line"));
        tpm.last(Some(verbs));
        let is_done = room.keeper(&tpm).reseal(&with(Some(&room.recovery)), NOW.to_owned()).await.is_ok();
        tpm.last(None);
        for (_, path) in KEYS {
            let armour = fs::read_to_string(room.dir.path().join(format!("{path}.sealed"))).unwrap();
            assert!(room.recovery.open(&armour).is_ok(), "after {verbs} verbs");
        }
        if is_done && verbs > 3 {
            break;
        }
        room.keeper(&tpm).reseal(&with(Some(&room.recovery)), NOW.to_owned()).await.unwrap();
        room.opens(&tpm).await.unwrap();
    }
}

#[tokio::test]
async fn keys_open_after_the_start_that_was_foreseen_and_no_other() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    tpm.start(start("first"));
    room.keeper(&tpm).seal(&room.wish("4,7,11")).await.unwrap();
    let lock = Lock::read(&room.dir.path().join("trust/lock.json")).unwrap().unwrap();
    let identity = lock.open(&tpm).await.unwrap();
    let values = start("release").registers.into_iter().filter(|it| [4, 7, 11].contains(&it.0)).collect();
    lock.also(&tpm, &identity, values).await.unwrap().write(&room.dir.path().join("trust/lock.json")).unwrap();
    for (name, opens) in [("release", true), ("first", true), ("command-line", false), ("secure-boot-on", false)] {
        tpm.start(start(name));
        assert_eq!(room.opens(&tpm).await.is_ok(), opens, "{name}");
    }
    // Once it has come, the start of before opens nothing any more.
    tpm.start(start("release"));
    room.keeper(&tpm).remember(NOW.to_owned()).await.unwrap();
    room.opens(&tpm).await.unwrap();
    tpm.start(start("first"));
    assert!(room.opens(&tpm).await.is_err());
}

#[tokio::test]
async fn keys_open_after_the_start_by_grub_that_was_foreseen() {
    let (room, tpm) = (Room::new(), FakeTpm::default());
    tpm.start(start("grub-a"));
    room.keeper(&tpm).seal(&room.wish("4,7,9")).await.unwrap();
    let then = Story::read(&start("grub-b").firmware_log, b"").unwrap();
    let of = |pcr, name: &str| then.events.iter().rfind(|it| it.pcr == pcr && it.detail == name).unwrap().digest;
    let cmdline =
        "BOOT_IMAGE=/flatcar/vmlinuz-b console=ttyS0 mount.usr=PARTUUID=e03dd35c-7c2d-4a47-b3fe-27f15780a57c panic=5";
    let grub = || Grub {
        kernel: of(4, "inside its image"),
        content: of(9, "/flatcar/vmlinuz-b"),
        files: vec![("/grub/slot".to_owned(), of(9, "/grub/slot"))],
        cmdline: Some(cmdline.to_owned()),
    };
    let wish =
        |pcrs: &str| Rebinding { pcrs: pcrs.parse().ok(), next: Some(Next::Grub(grub())), ..Rebinding::default() };
    let blind = room.keeper(&tpm).reseal(&wish("7,8"), NOW.to_owned()).await;
    assert!(matches!(blind, Err(TrustError::Unforeseen(pcrs)) if pcrs.to_string() == "8"));
    room.keeper(&tpm).reseal(&wish("4,7,9"), NOW.to_owned()).await.unwrap();
    for (name, opens) in [("grub-b", true), ("grub-a", true), ("first", false)] {
        tpm.start(start(name));
        assert_eq!(room.opens(&tpm).await.is_ok(), opens, "{name}");
    }
}

//! The installation on a disk in memory: what is refused, what is told, and what is there after each moment at which the power
//! may fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::sync::Mutex;

use jiff::Timestamp;
use piccolo_agent::{
    host::{DiskSeen, Ends, INSTALLING, Marker, Partition, Signature, Target, Ticket, fake::FakeStick},
    install::{LEAST, Leave, Order, Told, choose, install, judge, offers},
};
use piccolo_schema::{disk::Selector, install::Mirror};

const SERIAL: &str = "S4EVNX0N123456";
const SECOND: &str = "S4EVNX0N123457";

/// Runs an installation, and returns all that it told.
async fn run(stick: &FakeStick, wipe: Option<&str>) -> Vec<Told> {
    let told = Mutex::new(Vec::new());
    let order = Order { select: by_serial(SERIAL), wipe: wipe.map(str::to_owned), ..Order::default() };
    install(stick, &order, Timestamp::UNIX_EPOCH, &|it| told.lock().unwrap().push(it)).await;
    told.into_inner().unwrap()
}

fn by_serial(serial: &str) -> Selector {
    Selector { serial: Some(serial.to_owned()), ..Selector::default() }
}

fn with_photos() -> DiskSeen {
    let ext4 = Signature {
        offset: 1080,
        kind: "ext4".to_owned(),
        uuid: Some("d807".to_owned()),
        label: Some("photos".to_owned()),
    };
    DiskSeen { signatures: vec![ext4], ends: Ends::Data, ..FakeStick::blank(LEAST) }
}

fn key(told: &[Told]) -> Option<String> {
    told.iter().find_map(|it| it.recovery_key.as_ref()).map(|key| key.to_string())
}

#[tokio::test]
async fn a_blank_disk_becomes_the_system_and_the_key_is_told_once() {
    let stick = FakeStick::beside(FakeStick::blank(LEAST));
    assert!(offers(&stick).await.unwrap()[0].ready);
    let told = run(&stick, None).await;
    assert_eq!(key(&told), stick.whole());
    assert!(stick.whole().is_some() && told.last().unwrap().complete);
    assert_eq!(told.iter().filter(|it| it.recovery_key.is_some()).count(), 1);
    // Six steps, each said at its beginning, and those that take long say how far they are.
    let steps: Vec<u32> = told.iter().map(|it| it.at.step).collect();
    assert!(steps.is_sorted() && (1..=6).all(|step| steps.contains(&step)), "{steps:?}");
    assert!(told.iter().any(|it| it.at.done.is_some() && it.at.total.is_some() && it.at.rate.is_some()));
    assert!(stick.shown().iter().any(|it| it.starts_with("recovery key ")));
    // The key is in no debugging text.
    assert!(!format!("{told:?}").contains(&key(&told).unwrap()));
    // What is whole is not begun anew.
    let again = run(&stick, None).await;
    assert!(again[0].refused.as_ref().unwrap().contains("it is not blank: there is 6 partitions"), "{again:?}");
}

#[tokio::test]
async fn after_every_moment_a_disk_is_untouched_or_unfinished_or_whole() {
    for wipe in [None, Some("wipe-1")] {
        let before = if wipe.is_some() { with_photos() } else { FakeStick::blank(LEAST) };
        let mut outcomes = [0; 3];
        for moment in 0.. {
            let stick = FakeStick::beside(before.clone());
            stick.give(Ticket::new("wipe-1".to_owned(), &before, Timestamp::UNIX_EPOCH));
            stick.cut_at(Some(moment));
            let told = run(&stick, wipe).await;
            if told.last().unwrap().complete {
                assert!(moment > 17, "{moment}");
                break;
            }
            stick.cut_at(None);
            if stick.target().disk == before {
                outcomes[0] += 1;
                // A ticket that is used up lets nobody erase what is still there.
                continue;
            }
            if let Some(opens) = stick.whole() {
                outcomes[2] += 1;
                // There is no system whose key nobody was told.
                assert_eq!(key(&told), Some(opens));
                continue;
            }
            outcomes[1] += 1;
            assert!(stick.target().is_unfinished(), "{moment}: {:?}", stick.target());
            let told = run(&stick, None).await;
            assert_eq!((key(&told), stick.whole().is_some()), (stick.whole(), true), "{moment}: {told:?}");
        }
        assert!(outcomes.iter().all(|it| *it > 0), "{outcomes:?}");
    }
}

/// Two disks, the second of which may hold something.
fn two(holds: bool) -> [DiskSeen; 2] {
    let mut second = if holds { with_photos() } else { FakeStick::blank(LEAST) };
    SECOND.clone_into(&mut second.identity.serial);
    (second.device, second.seq) = ("vdc".to_owned(), 3);
    [FakeStick::blank(LEAST), second]
}

/// Runs an installation on two disks, and returns all that it told.
async fn run_on_both(stick: &FakeStick, second: &str, wipe: Option<&str>) -> Vec<Told> {
    let told = Mutex::new(Vec::new());
    let mirror = Some(Mirror { select: by_serial(second), wipe: wipe.map(str::to_owned) });
    let order = Order { select: by_serial(SERIAL), mirror, ..Order::default() };
    install(stick, &order, Timestamp::UNIX_EPOCH, &|it| told.lock().unwrap().push(it)).await;
    told.into_inner().unwrap()
}

#[tokio::test]
async fn two_disks_become_one_system_and_one_key_opens_both() {
    let stick = FakeStick::beside_all(two(false));
    let told = run_on_both(&stick, SECOND, None).await;
    let last = told.last().unwrap();
    assert!(last.complete && last.at.text.contains(" and ") && last.at.text.contains(" hold the system"), "{last:?}");
    assert_eq!((stick.whole_on(0), stick.whole_on(1)), (key(&told), key(&told)));
    assert!(key(&told).is_some());
    // What is whole is not begun anew.
    assert!(run_on_both(&stick, SECOND, None).await[0].refused.as_ref().unwrap().contains("it is not blank"));
}

#[tokio::test]
async fn nothing_is_written_to_one_disk_where_the_other_may_not_be_written_to() {
    for (disks, second, why) in [
        (two(true), SECOND, "it is not blank: there is ext4 \"photos\" on it"),
        (two(false), SERIAL, "it can't be both the first disk and the second"),
        (two(false), "A", "no disk is like that"),
    ] {
        let stick = FakeStick::beside_all(disks);
        let before = stick.all_targets();
        let told = run_on_both(&stick, second, None).await;
        assert!(told[0].refused.as_ref().unwrap().contains(why), "{told:?}");
        assert_eq!((stick.all_targets(), stick.mutations()), (before, 0));
    }
}

#[tokio::test]
async fn after_every_moment_each_of_two_disks_is_untouched_or_unfinished_or_whole() {
    for wipe in [None, Some("wipe-2")] {
        let before = two(wipe.is_some());
        let mut halfway = 0;
        for moment in 0.. {
            let stick = FakeStick::beside_all(before.clone());
            stick.give(Ticket::new("wipe-2".to_owned(), &before[1], Timestamp::UNIX_EPOCH));
            stick.cut_at(Some(moment));
            let told = run_on_both(&stick, SECOND, wipe).await;
            if told.last().unwrap().complete {
                assert!(moment > 26, "{moment}");
                break;
            }
            stick.cut_at(None);
            let whole = [stick.whole_on(0), stick.whole_on(1)];
            for (at, target) in stick.all_targets().iter().enumerate() {
                let is_known = target.disk == before[at] || target.is_unfinished() || whole[at].is_some();
                assert!(is_known, "{moment}: {target:?}");
            }
            match whole {
                [None, None] if stick.all_targets()[1].disk == before[1] && wipe.is_some() => {}
                [None, None] => {
                    let told = run_on_both(&stick, SECOND, None).await;
                    assert_eq!((stick.whole_on(0), stick.whole_on(1)), (key(&told), key(&told)), "{moment}: {told:?}");
                }
                // There is no system whose key nobody was told. One that stands alone starts, and has the other one count.
                [first, second] => {
                    halfway += u8::from(second.is_none());
                    assert_eq!(first, key(&told), "{moment}");
                }
            }
        }
        assert!(halfway > 0);
    }
}

#[tokio::test]
async fn what_does_not_read_back_does_not_count() {
    let stick = FakeStick::beside(FakeStick::blank(LEAST));
    stick.spoil();
    let told = run(&stick, None).await;
    assert_eq!(told.last().unwrap().refused.as_deref(), Some("reading it back failed: It does not read back"));
    assert_eq!((stick.whole(), stick.target().is_unfinished()), (None, true));
    assert!(offers(&stick).await.unwrap()[0].why.contains("did not come to its end"));
}

#[tokio::test]
async fn two_disks_of_which_one_took_no_part_do_not_count() {
    let stick = FakeStick::beside_all(two(false));
    stick.lose_a_half();
    let told = run_on_both(&stick, SECOND, None).await;
    let refused = told.last().unwrap().refused.as_deref();
    assert_eq!(refused, Some("writing the system failed: One of the two takes no part in it"));
    assert_eq!((stick.whole_on(0), stick.whole_on(1), key(&told)), (None, None, None));
    assert!(stick.all_targets().iter().all(Target::is_unfinished));
    // With one disk there is nothing that could be lost.
    assert!(run(&stick, None).await.last().unwrap().complete);
}

#[test]
fn each_disk_that_is_not_written_to_is_told_why() {
    let target = |disk| Target { disk, ..Target::default() };
    let blank = || FakeStick::blank(LEAST);
    let part = Partition { device: "vdb1".to_owned(), ..Partition::default() };
    let cases = [
        (target(with_photos()), "it is not blank: there is ext4 \"photos\" on it"),
        (target(DiskSeen { partitions: vec![part], ..blank() }), "it is not blank: there is 1 partition"),
        (target(DiskSeen { ends: Ends::Unknown, ..blank() }), "something nobody looked at"),
        (target(DiskSeen { system: true, ..blank() }), "this system runs from it"),
        (target(DiskSeen { holders: vec!["md0".to_owned()], ..blank() }), "`md0` stands on it"),
        (target(DiskSeen { mounted: vec!["/mnt".to_owned()], ..blank() }), "it is used at `/mnt`"),
        (target(DiskSeen { read_only: true, ..blank() }), "it can only be read"),
        (target(DiskSeen { failing: Some("it is about to fail".to_owned()), ..blank() }), "it is about to fail"),
        (target(FakeStick::blank(LEAST - 1)), "it is too small"),
        // A name alone does not make a disk of others ours.
        (
            Target {
                disk: DiskSeen { partitions: vec![Partition::default()], ..blank() },
                names: vec!["piccolo-half-made".to_owned(), "Windows".to_owned()],
                ..Target::default()
            },
            "it is not blank",
        ),
        // Nor does a mark that was left where partitions are.
        (
            Target {
                disk: DiskSeen {
                    partitions: vec![Partition::default()],
                    marker: Some(Marker { nonce: INSTALLING.to_owned(), first: true }),
                    ..blank()
                },
                names: vec!["piccolo-state".to_owned()],
                ..Target::default()
            },
            "it is not blank",
        ),
        // Nor beside what somebody made on the disk since.
        (
            target(DiskSeen { marker: Some(Marker { nonce: INSTALLING.to_owned(), first: true }), ..with_photos() }),
            "it is not blank: there is ext4 \"photos\" on it",
        ),
        // Nor one that is not at the beginning, where ours is.
        (
            target(DiskSeen {
                ends: Ends::Data,
                marker: Some(Marker { nonce: INSTALLING.to_owned(), first: false }),
                ..blank()
            }),
            "it is not blank",
        ),
    ];
    for (target, why) in cases {
        let refused = judge(&target, &[], &[], None, Timestamp::UNIX_EPOCH).unwrap_err().to_string();
        assert!(refused.starts_with(SERIAL) && refused.contains(why), "{refused}");
    }
    assert_eq!(judge(&target(blank()), &[], &[], None, Timestamp::UNIX_EPOCH), Ok(Leave::Blank));
}

#[test]
fn of_two_disks_with_one_number_none_is_written_to() {
    let one = Target { disk: FakeStick::blank(LEAST), ..Target::default() };
    let mut twin = one.clone();
    twin.disk.seq += 1;
    let judged = |all: &[Target]| judge(&one, all, &[], None, Timestamp::UNIX_EPOCH).map_err(|why| why.to_string());
    assert!(judged(&[one.clone(), twin.clone()]).unwrap_err().contains("says the same serial number; unplug one"));
    twin.disk.identity.serial = "B".to_owned();
    assert_eq!(judged(&[one.clone(), twin]), Ok(Leave::Blank));
}

#[test]
fn a_ticket_is_worth_something_for_its_disk_and_its_hour() {
    let target = Target { disk: with_photos(), ..Target::default() };
    let ticket = Ticket::new("wipe-1".to_owned(), &target.disk, Timestamp::UNIX_EPOCH);
    let later = Timestamp::from_second(3600).unwrap();
    let judged = |ticket: &Ticket, name, now| {
        judge(&target, &[], std::slice::from_ref(ticket), Some(name), now).map_err(|why| why.to_string())
    };
    assert_eq!(judged(&ticket, "wipe-1", Timestamp::UNIX_EPOCH), Ok(Leave::Ticket("wipe-1".to_owned())));
    assert!(judged(&ticket, "wipe-1", later).unwrap_err().contains("held for an hour"));
    assert!(judged(&ticket, "wipe-2", Timestamp::UNIX_EPOCH).unwrap_err().contains("no ticket is called `wipe-2`"));
    let used = Ticket { used: Some(Timestamp::UNIX_EPOCH), ..ticket.clone() };
    assert!(judged(&used, "wipe-1", Timestamp::UNIX_EPOCH).unwrap_err().contains("was used up"));
    let other = Ticket::new("wipe-1".to_owned(), &FakeStick::blank(LEAST), Timestamp::UNIX_EPOCH);
    assert!(judged(&other, "wipe-1", Timestamp::UNIX_EPOCH).unwrap_err().contains("something else was on the disk"));
}

#[test]
fn one_disk_is_meant_or_none() {
    let target = |serial: &str| {
        let mut disk = FakeStick::blank(LEAST);
        serial.clone_into(&mut disk.identity.serial);
        Target { disk, ..Target::default() }
    };
    let both = [target("A"), target("B")];
    assert_eq!(choose(&by_serial("B"), &both), Ok(&both[1]));
    let why = |select: &Selector, targets: &[Target]| choose(select, targets).unwrap_err().to_string();
    assert!(why(&by_serial("C"), &both).contains("there is A, 3.2 GB (nothing); B, 3.2 GB (nothing)"));
    let large = Selector { min_size: Some("1G".parse().unwrap()), ..Selector::default() };
    assert!(why(&large, &both).contains("2 disks are like that"));
    assert!(why(&Selector::default(), &both).contains("no disk is named"));
    assert!(why(&by_serial("C"), &[]).contains("there is none"));
}

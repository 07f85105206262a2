//! A disk in memory in the place of a lost one of two: what is refused, what is told, and what is there after each moment at which
//! the power may fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::sync::Mutex;

use jiff::Timestamp;
use piccolo_agent::{
    host::{DiskSeen, Ends, Halved, LeftOut, Signature, StateHalves, Target, Ticket, WhyLeftOut, fake::FakeStick},
    install::{LEAST, Leave, Told, lacking, replace, replacement, takes_its_place},
};
use piccolo_schema::{disk::Selector, install::Mirror};

const SERIAL: &str = "S4EVNX0N123456";

/// Takes a disk in, and returns all that is told.
async fn run(stick: &FakeStick, wipe: Option<&str>) -> Vec<Told> {
    let told = Mutex::new(Vec::new());
    let select = Selector { serial: Some(SERIAL.to_owned()), ..Selector::default() };
    let with = Mirror { select, wipe: wipe.map(str::to_owned) };
    replace(stick, &with, Timestamp::UNIX_EPOCH, &|it| told.lock().unwrap().push(it)).await;
    told.into_inner().unwrap()
}

/// A state that lies on `vda`, whose other half is lost.
fn lost() -> Halved {
    Halved {
        halves: StateHalves { on: vec!["vda".to_owned()], is_lacking: true, ..StateHalves::default() },
        least: LEAST,
        block: 512,
    }
}

fn with_photos() -> DiskSeen {
    let ext4 = Signature { offset: 1080, kind: "ext4".to_owned(), label: Some("photos".to_owned()), uuid: None };
    DiskSeen { signatures: vec![ext4], ends: Ends::Data, ..FakeStick::blank(LEAST) }
}

/// Two disks, of which the first is new.
fn beside(new: DiskSeen) -> FakeStick {
    let mut own = FakeStick::blank(LEAST);
    "A".clone_into(&mut own.identity.serial);
    (own.device, own.seq, own.system) = ("vda".to_owned(), 1, true);
    let stick = FakeStick::beside_all([new, own]);
    stick.run_from_two(lost());
    stick
}

fn steps(leave: &Leave) -> String {
    replacement(leave).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_disk_counts_last() {
    let plain = "marking the disk, writing the system, reading it back, taking the disk in";
    assert_eq!((steps(&Leave::Blank), steps(&Leave::Unfinished)), (plain.to_owned(), plain.to_owned()));
    assert_eq!(steps(&Leave::Ticket("wipe-1".to_owned())), format!("using the ticket up, {plain}"));
}

#[tokio::test]
async fn a_blank_disk_takes_the_place_of_the_lost_one() {
    let stick = beside(FakeStick::blank(LEAST));
    let told = run(&stick, None).await;
    let last = told.last().unwrap();
    assert!(last.complete && last.at.text.contains("is being filled now"), "{told:?}");
    assert_eq!((last.at.steps, stick.lies_on()), (4, vec!["vda".to_owned(), "vdb".to_owned()]));
    assert!(told.iter().all(|it| it.recovery_key.is_none()), "it has the keys that there were");
    assert_eq!(stick.target().names.last().unwrap(), "piccolo-state");
    // The one that the system runs from was not written to.
    assert!(stick.all_targets()[1].names.is_empty());
    let again = run(&stick, None).await;
    assert!(again[0].refused.as_ref().unwrap().contains("is filled now on /dev/vda and /dev/vdb"), "{again:?}");
}

#[tokio::test]
async fn after_every_moment_a_disk_is_untouched_or_unfinished_or_a_half() {
    for wipe in [None, Some("wipe-1")] {
        let before = if wipe.is_some() { with_photos() } else { FakeStick::blank(LEAST) };
        // Untouched, unfinished, unfinished where the lost half is a stranger already, filled and not yet said to count, a half.
        let mut outcomes = [0; 5];
        for moment in 0.. {
            let stick = beside(before.clone());
            stick.give(Ticket::new("wipe-1".to_owned(), &before, Timestamp::UNIX_EPOCH));
            stick.cut_at(Some(moment));
            let told = run(&stick, wipe).await;
            if told.last().unwrap().complete {
                assert!(moment > 9, "{moment}");
                break;
            }
            stick.cut_at(None);
            assert!(stick.lies_on().contains(&"vda".to_owned()));
            if stick.target().disk == before {
                outcomes[0] += 1;
            } else if stick.lies_on().len() > 1 {
                assert!(stick.lost_is_strange(), "{moment}: the lost half could be filled from, or joined");
                outcomes[if stick.target().is_unfinished() { 3 } else { 4 }] += 1;
                // Nobody takes what is filled for one to be begun anew.
                assert!(run(&stick, None).await[0].refused.as_ref().unwrap().contains("is filled now"), "{moment}");
            } else {
                outcomes[if stick.lost_is_strange() { 2 } else { 1 }] += 1;
                assert!(stick.target().is_unfinished(), "{moment}: {:?}", stick.target());
                assert!(run(&stick, None).await.last().unwrap().complete, "{moment}");
            }
        }
        assert!(outcomes.iter().all(|it| *it > 0), "{outcomes:?}");
    }
}

#[tokio::test]
async fn what_does_not_read_back_is_not_taken_in() {
    let stick = beside(FakeStick::blank(LEAST));
    stick.spoil();
    let told = run(&stick, None).await;
    assert_eq!(told.last().unwrap().refused.as_deref(), Some("reading it back failed: It does not read back"));
    assert_eq!((stick.lies_on().len(), stick.target().is_unfinished()), (1, true));
}

#[tokio::test]
async fn what_holds_something_is_not_written_to_without_leave() {
    let stick = beside(with_photos());
    let told = run(&stick, None).await;
    assert!(told[0].refused.as_ref().unwrap().contains("it is not blank: there is ext4 \"photos\" on it"), "{told:?}");
    assert_eq!(stick.mutations(), 0);
}

#[test]
fn where_no_half_is_lost_none_is_replaced() {
    let why = |halved: Option<&Halved>| lacking(halved).unwrap_err().to_string();
    assert!(why(None).contains("lies on one disk alone"));
    let both = vec!["vda".to_owned(), "vdb".to_owned()];
    let whole = Halved { halves: StateHalves { on: both, ..StateHalves::default() }, ..lost() };
    assert!(why(Some(&whole)).contains("on /dev/vda and /dev/vdb, and none of its halves is missing"));
    let filled = Halved { halves: StateHalves { is_lacking: true, ..whole.halves }, ..lost() };
    assert!(why(Some(&filled)).contains("is filled now on /dev/vda and /dev/vdb"));
    assert_eq!(lacking(Some(&lost())), Ok(&lost()));
}

#[test]
fn a_half_that_is_there_is_seen_to_first() {
    let target = Target { disk: FakeStick::blank(LEAST), ..Target::default() };
    let told = |why, on: &[&str]| {
        let left_out = Some(LeftOut { why, on: on.iter().map(|it| (*it).to_owned()).collect() });
        let halved = Halved { halves: StateHalves { left_out, ..lost().halves }, ..lost() };
        takes_its_place(&halved, &target).err().map(|it| it.to_string()).unwrap_or_default()
    };
    assert!(told(WhyLeftOut::Differs, &["vdc"]).contains("on /dev/vdc, and was written to without this one"));
    assert!(told(WhyLeftOut::Refused, &["vdc"]).contains("could not be taken back"));
    assert!(told(WhyLeftOut::Several, &["vdc", "vdd"]).contains("is said to be on /dev/vdc and /dev/vdd"));
    // What was replaced before, or belongs to another state, is in nobody's way, nor is one whose own disk is to be erased.
    assert_eq!(told(WhyLeftOut::Strange, &["vdc"]), "");
    // But what this one was replaced by is never erased from here, not even by its name.
    for on in [&["vdb"][..], &["vdc"], &["vdb", "vdc"]] {
        let why = told(WhyLeftOut::Newer, on);
        assert!(why.contains("runs an older state") && why.contains(&format!("on /dev/{}", on[0])), "{why}");
    }
    assert_eq!(told(WhyLeftOut::Differs, &["vdb"]), "");
    let small = Halved { least: LEAST + 1, ..lost() };
    assert!(takes_its_place(&small, &target).unwrap_err().to_string().contains("it is too small"));
    assert_eq!(takes_its_place(&lost(), &target), Ok(()));
    // What is written in small blocks can't be written in large ones.
    let of = |block, with| takes_its_place(&Halved { block, ..lost() }, &Target { block: with, ..target.clone() });
    assert!(of(512, 4096).unwrap_err().to_string().contains("its blocks have 4096 bytes"));
    assert_eq!((of(4096, 512), of(4096, 4096)), (Ok(()), Ok(())));
}

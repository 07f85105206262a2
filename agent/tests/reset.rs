//! The factory reset of a machine in memory: who may order it, and what is there after each moment at which the power may fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use jiff::{SignedDuration, Timestamp};
use piccolo_agent::{
    host::{DiskSeen, Identity, Signature, fake::FakeRenewal},
    reset::{Asked, Data, Ended, Erase, Leave, Refusal, ResetOrder, ResetProgress, ResetView, Typed, plan, reset},
};

const STATE: &str = "4f68bce3";

fn identity(serial: &str) -> Identity {
    Identity { serial: serial.to_owned(), size: 4 << 40, ..Identity::default() }
}

fn erase(serial: &str) -> Erase {
    Erase { name: serial.to_owned(), identity: identity(serial), ..Erase::default() }
}

fn order(erased: &[&str]) -> ResetOrder {
    let erase = erased.iter().map(|it| erase(it)).collect();
    ResetOrder { ticket: "reset-1".to_owned(), state: STATE.to_owned(), erase, ..ResetOrder::default() }
}

/// A machine with its own disk and two for data.
fn view() -> ResetView {
    let data = |serial: &str, device: &str| {
        let ext4 = Signature { offset: 1080, kind: "ext4".to_owned(), ..Signature::default() };
        let mounted = vec!["/srv/photos".to_owned()];
        DiskSeen {
            device: device.to_owned(),
            identity: identity(serial),
            signatures: vec![ext4],
            mounted,
            ..DiskSeen::default()
        }
    };
    let own = DiskSeen { system: true, ..data("OWN", "sda") };
    ResetView { state: STATE.to_owned(), disks: vec![own, data("A", "sdb"), data("B", "sdc")], pending: None }
}

fn typed(disk: &str, serial: &str) -> Typed {
    Typed { disk: disk.to_owned(), serial: serial.to_owned() }
}

fn give(machine: &str, data: Data, now: Timestamp) -> Result<Leave, Refusal> {
    let asked = Asked { machine: machine.to_owned(), data };
    Leave::give(&asked, &view(), "attic", "reset-1".to_owned(), now)
}

fn why<T>(given: Result<T, Refusal>) -> String {
    given.err().map(|it| it.0).unwrap_or_default()
}

#[test]
fn what_was_typed_has_to_be_right() {
    let now = Timestamp::UNIX_EPOCH;
    let refused = |data: Data| why(give("attic", data, now));
    assert!(why(give("cellar", Data::Keep, now)).contains("`cellar` is not the name of this machine"));
    assert!(refused(Data::Erase(vec![])).contains("no disk is named"));
    assert!(refused(Data::Erase(vec![typed("A", "B")])).contains("`B` is not the serial number of"));
    assert!(refused(Data::Erase(vec![typed("C", "C")])).contains("0 disks are called `C`"));
    assert!(refused(Data::Erase(vec![typed("OWN", "OWN")])).contains("the machine itself runs from it"));
    assert!(refused(Data::Erase(vec![typed("A", "A"), typed("sdb", "A")])).contains("named twice"));
    let leave = give("attic", Data::Erase(vec![typed("sdb", "A")]), now).unwrap();
    assert_eq!((leave.ticket(), leave.disks().len()), ("reset-1", 1));
    // Nothing is said of disks for data by leaving something out.
    assert!(serde_json::from_str::<Asked>(r#"{ "machine": "attic" }"#).is_err());
    let asked = serde_json::from_str::<Asked>(r#"{ "machine": "attic", "data": "keep" }"#).unwrap();
    assert_eq!(asked.data, Data::Keep);
}

#[test]
fn leave_holds_for_an_hour_and_for_what_it_was_given_for() {
    let now = Timestamp::UNIX_EPOCH;
    let leave = || give("attic", Data::Erase(vec![typed("A", "A")]), now).unwrap();
    let late = now + SignedDuration::from_secs(3600);
    let soon = now + SignedDuration::from_secs(3599);
    let made = leave().order(&view(), "attic", soon).unwrap();
    assert_eq!(made.erase.iter().map(|it| it.identity.serial.as_str()).collect::<Vec<_>>(), ["A"]);
    assert_eq!((made.state.as_str(), made.ordered), (STATE, soon));
    assert!(why(leave().order(&view(), "attic", late)).contains("an hour, which is over"));
    assert!(why(leave().order(&view(), "attic", now - SignedDuration::from_secs(1))).contains("an hour"));
    assert!(why(leave().order(&view(), "cellar", soon)).contains("another machine"));
    let other = ResetView { state: "other".to_owned(), ..view() };
    assert!(why(leave().order(&other, "attic", soon)).contains("another machine"));
    let mut changed = view();
    changed.disks[1].signatures[0].kind = "xfs".to_owned();
    assert!(why(leave().order(&changed, "attic", soon)).contains("something else was on the disk"));
    let mut gone = view();
    gone.disks.remove(1);
    assert!(why(leave().order(&gone, "attic", soon)).contains("not there alone"));
    // What becomes of another disk is nobody's concern.
    changed.disks[1] = view().disks[1].clone();
    changed.disks[2].signatures.clear();
    assert!(leave().order(&changed, "attic", soon).is_ok());
}

#[test]
fn the_steps_are_these() {
    let said: Vec<_> = plan(&order(&["A"])).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "erasing A",
            "destroying the keys of the state",
            "making an empty state",
            "binding its key to the TPM",
            "making the recovery key",
            "giving the partition of the state a new UUID",
            "taking the order away"
        ]
    );
}

#[tokio::test]
async fn whenever_the_power_fails_it_comes_to_the_same_end() {
    for erased in [&["A"][..], &[]] {
        let mut moments = 0;
        loop {
            let machine = FakeRenewal::used(STATE, &["A", "B"]);
            machine.order_it(order(erased));
            machine.cut_at(Some(moments));
            let first = reset(&machine, Timestamp::UNIX_EPOCH).await;
            // The power may fail again, at the same moment.
            if first.is_err() {
                machine.cut_at(Some(moments));
                drop(reset(&machine, Timestamp::UNIX_EPOCH).await);
            }
            machine.cut_at(None);
            // One that has lost its order by then was done.
            drop(reset(&machine, Timestamp::UNIX_EPOCH).await);
            let (key, done) = machine.is_new().unwrap_or_else(|| panic!("cut at {moments}: {machine:?}"));
            assert!(machine.shown().contains(&format!("recovery key {key}")), "cut at {moments}");
            assert!(!machine.remembers());
            assert_eq!(machine.on("B").as_deref(), Some("photos"), "cut at {moments}");
            let left = if erased.is_empty() { "photos" } else { "" };
            assert_eq!(machine.on("A").as_deref(), Some(left), "cut at {moments}");
            assert!(done.left.is_empty(), "{done:?}");
            if first == Ok(Ended::Reset) {
                break;
            }
            moments += 1;
        }
        assert!(moments >= 24, "{moments} moments");
    }
}

#[tokio::test]
async fn what_was_known_is_gone_before_anything_new_is_made() {
    let machine = FakeRenewal::used(STATE, &[]);
    machine.order_it(order(&[]));
    // Before the first step nothing is gone.
    machine.cut_at(Some(6));
    assert!(reset(&machine, Timestamp::UNIX_EPOCH).await.unwrap_err().0.contains("destroying the keys"));
    assert!(machine.remembers());
    machine.cut_at(Some(4));
    assert!(reset(&machine, Timestamp::UNIX_EPOCH).await.unwrap_err().0.contains("destroying the keys"));
    assert!(!machine.remembers());
    assert_eq!(machine.is_new(), None);
}

#[tokio::test]
async fn without_an_order_for_it_nothing_is_touched() {
    let machine = FakeRenewal::used("another", &["A"]);
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    machine.order_it(order(&["A"]));
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    assert!(machine.shown().iter().any(|it| it.contains("for another machine")), "{:?}", machine.shown());
    assert!(machine.remembers());
    assert_eq!(machine.on("A").as_deref(), Some("photos"));
    let nobodys = FakeRenewal::used("", &[]);
    nobodys.order_it(ResetOrder { state: String::new(), ..order(&[]) });
    assert_eq!(reset(&nobodys, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    assert!(nobodys.remembers());
}

#[tokio::test]
async fn a_disk_that_is_gone_is_told_of_and_holds_nothing_up() {
    let machine = FakeRenewal::used(STATE, &["A"]);
    machine.order_it(order(&["gone", "A"]));
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Reset));
    let (_, done) = machine.is_new().unwrap();
    assert_eq!(done.erased, ["A"]);
    assert_eq!(done.left, ["gone was not erased to its end: 0 disks with its serial number are there"]);
}

#[tokio::test]
async fn an_order_holds_for_a_day_unless_it_was_begun() {
    let late = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24);
    let machine = FakeRenewal::used(STATE, &["A"]);
    machine.order_it(order(&["A"]));
    assert_eq!(reset(&machine, late).await, Ok(Ended::Nothing));
    assert!(machine.remembers() && machine.word().unwrap().contains("more than a day ago"));
    assert_eq!(machine.on("A").as_deref(), Some("photos"));
    let begun = FakeRenewal::used(STATE, &[]);
    begun.order_it(order(&[]));
    begun.cut_at(Some(8));
    assert!(reset(&begun, late - SignedDuration::from_secs(1)).await.is_err());
    begun.cut_at(None);
    assert_eq!(reset(&begun, late).await, Ok(Ended::Reset));
}

#[tokio::test]
async fn without_its_tpm_nothing_is_erased_and_what_was_begun_ends_some_time() {
    let machine = FakeRenewal::used(STATE, &["A"]);
    machine.order_it(order(&["A"]));
    machine.mute(true);
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    assert!(machine.remembers() && machine.word().unwrap().contains("The TPM does not answer"));
    assert_eq!(machine.on("A").as_deref(), Some("photos"));
    // One that failed when the state was gone already is tried again, and not for ever.
    let begun = FakeRenewal::used(STATE, &[]);
    begun.order_it(order(&[]));
    begun.cut_at(Some(8));
    assert!(reset(&begun, Timestamp::UNIX_EPOCH).await.is_err());
    begun.cut_at(None);
    begun.mute(true);
    let mut tries = 1;
    while reset(&begun, Timestamp::UNIX_EPOCH).await.is_err() {
        tries += 1;
        assert!(tries < 100, "it never ends");
    }
    assert_eq!(tries, 10);
    assert!(begun.word().unwrap().contains("failed 10 times"));
}

#[tokio::test]
async fn an_order_that_was_done_is_for_no_machine_any_more() {
    let machine = FakeRenewal::used(STATE, &["A"]);
    machine.order_it(order(&["A"]));
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Reset));
    let before = machine.is_new().unwrap();
    // Somebody puts its copy back.
    machine.forge(order(&["A"]));
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    assert_eq!(machine.is_new(), Some(before));
}

#[tokio::test]
async fn what_somebody_else_put_beside_the_loader_erases_nothing() {
    let begun = ResetProgress { ticket: "reset-1".to_owned(), tries: 1, has_begun: true };
    for progress in [ResetProgress::default(), begun] {
        let machine = FakeRenewal::used(STATE, &["A", "B"]);
        // What the machine ordered itself gives no leave for anything else.
        machine.order_it(order(&["B"]));
        machine.forge(order(&["A"]));
        machine.forge_progress(progress);
        assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
        assert!(machine.remembers() && machine.word().unwrap().contains("this machine did not give the order"));
        assert_eq!(machine.on("A").as_deref(), Some("photos"));
    }
    // The same words make the same order, and nothing less does.
    assert_eq!(order(&["A"]).digest(), order(&["A"]).digest());
    let others = [order(&[]), order(&["B"]), ResetOrder { ticket: "reset-2".to_owned(), ..order(&["A"]) }];
    assert!(others.iter().all(|it| it.digest() != order(&["A"]).digest()));
}

#[tokio::test]
async fn where_the_state_can_t_be_asked_nothing_is_begun() {
    let machine = FakeRenewal::used(STATE, &["A"]);
    machine.order_it(order(&["A"]));
    machine.lock_out();
    assert_eq!(reset(&machine, Timestamp::UNIX_EPOCH).await, Ok(Ended::Nothing));
    assert!(machine.remembers() && machine.word().unwrap().contains("can't be told who gave the order"));
    assert_eq!(machine.on("A").as_deref(), Some("photos"));
    // What is noted beside the order makes no difference to a state that is still there.
    machine.forge(order(&["A"]));
    machine.forge_progress(ResetProgress { ticket: "reset-1".to_owned(), tries: 1, has_begun: true });
    assert!(reset(&machine, Timestamp::UNIX_EPOCH).await.is_err());
    assert!(machine.remembers());
    assert_eq!(machine.on("A").as_deref(), Some("photos"));
    // Where its keys were destroyed it is gone on with, also if what was noted beside the order is lost.
    let begun = FakeRenewal::used(STATE, &["A"]);
    begun.order_it(order(&["A"]));
    begun.cut_at(Some(13));
    assert!(reset(&begun, Timestamp::UNIX_EPOCH).await.unwrap_err().0.contains("making an empty state"));
    begun.cut_at(None);
    begun.forge_progress(ResetProgress::default());
    assert_eq!(reset(&begun, Timestamp::UNIX_EPOCH).await, Ok(Ended::Reset));
    assert!(begun.is_new().is_some());
}

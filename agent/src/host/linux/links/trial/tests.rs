//! Whatever ends, and whenever: what nobody confirmed is put back.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::{super::files::prepare, *};
use crate::{
    file::{self, strict::mode},
    host::{PREFIX, STAMP},
};

/// A machine of two directories.
struct House {
    dir: TempDir,
    book: TrialBook,
}

/// Where the daemon, or the machine, ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Begun,
    HalfWritten,
    Written,
    HalfPutBack,
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let units = dir.path().join("network");
        fs::create_dir(&units).unwrap();
        let book = {
            let radios = Radios::within(dir.path(), Path::new("true"));
            TrialBook::new(dir.path().join("net-try"), units, radios, dir.path().join("keys"))
        };
        Self { dir, book }
    }

    fn write(&self, name: &str, text: &str) {
        put(&self.dir.path().join("network").join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        file::gone(fs::remove_file(self.dir.path().join("network").join(name))).unwrap();
    }

    fn files(&self) -> BTreeMap<String, String> {
        let home = self.dir.path().join("network");
        names(&home).unwrap().into_iter().map(|name| (name.clone(), read(&home.join(&name)).unwrap())).collect()
    }
}

fn unit(subject: &str, what: &str) -> String {
    format!("{STAMP}{subject}\n[Network]\n{what}\n")
}

fn at(seconds: u64) -> Uptime {
    Uptime { boot: "one".to_owned(), up: Duration::from_secs(seconds) }
}

fn after_a_start() -> Uptime {
    Uptime { boot: "two".to_owned(), up: Duration::from_secs(5) }
}

/// One file changes, one comes, one goes; one is a person's own.
fn change(house: &House, number: u32, half: bool) {
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", &format!("Address=10.0.0.{number}/24")));
    if !half {
        house.write(&format!("{PREFIX}new.netdev"), &unit("new", "x"));
        house.remove(&format!("{PREFIX}old.network"));
    }
}

#[test]
fn a_hundred_changes_go_back_wherever_the_daemon_or_the_machine_ends() {
    let mut back = 0;
    for number in 0..100_u32 {
        for end in [End::Begun, End::HalfWritten, End::Written, End::HalfPutBack] {
            let started_anew = number.is_multiple_of(2);
            let house = House::new();
            house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
            house.write(&format!("{PREFIX}old.network"), &unit("old", "DHCP=ipv4"));
            house.write("20-mine.network", "[Match]\nName=wlan0\n");
            let before = house.files();
            let left = house.book.begin("lan", "digest", &BTreeSet::new(), &at(10), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(left, Begun { left: TIME, joined: false });
            match end {
                End::Begun => {}
                End::HalfWritten => change(&house, number, true),
                _ => change(&house, number, false),
            }
            let late = if started_anew { after_a_start() } else { at(10 + TIME.as_secs()) };
            if matches!(end, End::HalfPutBack) {
                // The files are back, the trial is not over: its end is what is done last.
                house.book.restore(&late).unwrap().unwrap();
                change(&house, number, true);
            }
            let restored = house.book.restore(&late).unwrap().unwrap();
            house.book.finish(&late).unwrap();
            assert_eq!(house.files(), before, "{end:?}");
            assert_eq!(restored.files.is_empty(), matches!(end, End::Begun));
            let (trial, refused) = house.book.seen(&late).unwrap();
            assert_eq!((trial, refused.get("lan").map(String::as_str)), (None, Some("digest")));
            assert_eq!(house.book.restore(&late).unwrap(), None);
            back += 1;
        }
    }
    assert_eq!(back, 400);
}

#[test]
fn what_is_confirmed_in_time_stays_and_too_late_is_too_late() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    assert_eq!(house.book.confirm(None, &at(1)).unwrap_err().reason, Reason::Gone);
    house.book.begin("lan", "one", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).unwrap();
    change(&house, 7, false);
    let changed = house.files();
    assert_eq!(house.book.restore(&at(TIME.as_secs() - 1)).unwrap(), None);
    house.book.confirm(None, &at(TIME.as_secs() - 1)).unwrap();
    assert_eq!(house.book.restore(&at(TIME.as_secs())).unwrap(), None);
    assert_eq!(house.files(), changed);

    house.book.begin("lan", "two", &BTreeSet::new(), &at(1000), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(house.book.confirm(None, &at(1000 + TIME.as_secs())).unwrap_err().reason, Reason::TimedOut);
    assert_eq!(house.book.confirm(None, &after_a_start()).unwrap_err().reason, Reason::TimedOut);
}

#[test]
fn a_confirmation_of_one_change_is_none_of_another() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let begin = |at: &Uptime| house.book.begin("lan", "one", &BTreeSet::new(), at, Timestamp::UNIX_EPOCH).unwrap();
    let id = |at: &Uptime| house.book.seen(at).unwrap().0.unwrap().id;
    begin(&at(0));
    let first = id(&at(1));
    house.book.restore(&at(TIME.as_secs())).unwrap().unwrap();
    house.book.finish(&at(TIME.as_secs())).unwrap();
    house.book.forget_refused().unwrap();
    // One that was meant for what is put back by now comes late.
    begin(&at(200));
    assert_eq!(house.book.confirm(Some(&first), &at(201)).unwrap_err().reason, Reason::Gone);
    house.book.confirm(Some(&id(&at(201))), &at(202)).unwrap();
}

#[test]
fn a_second_change_joins_and_gets_no_time_of_its_own() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let before = house.files();
    house.book.begin("lan", "one", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).unwrap();
    change(&house, 7, false);
    let first = house.book.seen(&at(1)).unwrap().0.unwrap().id;
    let left = house.book.begin("new", "two", &BTreeSet::new(), &at(60), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(left, Begun { left: TIME - Duration::from_secs(60), joined: true });
    // Who has seen the first alone does not speak for both, and what puts back an earlier one does not end them.
    assert_ne!(house.book.seen(&at(61)).unwrap().0.unwrap().id, first);
    assert_eq!(house.book.confirm(Some(&first), &at(61)).unwrap_err().reason, Reason::Gone);
    house.book.finish(&at(61)).unwrap();
    assert_eq!(house.book.left(&at(61)).unwrap(), Some(TIME - Duration::from_secs(61)));
    let late = at(TIME.as_secs());
    assert_eq!(house.book.left(&late).unwrap(), Some(Duration::ZERO));
    assert_eq!(
        house.book.begin("more", "three", &BTreeSet::new(), &late, Timestamp::UNIX_EPOCH).unwrap_err().reason,
        Reason::InUse
    );
    let restored = house.book.restore(&late).unwrap().unwrap();
    assert_eq!(restored.devices, ["new".to_owned()].into());
    assert!(house.files().iter().all(|(name, text)| before.get(name) == Some(text)));
    house.book.finish(&late).unwrap();
    assert_eq!(house.book.seen(&late).unwrap().1.len(), 2);
    house.book.forget_refused().unwrap();
    assert_eq!(house.book.seen(&late).unwrap().1.len(), 0);
}

/// The key that a Secret changed, also at the start of the machine, when its memory is empty.
#[test]
fn a_key_is_put_back_with_its_rights_and_is_written_down_no_longer_than_the_trial_goes_on() {
    for (started, half) in [(false, false), (false, true), (true, false)] {
        let house = House::new();
        let keys = house.dir.path().join("keys");
        let key = |name: &str, text: &str| put(&keys.join(name), text).unwrap();
        prepare(&keys).unwrap();
        key("vpn.key", "first\n");
        key("vpn.digest", "d1");
        house.book.begin("vpn", "one", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(mode(&house.dir.path().join("net-try/trial.json")), 0o600);
        for subject in ["vpn", "new"] {
            house.book.touch_key(subject).unwrap();
        }
        key("new.key", "third\n");
        key("new.digest", "d3");
        key("vpn.key", "second\n");
        // The daemon may end between the two.
        if !half {
            key("vpn.digest", "d2");
        }
        let now = if started { after_a_start() } else { at(90) };
        if started {
            fs::remove_dir_all(&keys).unwrap();
        }
        for _ in 0..2 {
            let restored = house.book.restore(&now).unwrap().unwrap();
            assert_eq!(restored.devices, ["new".to_owned(), "vpn".to_owned()].into());
            assert_eq!(fs::read_to_string(keys.join("vpn.key")).unwrap(), "first\n");
            assert_eq!(fs::read_to_string(keys.join("vpn.digest")).unwrap(), "d1");
            assert_eq!(
                (mode(&keys), mode(&keys.join("vpn.key")), mode(&keys.join("vpn.digest"))),
                (0o755, 0o640, 0o600)
            );
            assert_eq!(names(&keys).unwrap().len(), 2);
        }
        house.book.finish(&now).unwrap();
        let book = names(&house.dir.path().join("net-try")).unwrap();
        let text: String =
            book.iter().map(|it| fs::read_to_string(house.dir.path().join("net-try").join(it)).unwrap()).collect();
        assert!(!["first", "second", "third"].iter().any(|it| text.contains(it)), "{text}");
        // It is refused while a key is there; after a start of the machine the link would have none at all.
        assert_eq!(house.book.allows_key("vpn", "one", &now).unwrap_err().reason, Reason::Refused);
        fs::remove_dir_all(&keys).unwrap();
        house.book.allows_key("vpn", "one", &now).unwrap();
    }
}

#[test]
fn a_damaged_book_is_an_error_and_changes_nothing() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let before = house.files();
    house.book.begin("lan", "one", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).unwrap();
    put(&house.dir.path().join("net-try/trial.json"), "{").unwrap();
    assert!(house.book.restore(&at(500)).is_err());
    assert!(house.book.begin("lan", "one", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(house.files(), before);
}

#[test]
fn what_works_no_more_goes_back_before_its_time_and_says_why() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let files = house.files();
    let before: BTreeSet<String> = ["gateway".to_owned()].into();
    house.book.begin("lan", "one", &before, &at(0), Timestamp::UNIX_EPOCH).unwrap();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "Address=10.0.0.7/24"));
    assert_eq!(house.book.before(&at(5)).unwrap(), Some(before));
    assert_eq!(house.book.restore(&at(5)).unwrap(), None);
    house.book.fail("router 10.0.0.1 does not answer").unwrap();
    // Nobody confirms it any more, whoever puts it back.
    assert_eq!(house.book.before(&at(5)).unwrap(), None);
    assert_eq!(house.book.confirm(None, &at(5)).unwrap_err().reason, Reason::TimedOut);
    assert_eq!(
        house.book.begin("lan", "one", &BTreeSet::new(), &at(5), Timestamp::UNIX_EPOCH).unwrap_err().reason,
        Reason::InUse
    );
    house.book.restore(&at(5)).unwrap().unwrap();
    house.book.finish(&at(5)).unwrap();
    assert_eq!(house.files(), files);
    assert_eq!(house.book.failed().unwrap()["lan"], "router 10.0.0.1 does not answer");

    // Another one whose time runs out has no such reason.
    house.book.begin("lan", "two", &BTreeSet::new(), &at(10), Timestamp::UNIX_EPOCH).unwrap();
    house.book.restore(&at(10 + TIME.as_secs())).unwrap().unwrap();
    house.book.finish(&at(10 + TIME.as_secs())).unwrap();
    assert_eq!(house.book.failed().unwrap(), BTreeMap::new());
    house.book.fail("nothing is on trial").unwrap();
    assert_eq!(house.book.seen(&at(200)).unwrap().0, None);
}

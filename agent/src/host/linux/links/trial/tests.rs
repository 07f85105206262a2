//! Whatever ends, and whenever: what nobody confirmed is put back.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::host::{PREFIX, STAMP};

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
        let book = TrialBook::new(dir.path().join("net-try"), units);
        Self { dir, book }
    }

    fn write(&self, name: &str, text: &str) {
        put(&self.dir.path().join("network").join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        gone(fs::remove_file(self.dir.path().join("network").join(name))).unwrap();
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
    for number in 0..100 {
        for end in [End::Begun, End::HalfWritten, End::Written, End::HalfPutBack] {
            for started_anew in [false, true] {
                let house = House::new();
                house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
                house.write(&format!("{PREFIX}old.network"), &unit("old", "DHCP=ipv4"));
                house.write("20-mine.network", "[Match]\nName=wlan0\n");
                let before = house.files();
                let left = house.book.begin("lan", "digest", &at(10), Timestamp::UNIX_EPOCH).unwrap();
                assert_eq!(left, TIME);
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
                house.book.finish().unwrap();
                assert_eq!(house.files(), before, "{end:?}");
                assert_eq!(restored.files.is_empty(), matches!(end, End::Begun));
                let (trial, refused) = house.book.seen(&late).unwrap();
                assert_eq!((trial, refused.get("lan").map(String::as_str)), (None, Some("digest")));
                assert_eq!(house.book.restore(&late).unwrap(), None);
                back += 1;
            }
        }
    }
    assert_eq!(back, 800);
}

#[test]
fn what_is_confirmed_in_time_stays_and_too_late_is_too_late() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    assert_eq!(house.book.confirm(&at(1)).unwrap_err().reason, Reason::Gone);
    house.book.begin("lan", "one", &at(0), Timestamp::UNIX_EPOCH).unwrap();
    change(&house, 7, false);
    let changed = house.files();
    assert_eq!(house.book.restore(&at(TIME.as_secs() - 1)).unwrap(), None);
    house.book.confirm(&at(TIME.as_secs() - 1)).unwrap();
    assert_eq!(house.book.restore(&at(TIME.as_secs())).unwrap(), None);
    assert_eq!(house.files(), changed);

    house.book.begin("lan", "two", &at(1000), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(house.book.confirm(&at(1000 + TIME.as_secs())).unwrap_err().reason, Reason::TimedOut);
    assert_eq!(house.book.confirm(&after_a_start()).unwrap_err().reason, Reason::TimedOut);
}

#[test]
fn a_second_change_joins_and_gets_no_time_of_its_own() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let before = house.files();
    house.book.begin("lan", "one", &at(0), Timestamp::UNIX_EPOCH).unwrap();
    change(&house, 7, false);
    let left = house.book.begin("new", "two", &at(60), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(left, TIME - Duration::from_secs(60));
    let late = at(TIME.as_secs());
    assert_eq!(house.book.begin("more", "three", &late, Timestamp::UNIX_EPOCH).unwrap_err().reason, Reason::InUse);
    let restored = house.book.restore(&late).unwrap().unwrap();
    assert_eq!(restored.devices, ["new"]);
    assert!(house.files().iter().all(|(name, text)| before.get(name) == Some(text)));
    house.book.finish().unwrap();
    assert_eq!(house.book.seen(&late).unwrap().1.len(), 2);
    house.book.forget_refused().unwrap();
    assert_eq!(house.book.seen(&late).unwrap().1.len(), 0);
}

#[test]
fn a_damaged_book_is_an_error_and_changes_nothing() {
    let house = House::new();
    house.write(&format!("{PREFIX}lan.network"), &unit("lan", "DHCP=ipv4"));
    let before = house.files();
    house.book.begin("lan", "one", &at(0), Timestamp::UNIX_EPOCH).unwrap();
    put(&house.dir.path().join("net-try/trial.json"), "{").unwrap();
    assert!(house.book.restore(&at(500)).is_err());
    assert!(house.book.begin("lan", "one", &at(0), Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(house.files(), before);
}

//! Files of wpa_supplicant: nobody else's are touched, nobody else reads them, and those of a change that nobody confirmed are
//! put back wherever it ends.

use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt, symlink},
};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    super::trial::{TrialBook, put_links_back},
    *,
};
use crate::{
    clock::Uptime,
    malformed::{malformed, often},
};

const OLD: &str = "# piccolo.os/link=air\nnetwork={\nssid=61\nsae_password=6f6c64\n}\n";
const NEW: &str = "# piccolo.os/link=air\nnetwork={\nssid=61\nsae_password=6e6577\n}\n";

/// A machine of a few directories, with a stand-in for systemctl.
struct House {
    dir: TempDir,
    radios: Radios,
    book: TrialBook,
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/networkd/units.sh");
        symlink(script, dir.path().join("systemctl")).unwrap();
        for name in ["wpa_supplicant", "network"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let radios = Radios::within(dir.path(), &dir.path().join("systemctl"));
        let mut book = TrialBook::new(
            dir.path().join("net-try"),
            dir.path().join("network"),
            radios.clone(),
            dir.path().join("marks"),
        );
        // The networkd of the machine that tests run on is told nothing.
        book.networkctl = "true".to_owned();
        Self { dir, radios, book }
    }

    fn path(&self, device: &str) -> PathBuf {
        self.dir.path().join("wpa_supplicant").join(name(device))
    }

    fn text(&self, device: &str) -> String {
        fs::read_to_string(self.path(device)).unwrap_or_default()
    }

    fn told(&self) -> String {
        fs::read_to_string(self.dir.path().join("on/told")).unwrap_or_default()
    }

    async fn seen(&self, device: &str) -> WifiSeen {
        self.radios.seen().await.unwrap().into_iter().find(|it| it.device == device).unwrap()
    }

    /// Changes the file of a port as the daemon does.
    fn change(&self, device: &str, text: &str) {
        self.book.touch(device).unwrap();
        self.radios.write("air", device, text, "new").unwrap();
    }

    /// All that is written down of a change on trial.
    fn book(&self) -> String {
        let files = fs::read_dir(self.dir.path().join("net-try")).unwrap();
        files.map(|it| fs::read_to_string(it.unwrap().path()).unwrap()).collect()
    }
}

fn at(seconds: u64) -> Uptime {
    Uptime { boot: "one".to_owned(), up: Duration::from_secs(seconds) }
}

fn begin(house: &House) {
    house.book.begin("air", "change", &BTreeSet::new(), &at(0), Timestamp::UNIX_EPOCH).unwrap();
}

#[tokio::test]
async fn a_file_is_roots_alone_and_what_a_hand_did_is_seen() {
    let house = House::new();
    house.radios.write("air", "wlan0", OLD, "old").unwrap();
    assert_eq!(fs::metadata(house.path("wlan0")).unwrap().permissions().mode() & 0o777, 0o600);
    let seen = house.seen("wlan0").await;
    assert_eq!((seen.subject.as_deref(), seen.digest.as_deref(), seen.serves), (Some("air"), Some("old"), false));
    house.radios.serve("wlan0").await.unwrap();
    assert!(house.seen("wlan0").await.serves);
    // After a start of the machine it runs with its file, whoever knows of that.
    fs::remove_file(house.dir.path().join("marks/wlan0.wifi")).unwrap();
    assert!(house.seen("wlan0").await.serves);
    // What is written is not in force before it was told.
    house.radios.write("air", "wlan0", NEW, "new").unwrap();
    assert!(!house.seen("wlan0").await.serves);
    house.radios.serve("wlan0").await.unwrap();
    fs::remove_file(house.dir.path().join("on/runs wpa_supplicant@wlan0.service")).unwrap();
    assert!(!house.seen("wlan0").await.serves);
    let text = house.text("wlan0");
    for hand in [text.replace("6e6577", "6e6578"), format!("{text}bgscan=\"x\"\n"), text.replace("written", "x")] {
        put(&house.path("wlan0"), &hand).unwrap();
        assert_eq!(house.seen("wlan0").await.digest, None);
    }
    house.radios.remove("air", "wlan0").await.unwrap();
    assert!(house.radios.seen().await.unwrap().is_empty());
    assert!(house.told().ends_with("disable --now wpa_supplicant@wlan0.service\n"), "{}", house.told());
}

#[tokio::test]
async fn what_others_wrote_is_never_touched() {
    let house = House::new();
    for theirs in ["network={\n}\n", "# piccolo.os/link=other\n"] {
        put(&house.path("wlan0"), theirs).unwrap();
        assert_eq!(house.radios.write("air", "wlan0", NEW, "new").unwrap_err().reason, Reason::NameTaken);
        assert_eq!(house.radios.remove("air", "wlan0").await.unwrap_err().reason, Reason::NameTaken);
        assert_eq!(house.text("wlan0"), theirs);
    }
    put(&house.path("wlan0"), "network={\n}\n").unwrap();
    let seen = house.seen("wlan0").await;
    assert_eq!((seen.subject, seen.digest, seen.serves), (None, None, false));
    // Nor when a change is put back in whose time somebody wrote it.
    fs::remove_file(house.path("wlan0")).unwrap();
    begin(&house);
    house.change("wlan0", NEW);
    put(&house.path("wlan0"), "network={\n}\n").unwrap();
    let told = house.told();
    put_links_back(&house.book, &at(90), true).await.unwrap().unwrap();
    assert_eq!(house.text("wlan0"), "network={\n}\n");
    // Nor is the service that they have.
    assert_eq!(house.told(), told);
}

/// At the start of the machine, as by then nobody but systemd needs to be told.
#[tokio::test]
async fn a_network_is_put_back_wherever_the_change_of_it_ends() {
    for (before, end) in [true, false].into_iter().flat_map(|it| (0..4).map(move |end| (it, end))) {
        let house = House::new();
        if before {
            house.radios.write("air", "wlan0", OLD, "old").unwrap();
            house.radios.serve("wlan0").await.unwrap();
        }
        let old = house.text("wlan0");
        begin(&house);
        let mode = fs::metadata(house.dir.path().join("net-try/trial.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        match end {
            // Before anything was written, after it, after it was told, and after a putting back that ended half-way.
            0 => house.book.touch("wlan0").unwrap(),
            1 => house.change("wlan0", NEW),
            2 => {
                house.change("wlan0", NEW);
                house.radios.serve("wlan0").await.unwrap();
            }
            _ => {
                house.change("wlan0", NEW);
                house.radios.serve("wlan0").await.unwrap();
                house.book.restore(&at(90)).unwrap().unwrap();
            }
        }
        put_links_back(&house.book, &Uptime { boot: "two".to_owned(), ..at(5) }, false).await.unwrap().unwrap();
        assert_eq!(house.text("wlan0"), old, "{before} {end}");
        let last = if before { "start wpa_supplicant@wlan0.service" } else { "disable wpa_supplicant@wlan0.service" };
        assert!(house.told().trim_end().ends_with(last), "{before} {end}: {}", house.told());
        // What it was, and what it was to be, is written down no more.
        let book = house.book();
        assert!(!book.contains("6f6c64") && !book.contains("6e6577"), "{book}");
    }
}

#[tokio::test]
async fn a_network_that_is_put_back_while_the_machine_runs_is_joined_again() {
    let house = House::new();
    house.radios.write("air", "wlan0", OLD, "old").unwrap();
    house.radios.serve("wlan0").await.unwrap();
    begin(&house);
    house.change("wlan0", NEW);
    house.change("wlan1", NEW);
    for device in ["wlan0", "wlan1"] {
        house.radios.serve(device).await.unwrap();
    }
    let restored = put_links_back(&house.book, &at(90), true).await.unwrap().unwrap();
    assert_eq!(restored.files, [name("wlan0"), name("wlan1")]);
    assert!(house.told().ends_with("disable --now wpa_supplicant@wlan1.service\n"), "{}", house.told());
    assert!(house.seen("wlan0").await.serves);
    assert_eq!(house.radios.seen().await.unwrap().len(), 1);
}

/// Neither one that can't be served nor one of which nobody hears keeps other ports, and every later change, waiting.
#[tokio::test]
async fn a_port_that_is_not_served_holds_nothing_up() {
    let mut house = House::new();
    house.book.radios.patience = Duration::from_secs(4);
    let ports = ["wlan0", "wlan1", "wlan2"];
    for device in ports {
        house.radios.write("air", device, OLD, "old").unwrap();
    }
    begin(&house);
    ports.iter().for_each(|device| house.change(device, NEW));
    fs::create_dir(house.dir.path().join("on")).unwrap();
    for word in ["refuses wpa_supplicant@wlan0.service", "hangs wpa_supplicant@wlan1.service"] {
        put(&house.dir.path().join("on").join(word), "").unwrap();
    }
    put_links_back(&house.book, &at(90), true).await.unwrap().unwrap();
    assert!(house.told().ends_with("restart wpa_supplicant@wlan2.service\n"), "{}", house.told());
    assert!(ports.iter().all(|device| house.text(device).starts_with(OLD)));
    // It is over, and the next change has a trial of its own.
    assert_eq!(house.book.left(&at(90)).unwrap(), None);
    assert!(!house.book.begin("air", "next", &BTreeSet::new(), &at(91), Timestamp::UNIX_EPOCH).unwrap().joined);
}

/// A writing that was broken off leaves no password behind.
#[tokio::test]
async fn what_a_broken_writing_left_goes_too() {
    let house = House::new();
    house.radios.write("air", "wlan0", OLD, "old").unwrap();
    let (file, trial) = (house.path("wlan0").with_extension("writing"), house.dir.path().join("net-try/trial.writing"));
    begin(&house);
    for half in [&file, &trial] {
        put(half, "sae_password=6f6c64").unwrap();
    }
    house.book.confirm(None, &at(1)).unwrap();
    house.radios.remove("air", "wlan0").await.unwrap();
    assert!(!file.exists() && !trial.exists());
}

#[tokio::test]
async fn a_confirmed_network_stays_and_its_former_password_goes() {
    let house = House::new();
    house.radios.write("air", "wlan0", OLD, "old").unwrap();
    begin(&house);
    house.change("wlan0", NEW);
    assert!(house.book().contains("6f6c64"));
    house.book.confirm(None, &at(50)).unwrap();
    assert!(!house.book().contains("6f6c64"));
    assert_eq!(house.book.restore(&at(90)).unwrap(), None);
    assert!(house.text("wlan0").starts_with(NEW));
}

#[test]
fn units_are_called_as_systemd_wants_it() {
    for (device, is) in [
        ("wlan0", "wpa_supplicant@wlan0.service"),
        ("wlp3s0", "wpa_supplicant@wlp3s0.service"),
        ("wl-home", "wpa_supplicant@wl\\x2dhome.service"),
        ("a b%", "wpa_supplicant@a\\x20b\\x25.service"),
    ] {
        assert_eq!(unit(device), is);
    }
}

#[test]
fn a_machine_without_the_program_is_told_what_brings_it() {
    let house = House::new();
    assert!(house.radios.missing().is_some_and(|it| it.contains("apt install wpasupplicant")));
    fs::create_dir(house.dir.path().join("units")).unwrap();
    put(&house.dir.path().join("units").join(TEMPLATE), "").unwrap();
    assert_eq!(house.radios.missing(), None);
}

const TOLD: &str = "ActiveState=active\nUnitFileState=enabled\n";
const OURS: &str = "# piccolo.os/link=air\nnetwork={\nssid=61\n}\n# piccolo.os/written=0123 4567\n";

proptest! {
    #![proptest_config(often())]

    #[test]
    fn no_text_breaks_it(told in malformed(TOLD), file in malformed(OURS)) {
        prop_assert!(!is_in_force(&told) || told.contains("ActiveState=active"), "{:?}", told);
        let (subject, digest) = whose(&file);
        prop_assert!(subject.is_none_or(|it| file.contains(&it)) && digest.is_none(), "{:?}", file);
    }
}

mod images;

use std::{collections::BTreeMap, fs, path::PathBuf};

use proptest::prelude::*;

use super::{kept::registers, *};
use crate::host::{Measured, Pcrs, Versions};

/// Starts of an emulated machine with a software TPM: firmware, systemd-boot, an image with kernel and initrd. Each log and
/// the registers were read by the kernel that started.
const STARTS: [&str; 6] = ["first", "command-line", "release", "firmware", "secure-boot-off", "secure-boot-on"];
/// What a log has of one record beside what was measured: register, kind, number of digests, length.
const FIRST_RECORD: usize = 32 + 45;

fn recorded(name: &str, ending: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/starts").join(format!("{name}.{ending}"));
    fs::read(path).unwrap()
}

fn measured(name: &str) -> Measured {
    let text = String::from_utf8(recorded(name, "registers")).unwrap();
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    let registers = pairs.map(|(pcr, value)| (pcr.parse().unwrap(), value.to_owned())).collect();
    Measured { firmware_log: recorded(name, "log"), registers, ..Measured::default() }
}

fn story(name: &str) -> Story {
    Story::read(&recorded(name, "log"), b"").unwrap()
}

fn why(before: &Measured, after: &Measured) -> Why {
    let kept = Kept::of(before.clone(), "2026-01-01T00:00:00Z".to_owned()).unwrap();
    Why::find(Some(&kept), after, "7,11".parse().unwrap())
}

/// Tells what changed in short: registers and parts.
fn told(why: &Why) -> Vec<String> {
    why.causes.iter().map(|it| format!("{} {}", it.change.pcr, it.change.part)).collect()
}

/// One more record of a log.
fn record(pcr: u32, kind: u32, digest: &Sum, data: &[u8]) -> Vec<u8> {
    let banks: [(u16, &[u8]); 4] = [(4, &[0; 20]), (0xb, digest), (0xc, &[0; 48]), (0xd, &[0; 64])];
    let mut bytes = [pcr.to_le_bytes(), kind.to_le_bytes(), 4_u32.to_le_bytes()].concat();
    for (algorithm, digest) in banks {
        bytes.extend(algorithm.to_le_bytes());
        bytes.extend(digest);
    }
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

fn later(pcr: u8, digest: &str, kind: &str, text: &str) -> Vec<u8> {
    let json = serde_json::json!({ "pcr": pcr, "digests": [{ "hashAlg": "sha256", "digest": digest }],
        "content_type": "systemd", "content": { "eventType": kind, "string": text } });
    format!("\u{1e}{json}\n").into_bytes()
}

#[test]
fn logs_of_real_starts_come_to_what_the_chip_held() {
    for name in STARTS {
        let (story, measured) = (story(name), measured(name));
        assert!(story.events.len() > 35, "{name}");
        assert_eq!(story.untrue(&registers(&measured)), Pcrs::NONE, "{name}");
        let wrong = Measured { registers: BTreeMap::from([(4, "00".repeat(32))]), ..measured };
        assert_eq!(story.untrue(&registers(&wrong)).to_string(), "4", "{name}");
    }
}

#[test]
fn what_changed_between_real_starts_is_named() {
    let first = measured("first");
    let found = why(&first, &first);
    assert_eq!((found.verdict, told(&found).len()), (Verdict::NothingChanged, 0));
    assert!(found.message.starts_with("nothing changed since 2026-01-01"), "{}", found.message);
    for (name, expected) in [
        ("command-line", &["4 the kernel", "9 the kernel's command line", "11 the kernel's command line"][..]),
        ("release", &["4 the kernel", "9 the initrd", "11 the initrd", "11 the release of the system"][..]),
        ("firmware", &["0 the firmware"][..]),
    ] {
        let found = why(&first, &measured(name));
        assert_eq!(
            (found.verdict, told(&found)),
            (Verdict::Changed, expected.iter().map(|it| (*it).to_owned()).collect())
        );
        assert!(found.message.contains("nothing that is known here explains it"), "{}", found.message);
    }
    let found = why(&measured("secure-boot-off"), &measured("secure-boot-on"));
    let expected = [
        "7 whether Secure Boot is on",
        "7 the keys of Secure Boot",
        "7 what Secure Boot allows (db)",
        "7 the key that signed what was started",
    ];
    for part in expected {
        assert!(told(&found).iter().any(|it| it == part), "{part}: {:?}", told(&found));
    }
    let secure = found.causes.iter().find(|it| it.change.part == Part::SecureBoot).unwrap();
    assert!(secure.change.before[0].starts_with("off (") && secure.change.after[0].starts_with("on ("));
    assert!(secure.shuts && secure.explained.is_none());
}

#[test]
fn the_file_of_a_kernel_is_named_and_another_version_explains_it() {
    let of = |name: &str, system: &str| {
        let versions = Versions { system: system.to_owned(), ..Versions::default() };
        Measured { versions, ..measured(name) }
    };
    let found = why(&of("first", "Piccolo 1"), &of("release", "Piccolo 2"));
    let kernel = &found.causes[0];
    assert!(kernel.change.before[0].starts_with("\\EFI\\Linux\\piccolo_1.efi ("), "{kernel:?}");
    assert!(kernel.change.after[0].starts_with("\\EFI\\Linux\\piccolo_2.efi ("), "{kernel:?}");
    assert!(found.causes.iter().all(|it| it.explained.as_deref() == Some("the system was Piccolo 1 and is Piccolo 2")));
    assert!(
        found.message.contains("and explained, as the system was Piccolo 1 and is Piccolo 2: "),
        "{}",
        found.message
    );
    // Another system explains no other firmware.
    let found = why(&of("first", "Piccolo 1"), &of("firmware", "Piccolo 2"));
    assert_eq!(found.causes.iter().filter(|it| it.explained.is_some()).count(), 0, "{found:?}");
    assert_eq!(found.causes.iter().filter(|it| it.shuts).count(), 0);
}

#[test]
fn a_log_that_was_changed_is_not_believed() {
    let (first, other) = (measured("first"), measured("command-line"));
    // Who starts something else puts the log of before in its place.
    let lie = Measured { firmware_log: first.firmware_log.clone(), ..other };
    let found = why(&first, &lie);
    assert_eq!((found.verdict, found.untrue.to_string().as_str()), (Verdict::LogUntrue, "4,9,11"));
    assert!(found.causes.is_empty() && found.message.contains("does not add up to what the TPM holds"));
    // Where no log ever told of a register, it says so.
    let phases = |value: &str| {
        let mut measured = first.clone();
        measured.registers.insert(12, value.repeat(32));
        measured
    };
    let found = why(&phases("11"), &phases("22"));
    assert_eq!((found.verdict, found.untold.to_string().as_str()), (Verdict::Untold, "12"));
    assert_eq!(why(&phases("11"), &phases("11")).verdict, Verdict::NothingChanged);
}

#[test]
fn without_a_log_or_a_good_start_it_says_so() {
    let first = measured("first");
    let found = Why::find(None, &first, Pcrs::NONE);
    assert!(found.verdict == Verdict::NothingKept && found.message.contains("no log of a good start"));
    let none = Measured { firmware_log: Vec::new(), ..first };
    assert_eq!(Why::find(None, &none, Pcrs::NONE).verdict, Verdict::NoLog);
    assert!(Kept::of(none, String::new()).is_err());
}

#[test]
fn what_the_system_measures_later_belongs_to_the_story() {
    let first = measured("first");
    let one = "11".repeat(32);
    let with = |system: Vec<u8>| {
        let mut measured = Measured { system_log: system, ..first.clone() };
        let values = Story::read(&measured.firmware_log, &measured.system_log).unwrap().values;
        measured.registers.extend(values.iter().map(|(pcr, value)| (*pcr, HEXLOWER.encode(value))));
        measured
    };
    let machine =
        |digest: &str| [later(11, &one, "phase", "enter-initrd"), later(15, digest, "machine-id", "machine-id:1")];
    let before = with(machine(&one).concat());
    let mut further = machine(&one).concat();
    further.extend(later(11, &"33".repeat(32), "phase", "ready"));
    let found = why(&before, &with(further));
    assert_eq!(found.verdict, Verdict::NothingChanged, "a start that came further is another one: {found:?}");
    let found = why(&before, &with(machine(&"22".repeat(32)).concat()));
    assert_eq!(told(&found), ["15 the machine's identifier or its file systems"]);
}

#[test]
fn the_same_things_in_another_order_are_a_change() {
    let events = story("first").events;
    let mut moved = events.clone();
    let seventh: Vec<usize> = (0..moved.len()).filter(|at| moved[*at].pcr == 7).collect();
    moved.swap(seventh[0], seventh[1]);
    let changes = change::between(&story("first"), &story("first").with(moved));
    assert_eq!(changes.iter().map(|it| (it.pcr, it.part)).collect::<Vec<_>>(), [(7, Part::Order)]);
}

#[test]
fn the_first_register_may_begin_elsewhere() {
    let log = recorded("first", "log");
    let locality = record(0, firmware::NO_ACTION, &[0; 32], b"StartupLocality\0\x03");
    let story = Story::read(&[&log[..FIRST_RECORD], &locality, &log[FIRST_RECORD..]].concat(), b"").unwrap();
    assert_eq!(story.untrue(&registers(&measured("first"))).to_string(), "0");
    let mut values = Values::from([(0, [0; 32])]);
    values.get_mut(&0).unwrap()[31] = 3;
    story.events.iter().filter(|it| it.pcr == 0).for_each(|it| extend(&mut values, 0, &it.digest));
    assert_eq!(story.values[&0], values[&0]);
}

#[test]
fn logs_of_other_boot_loaders_are_told_apart() {
    let log = recorded("first", "log");
    let of = |records: &[(u32, u32, &[u8])]| {
        let more: Vec<u8> = records.iter().flat_map(|it| record(it.0, it.1, &[1; 32], it.2)).collect();
        let story = Story::read(&[log.clone(), more].concat(), b"").unwrap();
        story.events[story.events.len() - records.len()..].iter().map(|it| it.part).collect::<Vec<_>>()
    };
    let records: [(u32, u32, &[u8]); 9] = [
        (8, 0xd, b"kernel_cmdline: /vmlinuz root=/dev/sda1\0"),
        (8, 0xd, b"grub_cmd: set root=hd0\0"),
        (9, 0xd, b"/flatcar/vmlinuz-a\0"),
        (9, 0xd, b"/boot/initrd.img-6.1\0"),
        (14, 0xd, b"MokList\0"),
        (13, 0xd, b"sysext\0"),
        (2, 0x8000_0004, b""),
        (0, 0x8000_0008, b""),
        (6, 0x1234_5678, b"whatever"),
    ];
    let parts = [
        Part::CommandLine,
        Part::BootLoaderSettings,
        Part::Kernel,
        Part::Initrd,
        Part::OwnerKeys,
        Part::Extras,
        Part::Cards,
        Part::Firmware,
        Part::Other,
    ];
    assert_eq!(of(&records), parts);
}

#[test]
fn a_kept_start_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust/start.json");
    assert_eq!(Kept::read(&path).unwrap(), None);
    let kept = Kept::of(measured("secure-boot-on"), "2026-01-01T00:00:00Z".to_owned()).unwrap();
    kept.write(&path).unwrap();
    assert_eq!(Kept::read(&path).unwrap(), Some(kept));
    let text = fs::read_to_string(&path).unwrap();
    for damaged in [&text[..text.len() / 2], "", "{}", &text.replace("\"version\":1", "\"version\":2")] {
        crate::file::replace(&path, damaged.as_bytes()).unwrap();
        assert_eq!(Kept::read(&path).unwrap(), None, "{}", damaged.len());
    }
}

/// A log that says what can't be is refused, and nothing of it is believed.
#[test]
fn malformed_logs_are_refused() {
    let log = recorded("first", "log");
    // Cut anywhere but between two records, or where only zeros are left of the last one, which may be a filling.
    let cuts = FIRST_RECORD..=log.len();
    let read: Vec<Story> = cuts.clone().filter_map(|at| Story::read(&log[..at], b"").ok()).collect();
    let all = story("first").events;
    assert!(read.iter().all(|it| all.starts_with(&it.events)) && (all.len()..100).contains(&read.len()));
    let mut refused = cuts.count() - read.len();
    let mut refuse = |firmware: &[u8], system: &[u8], what: &str| {
        assert!(Story::read(firmware, system).is_err(), "{what}");
        refused += 1;
    };
    for at in 0..FIRST_RECORD {
        refuse(&log[..at], b"", "cut in its head");
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut log = log.clone();
        log[at..at + bytes.len()].copy_from_slice(bytes);
        log
    };
    refuse(&with(4, &[4]), b"", "another first record");
    refuse(&with(32, b"spec"), b"", "another form");
    refuse(&with(28, &[0xff; 4]), b"", "a head without end");
    refuse(&with(32 + 24, &[0xff; 4]), b"", "algorithms without end");
    refuse(&with(32 + 28 + 4, &[0xd]), b"", "no sha256");
    refuse(&with(FIRST_RECORD, &[24]), b"", "a register that is none");
    refuse(&with(FIRST_RECORD + 8, &[0xff; 4]), b"", "digests without end");
    refuse(&with(FIRST_RECORD + 8, &[0; 4]), b"", "a record without a digest");
    refuse(&with(FIRST_RECORD + 12, &[9]), b"", "an algorithm that was not said");
    refuse(&vec![0; firmware::LARGEST + 1], b"", "too large");
    refuse(&[&log[..], b"x"].concat(), b"", "something behind it");
    for system in [
        &b"{"[..],
        b"[]",
        b"1",
        b"{\"pcr\":11}",
        b"{\"pcr\":24,\"digests\":[]}",
        b"\x1e{}\x1e{}",
        b"\xff\xfe",
        &later(11, "11", "phase", "x"),
        &later(24, &"11".repeat(32), "phase", "x"),
        &vec![b' '; system::LARGEST + 1],
    ] {
        refuse(&log, system, "a log of the system");
    }
    assert!(refused > 200, "{refused}");
    // What some firmware fills its log up with is no record.
    for filled in [[0; 64], [0xff; 64]] {
        assert_eq!(Story::read(&[&log[..], &filled].concat(), b"").unwrap(), story("first"));
    }
}

#[test]
fn words_of_a_log_move_no_cursor() {
    let log = recorded("first", "log");
    let long = [&b"\x1b[2J\nkernel"[..], &[b'x'; 5000]].concat();
    let log = [log, record(8, 0xd, &[1; 32], &long)].concat();
    let system = later(15, &"11".repeat(32), "machine-id", "a\u{1b}[31mb");
    let story = Story::read(&log, &system).unwrap();
    for event in &story.events {
        assert!(event.detail.len() <= 2080 && !event.detail.chars().any(char::is_control), "{event:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_comes_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        cut in 0..9202_usize,
        changed in prop::collection::vec((0..9202_usize, any::<u8>()), 0..20),
    ) {
        let _ = Story::read(&bytes, &bytes);
        let mut log = recorded("first", "log");
        for (at, byte) in changed {
            log[at] = byte;
        }
        let changed = Measured { firmware_log: log.clone(), ..measured("first") };
        let _ = why(&measured("first"), &changed);
        log.truncate(cut);
        log.extend(&bytes);
        let _ = Story::read(&log, b"");
        let _ = Image::read(&[b"MZ", &bytes[..]].concat());
    }
}

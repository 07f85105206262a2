use jiff::SignedDuration;
use piccolo_schema::disk::Encryption;

use super::*;
use crate::host::{Identity, KeySeen, LUKS, Mount, Opened, OpenedBy, Shut, Signature, Ticket, disk_label};

#[test]
fn a_start_that_the_tpm_refuses_is_told_with_the_way_out() {
    let uuid = "6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21".to_owned();
    let header = Signature {
        kind: LUKS.to_owned(),
        uuid: Some(uuid.clone()),
        label: Some(disk_label("media")),
        ..Signature::default()
    };
    let disk = DiskSeen {
        identity: Identity { serial: "A1".to_owned(), ..Identity::default() },
        signatures: vec![header],
        luks: vec![LuksSeen { uuid: uuid.clone(), ..LuksSeen::default() }],
        ..DiskSeen::default()
    };
    let mut spec = piccolo_schema::DiskSpec { encryption: Some(Encryption::default()), ..Default::default() };
    spec.select.serial = Some("A1".to_owned());
    let manifest = Disk::new("media", spec);
    let told = |changed: Option<&str>| {
        let shut = Shut { uuid: uuid.clone(), why: "it was cleared".to_owned(), changed: changed.map(str::to_owned) };
        let view = DisksView { disks: vec![disk.clone()], shut: vec![shut], ..DisksView::default() };
        of_one(&manifest, &view).into_iter().find(|it| it.name != "RecoveryKeyNotRetrieved")
    };
    let changed = told(Some("changed since 2026-01-01: the kernel")).map(|it| (it.name, it.message));
    let (name, message) = changed.unwrap_or_default();
    assert!(
        name == "StartChanged" && message.contains("the kernel") && message.contains("piccolo disk reseal media"),
        "{message}"
    );
    assert!(message.contains("piccolo disk unlock media"), "{message}");
    assert_eq!(told(None).map(|it| it.name), Some("TpmRefuses"));
}

/// What a disk and its manifest have in one row of the table.
#[derive(Clone, Copy, Default)]
struct Row {
    /// How much of it is used, in percent.
    used: u64,
    /// What the disk says of itself.
    failing: Option<&'static str>,
    /// Whether the manifest names a ticket that was used up.
    ticket: bool,
    /// Whether it is encrypted; then how many days ago its recovery key was typed, none where there is no such key.
    recovery: Option<Option<i64>>,
}

/// Returns what else there is to know of the disk of a row.
fn notes_of(row: Row) -> Vec<(&'static str, &'static str)> {
    let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    let uuid = "6c1b7e0a-52d1-4c8e-9a3e-0d6c2f4b9e21".to_owned();
    let kind = if row.recovery.is_some() { LUKS } else { "ext4" };
    let label = disk_label("media");
    let inside = Signature {
        kind: "ext4".to_owned(),
        uuid: Some("d807e2ee".to_owned()),
        label: Some(label.clone()),
        ..Signature::default()
    };
    let own = Signature { kind: kind.to_owned(), uuid: Some(uuid.clone()), label: Some(label), ..Signature::default() };
    let keys = row.recovery.map(|days| {
        let proved = days.filter(|it| *it >= 0).map(|it| now - SignedDuration::from_hours(24 * it));
        let key = KeySeen { slot: 1, by: OpenedBy::Recovery, proved, ..KeySeen::default() };
        days.map(|_| key).into_iter().collect()
    });
    let opened = Some(Opened { device: "mapper/pic-media".to_owned(), signatures: vec![inside], ..Opened::default() });
    let luks = keys.map(|keys| LuksSeen { device: "sda".to_owned(), uuid: uuid.clone(), keys, opened, filling: false });
    let disk = DiskSeen {
        device: "sda".to_owned(),
        identity: Identity { serial: "A1".to_owned(), ..Identity::default() },
        signatures: vec![own],
        luks: luks.into_iter().collect(),
        failing: row.failing.map(str::to_owned),
        ..DiskSeen::default()
    };
    let mount = Mount {
        uuid: if row.recovery.is_some() { "d807e2ee".to_owned() } else { uuid },
        at: Some("/srv/media".to_owned()),
        ..Mount::default()
    };
    let mounted = MountSeen {
        subject: "media".to_owned(),
        mount,
        present: true,
        total: Some(1000),
        used: Some(row.used * 10),
        ..MountSeen::default()
    };
    let ticket = Ticket { used: Some(now), ..Ticket::new("wipe-1".to_owned(), &disk, now) };
    let view =
        DisksView { disks: vec![disk], mounts: vec![mounted], tickets: vec![ticket], now, ..DisksView::default() };
    let mut spec =
        piccolo_schema::DiskSpec { encryption: row.recovery.map(|_| Encryption::default()), ..Default::default() };
    spec.select.serial = Some("A1".to_owned());
    spec.wipe = row.ticket.then(|| "wipe-1".to_owned());
    let told = of_one(&Disk::new("media", spec), &view);
    for note in &told {
        assert!(
            note.message.chars().next().is_some_and(char::is_uppercase) || note.message.starts_with(char::is_numeric),
            "{note:?}"
        );
    }
    told.iter().map(|it| (it.name, it.reason)).collect()
}

#[test]
fn each_trouble_of_a_disk_is_a_condition() {
    let row = Row { used: 10, ..Row::default() };
    let table: &[(Row, &[(&str, &str)])] = &[
        (row, &[]),
        (Row { used: 79, ..row }, &[]),
        (Row { used: 80, ..row }, &[("DiskFilling", "FillsUp")]),
        (Row { used: 89, ..row }, &[("DiskFilling", "FillsUp")]),
        (Row { used: 90, ..row }, &[("DiskFull", "NearlyFull")]),
        (Row { used: 100, ..row }, &[("DiskFull", "NearlyFull")]),
        (Row { failing: Some("It warns of its own end"), ..row }, &[("DiskFailing", "SelfTest")]),
        (Row { ticket: true, ..row }, &[("TicketWorthless", "Spent")]),
        (
            Row { used: 95, failing: Some("It warns of its own end"), ticket: true, ..row },
            &[("DiskFull", "NearlyFull"), ("DiskFailing", "SelfTest"), ("TicketWorthless", "Spent")],
        ),
        (Row { recovery: Some(None), ..row }, &[("RecoveryKeyNotRetrieved", "NotMade")]),
        (Row { recovery: Some(Some(-1)), ..row }, &[("RecoveryKeyNotRetrieved", "NotConfirmed")]),
        (Row { recovery: Some(Some(0)), ..row }, &[]),
        (Row { recovery: Some(Some(179)), ..row }, &[]),
        (Row { recovery: Some(Some(180)), ..row }, &[("RecoveryKeyNotRetrieved", "ProofDue")]),
    ];
    for (at, (row, expected)) in table.iter().enumerate() {
        assert_eq!(notes_of(*row), *expected, "row {at}");
    }
}

#[test]
fn what_a_disk_says_of_its_health_is_in_its_status() {
    let of = |health, failing: Option<&str>| {
        let disk = DiskSeen { health, failing: failing.map(str::to_owned), ..DiskSeen::default() };
        status(Some(&disk), None).health
    };
    assert_eq!(of(None, None), None);
    let seen = HealthSeen { worn: Some(12), reallocated: None };
    let well = HealthStatus { passed: true, worn_percent: Some(12), ..HealthStatus::default() };
    assert_eq!(of(Some(seen), None), Some(well.clone()));
    let failing = Some("It warns of its own end".to_owned());
    assert_eq!(of(Some(seen), failing.as_deref()), Some(HealthStatus { passed: false, failing, ..well }));
}

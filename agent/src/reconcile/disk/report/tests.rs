use jiff::SignedDuration;
use piccolo_schema::disk::{Encryption, Partition as Asked};

use super::*;
use crate::host::{
    Identity, KeySeen, LUKS, Mount, Opened, OpenedBy, Partition, Shut, Signature, Ticket, disk_label, parted::table_id,
};

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

/// Two partitions with keys, one of them as these say, and a plain one.
fn parted(keys: Vec<KeySeen>) -> (Disk, DisksView) {
    let asked = |name: &str, plain: bool| Asked { name: name.to_owned(), plain, ..Asked::default() };
    let mut spec = piccolo_schema::DiskSpec {
        encryption: Some(Encryption::default()),
        partitions: vec![asked("films", false), asked("papers", false), asked("boot", true)],
        ..Default::default()
    };
    spec.select.serial = Some("A1".to_owned());
    let seen = |(number, it): (usize, &Asked)| {
        let (kind, uuid) = (if it.plain { "ext4" } else { LUKS }.to_owned(), Some(format!("uuid-{number}")));
        let label = Some(disk_label(&part_key("media", &it.name)));
        Partition {
            device: format!("sda{number}"),
            name: it.name.clone(),
            signatures: vec![Signature { kind, uuid, label, ..Signature::default() }],
            ..Partition::default()
        }
    };
    let luks = |number: usize, keys| LuksSeen {
        device: format!("sda{number}"),
        uuid: format!("uuid-{number}"),
        keys,
        ..LuksSeen::default()
    };
    let proved = KeySeen { slot: 1, by: OpenedBy::Recovery, proved: Some(Timestamp::default()), ..KeySeen::default() };
    let disk = DiskSeen {
        identity: Identity { serial: "A1".to_owned(), ..Identity::default() },
        table: Some(table_id("media")),
        partitions: (0..).zip(&spec.partitions).map(seen).collect(),
        luks: vec![luks(0, vec![proved]), luks(1, keys)],
        ..DiskSeen::default()
    };
    (Disk::new("media", spec), DisksView { disks: vec![disk], ..DisksView::default() })
}

#[test]
fn each_encrypted_partition_stands_for_itself() {
    let recovery = |proved| KeySeen { slot: 2, by: OpenedBy::Recovery, proved, ..KeySeen::default() };
    let (manifest, view) = parted(vec![recovery(None)]);
    let fields = one(&manifest, &view).fields;
    assert_eq!(fields["partitions"][0]["encryption"]["recoveryProved"], "1970-01-01T00:00:00Z");
    assert_eq!(fields["partitions"][1]["encryption"]["keys"][0], "2: a recovery key");
    assert_eq!(fields["partitions"][1]["encryption"]["open"], false);
    assert!(fields["partitions"][2].get("encryption").is_none() && fields.get("encryption").is_none());
    // What is encrypted is told to be so, whatever the manifest says by now.
    let mut otherwise = manifest.clone();
    otherwise.spec.partitions[1].plain = true;
    assert_eq!(one(&otherwise, &view).fields["partitions"], fields["partitions"]);
    // One that the manifest has no more is still there, with its keys; of a table of others only what is meant is told.
    let mut less = manifest.clone();
    let dropped = less.spec.partitions.remove(1);
    let rows = one(&less, &view).fields["partitions"].clone();
    assert_eq!([&rows[0], &rows[1]], [&fields["partitions"][0], &fields["partitions"][2]]);
    assert_eq!((&rows[2]["name"], &rows[2]["unlisted"]), (&dropped.name.into(), &true.into()));
    assert_eq!(rows[2]["encryption"], fields["partitions"][1]["encryption"]);
    assert!(rows[2].get("mount").is_none());
    // Until it is unmounted, so is where it is mounted; and what somebody else added is told like it.
    let mut used = view.clone();
    let mount = Mount { uuid: "d807e2ee".to_owned(), at: Some("/srv/papers".to_owned()), ..Mount::default() };
    let (subject, total) = (part_key("media", "papers"), Some(1000));
    used.mounts = vec![MountSeen { subject, mount, present: true, total, used: Some(250), ..MountSeen::default() }];
    let stranger = Partition { name: "stranger".to_owned(), start: 1, ..Partition::default() };
    used.disks[0].partitions.push(stranger);
    let rows = one(&less, &used).fields["partitions"].clone();
    assert_eq!((&rows[2]["mount"], &rows[2]["usedPercent"]), (&"/srv/papers".into(), &25.into()));
    assert_eq!((&rows[3]["name"], &rows[3]["unlisted"]), (&"stranger".into(), &true.into()));
    let mut others = view.clone();
    others.disks[0].table = Some("aaaaaaaa-2222-4333-8444-555555555501".to_owned());
    assert_eq!(one(&less, &others).fields["partitions"].as_array().map(Vec::len), Some(2));
    let told = of_one(&manifest, &view);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].message.starts_with("Partition `papers`: Nobody has proved"), "{}", told[0].message);
    assert!(told[0].message.contains("`piccolo disk recovery-key media --check`"), "{}", told[0].message);
    // What the TPM refuses is told once, with the partition that it is about.
    let shut = |number: usize| Shut { uuid: format!("uuid-{number}"), why: "it was cleared".to_owned(), changed: None };
    let (manifest, view) = parted(vec![recovery(Some(Timestamp::default()))]);
    let told = of_one(&manifest, &DisksView { shut: vec![shut(1), shut(0)], ..view });
    assert_eq!(told.iter().map(|it| it.name).collect::<Vec<_>>(), ["TpmRefuses"]);
    let message = &told[0].message;
    assert!(message.contains("does not open partition `films` of A1"), "{message}");
    assert!(
        message.contains("piccolo disk unlock media`") && message.contains("piccolo disk reseal media`"),
        "{message}"
    );
}

#[test]
fn each_of_two_disks_has_its_own_health_and_the_one_that_fails_is_named() {
    let disk = |serial: &str, seq, failing: Option<&str>| DiskSeen {
        device: format!("sd{serial}"),
        seq,
        identity: Identity { serial: serial.to_owned(), size: 1 << 30, ..Identity::default() },
        health: Some(HealthSeen { worn: Some(seq), reallocated: None }),
        failing: failing.map(str::to_owned),
        ..DiskSeen::default()
    };
    let mut spec = piccolo_schema::DiskSpec::default();
    spec.select.serial = Some("a".to_owned());
    let select = piccolo_schema::disk::Selector { serial: Some("b".to_owned()), ..Default::default() };
    spec.mirror = Some(piccolo_schema::disk::Mirror { select, ..Default::default() });
    let manifest = Disk::new("media", spec);
    let of = |disks: Vec<DiskSeen>| {
        let view = DisksView { disks, ..DisksView::default() };
        let fields = report(std::slice::from_ref(&manifest), &view).remove(0).fields;
        let told: Vec<_> = of_one(&manifest, &view).into_iter().filter(|it| it.name == "DiskFailing").collect();
        assert!(told.len() <= 1, "{told:?}");
        (fields, told.into_iter().next().map(|it| it.message))
    };
    let (fields, told) = of(vec![disk("a", 1, None), disk("b", 2, Some("It warns of its own end"))]);
    assert_eq!((&fields["serial"], &fields["health"]["passed"]), (&"a".into(), &true.into()));
    let second = &fields["mirror"];
    assert_eq!((&second["device"], &second["serial"]), (&"/dev/sdb".into(), &"b".into()));
    assert_eq!((&second["health"]["passed"], &second["health"]["wornPercent"]), (&false.into(), &2.into()));
    assert_eq!(second["health"]["failing"], "It warns of its own end");
    let told = told.unwrap();
    assert!(told.contains("b") && told.contains("It warns of its own end; replace it while the other one"), "{told}");
    let both =
        [disk("a", 1, Some("It counts 8 sectors that it can't read")), disk("b", 2, Some("It warns of its own end"))];
    let told = of(both.to_vec()).1.unwrap();
    assert!(told.contains("8 sectors") && told.contains("its own end; copy what is on them"), "{told}");
    // One that is missing has none, and says nothing of the other one.
    let (fields, told) = of(vec![disk("a", 1, None)]);
    assert!(fields.get("mirror").is_none() && fields["serial"] == "a" && told.is_none());
}

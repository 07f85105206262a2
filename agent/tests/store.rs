//! The store: what it remembers, over restarts, damage and long lives.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test plays the person at the files")]

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use piccolo_agent::store::{self, ChangeType, Event, EventQuery, Reader, StoreError, Writer};
use piccolo_schema::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

fn manifest(name: &str, image: &str) -> Value {
    json!({ "apiVersion": "piccolo.os/v1alpha1", "kind": "Container", "metadata": { "name": name },
            "spec": { "image": image } })
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

async fn open(dir: &Path) -> (Writer, Reader) {
    store::open(&dir.join("store")).await.unwrap()
}

fn reasons(reader: &Reader) -> Vec<String> {
    reader.events(&EventQuery::default()).into_iter().map(|event| event.reason).collect()
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = open(dir.path()).await;
    assert!(writer.declare(Kind::Container, "web", &manifest("web", "a:1")).changed);
    writer.report(Kind::Container, "web", json!({ "state": "running" }));
    writer.settled(Kind::Container, "web", 1);
    writer.declare(Kind::Container, "gone", &manifest("gone", "a:1"));
    writer.undeclare(Kind::Container, "gone");
    writer.event(Event::new("Applied", "started").about(Kind::Container, "web").at(1));
    let before = reader.get(Kind::Container, "web").unwrap();
    let events = reader.events(&EventQuery::default());
    writer.close().await;

    let (writer, reader) = open(dir.path()).await;
    assert_eq!(reader.get(Kind::Container, "web").unwrap(), before);
    assert_eq!(reader.list(Kind::Container).1.len(), 1);
    assert_eq!(reader.events(&EventQuery::default()), events);
    let declared = writer.declare(Kind::Container, "web", &manifest("web", "a:1"));
    assert_eq!((declared.generation, declared.changed, declared.settled_generation), (1, false, Some(1)));
    assert!(reader.healths()["store"].ok);
    writer.close().await;
}

#[tokio::test]
async fn what_is_not_closed_is_written_soon() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = open(dir.path()).await;
    writer.declare(Kind::Container, "web", &manifest("web", "a:1"));
    while reader.counters().syncs == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(writer);
    // The last write goes on after the drop; the lock is free when it is done, and who opens waits for that.
    let (_, reader) = open(dir.path()).await;
    assert!(reader.get(Kind::Container, "web").is_some());
}

#[tokio::test]
async fn a_second_agent_is_refused() {
    let dir = TempDir::new().unwrap();
    let (writer, _reader) = open(dir.path()).await;
    assert!(matches!(store::open(&dir.path().join("store")).await, Err(StoreError::Busy(_))));
    writer.close().await;
    open(dir.path()).await.0.close().await;
}

#[tokio::test]
async fn a_generation_grows_with_the_spec_only() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = open(dir.path()).await;
    let mut wanted = manifest("web", "a:1");
    writer.declare(Kind::Container, "web", &wanted);
    let first = reader.get(Kind::Container, "web").unwrap();
    wanted["metadata"]["labels"] = json!({ "for": "people" });
    assert!(!writer.declare(Kind::Container, "web", &wanted).changed);
    let second = reader.get(Kind::Container, "web").unwrap();
    assert!(version(&second) > version(&first));
    assert_eq!(second["metadata"]["generation"], 1);
    writer.report(Kind::Container, "web", json!({ "state": "running" }));
    wanted["spec"]["image"] = json!("a:2");
    assert_eq!(writer.declare(Kind::Container, "web", &wanted).generation, 2);
    let third = reader.get(Kind::Container, "web").unwrap();
    assert_eq!(third["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(third["status"]["state"], "running");
    writer.report(Kind::Container, "web", json!({ "state": "running" }));
    assert_eq!(reader.get(Kind::Container, "web").unwrap(), third, "the same status is no change");
}

#[tokio::test]
async fn versions_grow_over_restarts_and_rebuilding() {
    let dir = TempDir::new().unwrap();
    let mut last = 0;
    for round in 0..6 {
        if round == 3 {
            fs::write(dir.path().join("store/db"), b"garbage").unwrap();
        }
        let (writer, reader) = open(dir.path()).await;
        writer.declare(Kind::Container, "web", &manifest("web", &format!("a:{round}")));
        let now = version(&reader.get(Kind::Container, "web").unwrap());
        assert!(now > last, "round {round}: {now} after {last}");
        last = now;
        writer.close().await;
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_cut_unless_that_is_too_long_ago() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = open(dir.path()).await;
    let (start, _) = reader.list(Kind::Container);
    writer.declare(Kind::Container, "web", &manifest("web", "a:1"));
    let (_, mut live) = reader.since(start).unwrap();
    writer.report(Kind::Container, "web", json!({ "state": "running" }));
    writer.undeclare(Kind::Container, "web");
    let missed = reader.since(start).unwrap().0;
    let kinds: Vec<_> = missed.iter().map(|change| change.r#type).collect();
    assert_eq!(kinds, [ChangeType::Added, ChangeType::Modified, ChangeType::Deleted]);
    assert_eq!(live.recv().await.unwrap(), missed[1]);
    assert_eq!(live.recv().await.unwrap(), missed[2]);
    assert_eq!(version(&missed[2].object), missed[2].resource_version);

    writer.declare(Kind::Container, "web", &manifest("web", "a:1"));
    for n in 0..1000 {
        writer.report(Kind::Container, "web", json!({ "n": n }));
    }
    assert!(reader.since(start).is_none());
    let (now, _) = reader.list(Kind::Container);
    assert_eq!(reader.since(now - 1000).unwrap().0.len(), 1000);
    assert!(reader.since(now - 1001).is_none());
    assert!(reader.since(now + 1).is_none(), "a version of another store");
    writer.close().await;
    let (_writer, reader) = open(dir.path()).await;
    assert!(reader.since(now).is_none() || reader.list(Kind::Container).0 == now);
}

#[tokio::test]
async fn the_journal_is_bounded_and_paged() {
    let dir = TempDir::new().unwrap();
    let (writer, reader) = open(dir.path()).await;
    for n in 1..=12_000 {
        writer.event(Event::new("Applied", format!("step {n}")).about(Kind::Container, format!("c{}", n % 2)));
    }
    let check = |reader: &Reader| {
        let counters = reader.counters();
        assert!((10_000..10_500).contains(&counters.events), "{counters:?}");
        assert_eq!(counters.last_event, 12_000);
        let newest = reader.events(&EventQuery { limit: 3, ..EventQuery::default() });
        assert_eq!(newest.iter().map(|event| event.id).collect::<Vec<_>>(), [11_998, 11_999, 12_000]);
        let page = reader.events(&EventQuery { since: Some(5_000), limit: 2, ..EventQuery::default() });
        assert_eq!(page.iter().map(|event| event.id).collect::<Vec<_>>(), [5_001, 5_002]);
        let oldest = reader.events(&EventQuery { since: Some(0), limit: 1, ..EventQuery::default() });
        assert_eq!(oldest[0].id, 12_001 - counters.events as u64);
        let named = EventQuery { name: Some("c0".to_owned()), limit: 2, ..EventQuery::default() };
        assert_eq!(reader.events(&named).iter().map(|event| event.id).collect::<Vec<_>>(), [11_998, 12_000]);
        assert!(reader.events(&EventQuery { since: Some(u64::MAX), ..EventQuery::default() }).is_empty());
    };
    check(&reader);
    let (past, mut live) = reader.follow_events(&EventQuery { since: Some(11_999), ..EventQuery::default() });
    assert_eq!(past.len(), 1);
    writer.close().await;
    let (writer, reader) = open(dir.path()).await;
    check(&reader);
    writer.event(Event::new("Started", "again"));
    assert_eq!(reader.counters().last_event, 12_001);
    assert!(live.try_recv().is_err(), "an old reader does not see the new store");
}

/// One way to spoil a store.
fn spoil(dir: &Path, random: &mut fastrand::Rng) -> &'static str {
    let db = dir.join("store/db");
    let size = fs::metadata(&db).unwrap().len();
    let mut file = fs::File::options().read(true).write(true).open(&db).unwrap();
    match random.u8(0..6) {
        0..=1 => {
            let at = random.u64(0..size);
            let mut byte = [0];
            file.seek(SeekFrom::Start(at)).unwrap();
            file.read_exact(&mut byte).unwrap();
            byte[0] ^= 1 << random.u8(0..8);
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&byte).unwrap();
            "a flipped bit"
        }
        2 => {
            let at = random.u64(0..size) / 4096 * 4096;
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[0; 4096]).unwrap();
            "a zeroed block"
        }
        3 => {
            file.set_len(random.u64(0..size)).unwrap();
            "a truncated file"
        }
        4 => {
            let garbage: Vec<u8> = (0..random.usize(1..100_000)).map(|_| random.u8(..)).collect();
            fs::write(&db, garbage).unwrap();
            "garbage"
        }
        _ => {
            let lost = fs::read_dir(dir.join("store")).unwrap().next().unwrap().unwrap().path();
            let removed = if lost.is_dir() { fs::remove_dir_all(&lost) } else { fs::remove_file(&lost) };
            removed.unwrap();
            "a lost file"
        }
    }
}

#[tokio::test]
async fn damage_is_found_and_survived() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut harmless, mut rebuilt) = (0, 0);
    for round in 0..120 {
        let dir = TempDir::new().unwrap();
        let (writer, reader) = open(dir.path()).await;
        for n in 0..40 {
            writer.declare(Kind::Container, &format!("c{n}"), &manifest("c", &"x".repeat(100)));
            writer.event(Event::new("Applied", "y".repeat(100)));
        }
        let whole = (reader.list(Kind::Container).1, reader.events(&EventQuery::default()));
        writer.close().await;
        let how = spoil(dir.path(), &mut random);

        let (writer, reader) = open(dir.path()).await;
        let now = (reader.list(Kind::Container).1, reader.events(&EventQuery::default()));
        let said = format!("seed {seed}, round {round}, {how}, {:?}", reader.healths()["store"]);
        if now == whole {
            harmless += 1;
        } else {
            rebuilt += 1;
            assert_eq!(now.0, Vec::<std::sync::Arc<Value>>::new(), "{said}: part of the objects");
            assert_eq!(reasons(&reader), ["StoreRebuilt"], "{said}");
            let aside = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
            assert_eq!(aside.filter(|name| name.starts_with("store.corrupt-")).count(), 1, "{said}");
        }
        writer.declare(Kind::Container, "new", &manifest("new", "a:1"));
        writer.close().await;
        let (writer, reader) = open(dir.path()).await;
        assert!(reader.get(Kind::Container, "new").is_some(), "{said}");
        writer.close().await;
    }
    assert!(rebuilt > 60, "{rebuilt} rebuilt, {harmless} harmless");
}

#[tokio::test]
async fn records_of_a_later_version_are_set_aside() {
    let dir = TempDir::new().unwrap();
    let (writer, _) = open(dir.path()).await;
    writer.close().await;
    let db = sled::open(dir.path().join("store")).unwrap();
    let mut header = db.get(b"h").unwrap().unwrap().to_vec();
    header[0] = 2;
    db.insert(b"h", header).unwrap();
    db.flush().unwrap();
    drop(db);
    let (_writer, reader) = open(dir.path()).await;
    assert_eq!(reasons(&reader), ["StoreRebuilt"]);
}

#[tokio::test]
async fn only_three_damaged_stores_are_kept() {
    let dir = TempDir::new().unwrap();
    for _ in 0..6 {
        open(dir.path()).await.0.close().await;
        fs::write(dir.path().join("store/db"), b"garbage").unwrap();
    }
    open(dir.path()).await.0.close().await;
    let names = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("store.corrupt-")).count(), 3);
}

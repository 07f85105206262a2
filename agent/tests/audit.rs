//! The audit: a line for whatever is asked or done, and none that can be changed unseen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and plays who tampers with files"
)]

#[path = "api/support.rs"]
mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use piccolo_agent::audit::{Audit, Entry, Line, verify};
use serde_json::json;
use support::House;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// An audit that is written to a directory.
struct Desk {
    audit: Audit,
    stop: CancellationToken,
    recording: tokio::task::JoinHandle<()>,
}

impl Desk {
    fn open(home: &Path) -> Self {
        let (audit, recorder) = Audit::open(home.to_owned(), Box::new(|well, why| assert!(well, "{why}")));
        let stop = CancellationToken::new();
        let recording = tokio::spawn(recorder.run(stop.clone()));
        Self { audit, stop, recording }
    }

    async fn close(self) {
        self.stop.cancel();
        self.recording.await.unwrap();
    }
}

fn entry(action: &str) -> Entry {
    Entry { who: "anna".into(), door: "api", action: action.into(), result: "200".into(), ..Entry::default() }
}

/// Writes this many lines, with a restart in the middle.
async fn written(home: &Path, many: usize) -> Vec<Line> {
    for half in [0..many / 2, many / 2..many] {
        let desk = Desk::open(home);
        for n in half {
            desk.audit.record(entry(&format!("PUT /{n} \"quoted\"\nü"))).await;
        }
        desk.close().await;
    }
    Desk::open(home).audit.latest(many).unwrap()
}

fn only_file(home: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(home).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[tokio::test]
async fn a_chain_goes_on_after_a_restart() {
    let home = TempDir::new().unwrap();
    let lines = written(home.path(), 20).await;
    assert_eq!(lines.iter().map(|it| it.n).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    let verified = verify(home.path()).unwrap().unwrap();
    assert_eq!((verified.lines, verified.first, &verified.hash), (20, 1, &lines[19].hash));
    assert!(lines.windows(2).all(|two| two[1].before == two[0].hash));
    assert_eq!(fs::metadata(only_file(home.path())).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn every_flipped_byte_is_found() {
    let home = TempDir::new().unwrap();
    written(home.path(), 6).await;
    let file = only_file(home.path());
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            fs::write(&file, &bytes).unwrap();
            let broken = verify(home.path()).unwrap();
            let line = 1 + good[..at].iter().filter(|byte| **byte == b'\n').count();
            let found = broken.expect_err(&format!("byte {at} of line {line}")).line;
            assert!(found == line || found == line + 1, "byte {at} of line {line}, not {found}");
        }
    }
}

#[tokio::test]
async fn a_line_that_is_missing_moved_or_added_is_found() {
    let home = TempDir::new().unwrap();
    written(home.path(), 6).await;
    let file = only_file(home.path());
    let good = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let write = |lines: &[&str]| fs::write(&file, lines.join("\n") + "\n").unwrap();
    for at in 0..lines.len() - 1 {
        let mut gone = lines.clone();
        gone.remove(at);
        // Without the first line the chain looks like one whose beginning is kept no more; its number says which.
        write(&gone);
        assert!(
            verify(home.path()).unwrap().map_or_else(|broken| broken.line == at + 1, |it| it.first == 2 && at == 0)
        );
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        write(&swapped);
        assert!(verify(home.path()).unwrap().is_err(), "{at} swapped");
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        write(&twice);
        assert!(verify(home.path()).unwrap().is_err(), "{at} twice");
    }
}

#[tokio::test]
async fn what_was_broken_off_is_told_apart_from_what_was_changed() {
    let home = TempDir::new().unwrap();
    written(home.path(), 4).await;
    let file = only_file(home.path());
    let good = fs::read(&file).unwrap();
    let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in last..good.len() {
        for other in fs::read_dir(home.path()).unwrap() {
            fs::remove_file(other.unwrap().path()).unwrap();
        }
        fs::write(&file, &good[..end]).unwrap();
        let is_whole = end == good.len() - 1;
        let torn = u64::from(end > last && !is_whole);
        let desk = Desk::open(home.path());
        desk.audit.record(entry("PUT /after")).await;
        desk.close().await;
        let verified = verify(home.path()).unwrap().unwrap_or_else(|broken| panic!("{end}: {broken}"));
        assert_eq!((verified.lines, verified.torn), (4 + u64::from(is_whole), torn), "{end}");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_and_nothing_waits_for_ever() {
    let room = TempDir::new().unwrap();
    let home = room.path().join("audit");
    // No directory can be made where a file is.
    fs::write(&home, "").unwrap();
    let told = Arc::new(Notify::new());
    let tell = Arc::clone(&told);
    let (audit, recorder) = Audit::open(
        home.clone(),
        Box::new(move |well, _| {
            if !well {
                tell.notify_one();
            }
        }),
    );
    let stop = CancellationToken::new();
    let recording = tokio::spawn(recorder.run(stop.clone()));
    audit.record(entry("PUT /1")).await;
    told.notified().await;
    stop.cancel();
    recording.await.unwrap();
}

#[tokio::test]
async fn strangers_do_not_push_out_what_others_did() {
    let home = TempDir::new().unwrap();
    let desk = Desk::open(home.path());
    for _ in 0..500 {
        desk.audit.record_stranger(Entry { who: "-".into(), ..entry("POST /claim") }).await;
    }
    desk.audit.record(entry("PUT /mine")).await;
    desk.close().await;
    let verified = verify(home.path()).unwrap().unwrap();
    assert_eq!((verified.lines, verified.lost), (61, 440));
}

#[tokio::test]
async fn every_operation_that_is_no_look_leaves_one_line() {
    let house = House::open().await;
    let document = house.get("/openapi.json").await.json();
    let mut asked = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "web").replace("{source}", "home").replace("{id}", "abcdefgh");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            if operations[method.to_ascii_lowercase()].is_object() && !path.ends_with("accessreviews") {
                let answer = house.send(method, &path, &[], "{}").await;
                asked.push((format!("{method} {path}"), answer.status.as_u16().to_string()));
            }
        }
        if path.ends_with("/exec") {
            let answer = house.get(&path).await;
            asked.push((format!("GET {path}"), answer.status.as_u16().to_string()));
        } else if !path.ends_with("log") {
            drop(house.response("GET", &path, &[], "").await);
        }
    }
    assert!(asked.len() > 30, "{} operations", asked.len());
    let lines = house.audited(asked.len()).await;
    let told: Vec<_> = lines.iter().map(|line| (line.action.clone(), line.result.clone())).collect();
    assert_eq!(told, asked);
    assert!(lines.iter().all(|line| line.who.starts_with("uid ") && line.role.as_deref() == Some("admin")));
    let shown = house.get("/audit?limit=3").await.json();
    assert_eq!(shown["items"][2]["action"], json!(asked.last().unwrap().0));
}

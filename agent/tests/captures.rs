//! Containers of others in the manner of popular applications, and the manifests and reports that become of them.
//!
//! `captures/<app>/` holds `found.json`, what an engine tells, and under `out/` the answers. To add a case is to add a
//! folder. `PICCOLO_BLESS=1 cargo test --test captures` writes the answers down; read them before you commit them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use piccolo_agent::{
    capture::{self, Capture, Found, Machine},
    foreign::Outcome,
};
use piccolo_schema::parse::parse;
use serde_json::{Value, json};

/// The widest line of a report.
const WIDTH: usize = 80;
/// Stands in every value that nobody should see.
const CANARY: &str = "canary";

#[test]
fn popular_applications_become_what_is_written_down() {
    let (mut wrong, cases) = (Vec::new(), support::golden::folders("captures"));
    for case in &cases {
        let capture = capture::all(&found(case));
        let mut answers: BTreeMap<String, String> = BTreeMap::new();
        for it in &capture.manifests {
            parse(&it.text).unwrap_or_else(|rejected| panic!("{}: {:?}", it.text, rejected.diagnostics));
            answers.insert(format!("{}/{}.toml", it.kind.plural(), it.name), it.text.clone());
        }
        answers.insert("report.txt".to_owned(), capture.report.lines(WIDTH).join("\n") + "\n");
        wrong.extend(support::golden::differences(&case.join("out"), &answers));
    }
    assert!(wrong.is_empty(), "run with PICCOLO_BLESS=1 and look at the change:\n{}", wrong.join("\n"));
    assert!(cases.len() >= 10, "only {} applications", cases.len());
}

#[test]
fn every_key_that_says_something_is_spoken_of() {
    for case in support::golden::folders("captures") {
        let (name, found) = (case.display().to_string(), found(&case));
        let Capture { report, .. } = capture::all(&found);
        for it in &found.containers {
            let called = it["Name"].as_str().unwrap().trim_start_matches('/');
            let subject =
                |it: &str| it == format!("container {called}") || it.starts_with(&format!("container {called} -> "));
            let about: Vec<_> = report.rows.iter().filter(|row| subject(&row.subject)).collect();
            for key in ["Devices", "CapAdd", "PortBindings", "RestartPolicy", "OomScoreAdj", "Runtime", "Memory"] {
                let value = &it["HostConfig"][key];
                let says =
                    value.as_i64().is_some_and(|it| it != 0) || value.as_array().is_some_and(|it| !it.is_empty());
                let told = about.iter().any(|row| row.key.starts_with(&format!("HostConfig.{key}")));
                assert!(told || !says, "{name}: nothing is said of `{key}` of {called}");
            }
        }
        for row in &report.rows {
            assert!(row.outcome == Outcome::Kept || !row.note.is_empty(), "{name}: no word on {row:?}");
        }
    }
}

#[test]
fn reports_hold_no_value_of_a_variable() {
    let mut seen = 0;
    for case in support::golden::folders("captures") {
        let capture = capture::all(&found(&case));
        seen += capture.manifests.iter().filter(|it| it.text.contains(CANARY)).count();
        assert!(!format!("{:?}", capture.report).contains(CANARY), "{}: the report tells a secret", case.display());
    }
    assert!(seen >= 5, "only {seen} manifests hold one");
}

/// What an engine never puts anywhere stands in the place of one thing in turn, at 200 places and more.
#[test]
fn an_answer_that_makes_no_sense_breaks_nothing() {
    let odd =
        [json!(null), json!(-1), json!(u64::MAX), json!("\u{1b}[31m:/..//x y=\n"), json!([[]]), json!({ "": {} })];
    let (mut seen, cases) = (0, support::golden::folders("captures"));
    for case in &cases {
        let whole: Value = serde_json::from_str(&fs::read_to_string(case.join("found.json")).unwrap()).unwrap();
        let places = places(&whole, "");
        let mut put = BTreeSet::new();
        // Those that are taken are counted, for a step over some of them may have a factor in common with what is odd.
        for (number, place) in places.iter().step_by(1 + places.len() / 40).enumerate() {
            let (mut spoilt, which) = (whole.clone(), number % odd.len());
            *spoilt.pointer_mut(place).unwrap() = odd[which].clone();
            put.insert(which);
            let capture = capture::all(&as_found(spoilt));
            assert!(capture.report.lines(WIDTH).iter().all(|it| !it.contains('\u{1b}')), "{}: {place}", case.display());
            seen += 1;
        }
        assert_eq!(put.len(), odd.len(), "{}: not each odd thing stands somewhere", case.display());
    }
    assert!(seen >= 200, "only {seen} places");
}

/// Lists where something stands in a document.
fn places(value: &Value, above: &str) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Array(all) => all.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect(),
        Value::Object(all) => all.iter().map(|(key, it)| (key.replace('~', "~0").replace('/', "~1"), it)).collect(),
        _ => Vec::new(),
    };
    let place = |(key, it): (String, &Value)| {
        let at = format!("{above}/{key}");
        let within = places(it, &at);
        [vec![at], within].concat()
    };
    below.into_iter().flat_map(place).collect()
}

fn found(case: &Path) -> Found {
    as_found(serde_json::from_str(&fs::read_to_string(case.join("found.json")).unwrap()).unwrap())
}

fn as_found(mut all: Value) -> Found {
    let list = |value: Value| value.as_array().cloned().unwrap_or_default();
    Found {
        containers: list(all["containers"].take()),
        images: all["images"].as_object().cloned().unwrap_or_default().into_iter().collect(),
        networks: list(all["networks"].take()),
        volumes: list(all["volumes"].take()),
        machine: Machine { name: "pi".to_owned(), cgroups: "private".to_owned() },
    }
}

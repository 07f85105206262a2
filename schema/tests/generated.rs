//! The committed schemas and definitions are the ones that the types give. `PICCOLO_BLESS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "writes golden files")]

use std::{fs, path::PathBuf};

use piccolo_schema::{Kind, json};

fn compare(file: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("PICCOLO_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "{file} is out of date: run the tests with PICCOLO_BLESS=1 and look at the change");
}

#[test]
fn json_schemas_are_committed() {
    for kind in Kind::ALL {
        let text = serde_json::to_string_pretty(&json::schema(*kind)).unwrap() + "\n";
        compare(&format!("json/{}.json", kind.singular()), &text);
    }
}

#[test]
fn definitions_are_committed() {
    for kind in Kind::ALL {
        let text = serde_saphyr::to_string(&json::crd(*kind)).unwrap();
        compare(&format!("crd/{}.yaml", kind.plural()), &text);
    }
}

#[test]
fn every_pattern_can_be_enforced_and_explained() {
    fn look(schema: &serde_json::Value, at: &str) {
        if let Some(pattern) = schema.get("pattern") {
            regex_lite::Regex::new(pattern.as_str().unwrap()).unwrap_or_else(|error| panic!("{at}: {error}"));
            let explained = schema.get("patternErrorMessage").is_some() || schema.get("examples").is_some();
            assert!(explained, "{at}: nobody can guess a pattern");
        }
        match schema {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| look(value, &format!("{at}.{key}"))),
            serde_json::Value::Array(list) => list.iter().for_each(|value| look(value, at)),
            _ => {}
        }
    }
    for kind in Kind::ALL {
        look(&json::schema(*kind), kind.as_str());
    }
}

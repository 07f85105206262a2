//! What a Flatcar does at its first start: said for people in Butane, for Ignition in JSON. Both say the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking"
)]

use std::fs;

use serde_json::{Map, Value, json};

/// Where both lie.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../os-image/flatcar");

#[test]
fn both_configurations_say_the_same() {
    // Butane reads `0644` as an octal number; others see a decimal one or a text in it.
    let decimal = |line: &str| match line.split_once("mode: 0") {
        Some((indent, octal)) => format!("{indent}mode: {}\n", u32::from_str_radix(octal, 8).unwrap()),
        None => format!("{line}\n"),
    };
    let text: String = fs::read_to_string(format!("{FOLDER}/piccolo.bu")).unwrap().lines().map(decimal).collect();
    let butane: Value = serde_saphyr::from_str(&text).unwrap();
    let ignition: Value = serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/piccolo.ign")).unwrap()).unwrap();
    assert_eq!(compiled(&butane), plain(ignition));
}

#[test]
fn neither_updates_nor_restarts_come_by_themselves() {
    let ignition: Value = serde_json::from_str(&fs::read_to_string(format!("{FOLDER}/piccolo.ign")).unwrap()).unwrap();
    for unit in ["update-engine.service", "locksmithd.service"] {
        let units = ignition["systemd"]["units"].as_array().unwrap();
        assert!(units.iter().any(|it| it["name"] == unit && it["mask"] == true), "{unit}");
    }
}

/// Translates what `piccolo.bu` uses of Butane, as its page of version 1.0.0 for Flatcar says.
fn compiled(butane: &Value) -> Value {
    assert_eq!((&butane["variant"], &butane["version"]), (&json!("flatcar"), &json!("1.0.0")));
    let mut out = json!({ "ignition": { "version": "3.3.0" } });
    for (key, value) in butane.as_object().unwrap() {
        match key.as_str() {
            "variant" | "version" => {}
            "passwd" | "storage" | "systemd" => out[key] = snake_to_camel(value),
            other => panic!("`{other}` is not known here: teach it to this test"),
        }
    }
    for list in ["files", "directories"] {
        for entry in out["storage"][list].as_array_mut().into_iter().flatten() {
            if let Some(text) = entry["contents"]["inline"].as_str().map(str::to_owned) {
                entry["contents"] = json!({ "text": text });
            }
        }
    }
    out
}

/// Keys of Butane are those of Ignition in another spelling.
fn snake_to_camel(value: &Value) -> Value {
    let camel = |key: &str| {
        let mut words = key.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
    };
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, it)| (camel(key), snake_to_camel(it))).collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.iter().map(snake_to_camel).collect(),
        other => other.clone(),
    }
}

/// Takes the address of each file's contents apart.
fn plain(mut ignition: Value) -> Value {
    for file in ignition["storage"]["files"].as_array_mut().unwrap() {
        assert_eq!(file["contents"]["compression"], "");
        let source = file["contents"]["source"].as_str().unwrap().strip_prefix("data:,").unwrap().to_owned();
        let mut parts = source.split('%');
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            text.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
            text.push_str(&part[2..]);
        }
        file["contents"] = json!({ "text": text });
    }
    ignition
}

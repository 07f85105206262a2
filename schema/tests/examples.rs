//! The manifests worth copying are right, and no part of them makes the parser stumble.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use piccolo_schema::{
    parse::{parse, parse_value},
    set::{self, Extent, Source},
};

fn examples() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let manifests = files.filter(|path| path.extension().is_some_and(|it| it == "toml"));
    manifests.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_example_is_a_manifest() {
    let mut names = BTreeSet::new();
    for (path, text) in examples() {
        let file = path.display().to_string();
        let manifest = parse(&text).unwrap_or_else(|rejected| {
            panic!("{}", rejected.diagnostics.iter().map(|it| it.render(&file)).collect::<String>())
        });
        assert_eq!(path.file_stem().unwrap().to_str(), Some(manifest.name()), "a file is called as its manifest");
        assert!(names.insert((manifest.kind(), manifest.name().to_owned())), "{file}: the name is taken");
        let schema = format!("#:schema ../schema/json/{}.json\n# ", manifest.kind().singular());
        assert!(text.starts_with(&schema), "{file}: an editor finds no schema, or a reader no intent");
    }
    assert!(names.len() >= 8);
}

#[test]
fn examples_work_together() {
    let (paths, texts): (Vec<_>, Vec<_>) = examples().into_iter().unzip();
    let files: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let sources: Vec<_> = files.iter().zip(&texts).map(|(file, text)| Source { file, text: Some(text) }).collect();
    let manifests: Vec<_> = texts.iter().map(|text| parse(text).unwrap()).collect();
    let conflicts = set::check(&manifests.iter().collect::<Vec<_>>(), Extent::Whole);
    assert!(conflicts.is_empty(), "{}", conflicts.iter().map(|it| it.render(&sources)).collect::<String>());
}

#[test]
fn a_manifest_survives_the_way_through_json() {
    for (path, text) in examples() {
        let manifest = parse(&text).unwrap();
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(parse_value(&json).unwrap(), manifest, "{}", path.display());
    }
}

#[test]
fn no_beginning_of_an_example_panics() {
    for (_, text) in examples() {
        for (end, _) in text.char_indices() {
            if let Err(rejected) = parse(&text[..end]) {
                assert!(rejected.diagnostics.iter().all(|it| it.line > 0 && it.column > 0));
                assert!(!rejected.diagnostics.is_empty());
            }
        }
    }
}

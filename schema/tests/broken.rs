//! Each broken manifest in `broken/` has beside it what a person is told. `PICCOLO_BLESS=1` writes the answers anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "writes golden files")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use piccolo_schema::parse::{Code, parse};

#[test]
fn every_broken_manifest_is_explained() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let files = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    let (mut different, mut codes) = (Vec::new(), BTreeSet::new());
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Err(rejected) = parse(&text) else { panic!("{file} is accepted") };
        assert!(!rejected.diagnostics.is_empty(), "{file}: refused without a word");
        for it in &rejected.diagnostics {
            assert!(it.line > 0 && it.column > 0 && it.length > 0, "{file}: no place");
            assert!(it.render(file).contains(&format!("{file}:{}:{}", it.line, it.column)));
            codes.insert(it.code);
        }
        let sorted = rejected.diagnostics.is_sorted_by_key(|it| (it.line, it.column));
        assert!(sorted, "{file}: not in the order of the text");
        let answer = rejected.diagnostics.iter().map(|it| it.render(file)).collect::<Vec<_>>().join("\n");
        assert!(!answer.to_lowercase().contains("hunter2"), "{file}: a value in plain is repeated:\n{answer}");
        let golden = path.with_extension("txt");
        if std::env::var_os("PICCOLO_BLESS").is_some() {
            fs::write(&golden, &answer).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != answer {
            different.push(format!("{file}\n{answer}"));
        }
    }
    assert!(different.is_empty(), "run with PICCOLO_BLESS=1 and look at the change:\n{}", different.join("\n"));
    assert!(files.len() >= 60, "only {} broken manifests", files.len());
    // What is wrong between manifests has its folders in `sets/`.
    let alone = Code::ALL.iter().filter(|code| **code < Code::SubnetOverlap);
    let unseen: Vec<_> = alone.filter(|code| !codes.contains(code)).collect();
    assert!(unseen == [&Code::TooLarge], "codes without an example: {unseen:?}");
}

//! Folders of answers: what is there is compared with what is made, or written anew under `PICCOLO_BLESS`.
#![allow(clippy::disallowed_methods, reason = "writes golden files")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Compares a folder with what should be in it, or writes it anew.
pub fn differences(folder: &Path, answers: &BTreeMap<String, String>) -> Vec<String> {
    if std::env::var_os("PICCOLO_BLESS").is_some() {
        let _ = fs::remove_dir_all(folder);
    }
    let mut wrong = differences_of(folder, answers);
    let there = walk(folder).into_iter().map(|it| it.strip_prefix(folder).unwrap().display().to_string());
    wrong.extend(
        there.filter(|it| !answers.contains_key(it)).map(|it| format!("{}/{it} is not made", folder.display())),
    );
    wrong
}

pub fn differences_of(folder: &Path, answers: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, answer) in answers {
        let file = folder.join(name);
        if std::env::var_os("PICCOLO_BLESS").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, answer).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != *answer {
            wrong.push(format!("--- {}\n{answer}", file.display()));
        }
    }
    wrong
}

pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

pub fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

pub fn entries(name: &str) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(root(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

pub fn folders(name: &str) -> Vec<PathBuf> {
    entries(name).into_iter().filter(|path| path.is_dir()).collect()
}

//! Each folder in `sets/` holds manifests that can't work together, and what a person is told of them. `PICCOLO_BLESS=1`
//! writes the answers anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]
#![allow(clippy::disallowed_methods, reason = "writes golden files")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use piccolo_schema::{
    Manifest,
    parse::{Code, parse},
    set::{self, Conflict, Extent, Source},
};

/// A folder of manifests.
struct Folder {
    names: Vec<String>,
    texts: Vec<String>,
    manifests: Vec<Manifest>,
}

impl Folder {
    fn read(path: &Path) -> Self {
        let mut files = list(path);
        files.retain(|file| file.extension().is_some_and(|it| it == "toml"));
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let manifest = |(file, text): (&PathBuf, &String)| parse(text).unwrap_or_else(|it| panic!("{file:?}: {it:?}"));
        Self {
            names: files.iter().map(name).collect(),
            manifests: files.iter().zip(&texts).map(manifest).collect(),
            texts,
        }
    }

    fn conflicts(&self, extent: Extent) -> Vec<Conflict> {
        set::check(&self.manifests.iter().collect::<Vec<_>>(), extent)
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let both = self.names.iter().zip(&self.texts);
        both.map(|(file, text)| Source { file, text: Some(text) }).collect()
    }
}

#[test]
fn every_set_that_cannot_work_is_explained() {
    let (mut different, mut codes) = (Vec::new(), BTreeSet::new());
    let cases = list(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sets"));
    for case in &cases {
        let folder = Folder::read(case);
        let (conflicts, sources) = (folder.conflicts(Extent::Whole), folder.sources());
        codes.extend(conflicts.iter().map(|it| it.code));
        let answer = conflicts.iter().map(|it| it.render(&sources)).collect::<Vec<_>>().join("\n");
        let golden = case.join("answer.txt");
        if std::env::var_os("PICCOLO_BLESS").is_some() {
            fs::write(&golden, &answer).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != answer {
            different.push(format!("{}\n{answer}", case.display()));
        }
        one_line_names_every_place(&conflicts, &sources);
    }
    assert!(different.is_empty(), "run with PICCOLO_BLESS=1 and look at the change:\n{}", different.join("\n"));
    let unseen: Vec<_> =
        Code::ALL.iter().filter(|code| **code >= Code::SubnetOverlap && !codes.contains(code)).collect();
    assert!(unseen.is_empty(), "codes without an example: {unseen:?}");
    assert!(cases.len() >= 12, "{} cases are too few", cases.len());
}

fn one_line_names_every_place(conflicts: &[Conflict], sources: &[Source<'_>]) {
    for conflict in conflicts {
        let line = conflict.sentence(sources);
        assert!(!line.contains('\n'), "{line}");
        for manifest in conflict.manifests() {
            assert!(line.contains(&format!("{}:", sources[manifest].file)), "{line}");
        }
    }
}

/// Who shows a part of a machine's manifests is not told that the rest is missing.
#[test]
fn of_a_part_only_what_is_in_it_is_judged() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sets");
    let of = |case: &str| Folder::read(&cases.join(case)).conflicts(Extent::Part);
    assert_eq!(of("absent"), []);
    assert_eq!(of("policy-chooses-nobody"), []);
    assert_eq!(of("ports").len(), 1);
}

/// Whatever the order of the files, the same things are found.
#[test]
fn the_order_of_files_hides_nothing() {
    for case in list(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sets")) {
        let mut folder = Folder::read(&case);
        let codes = |folder: &Folder| folder.conflicts(Extent::Whole).iter().map(|it| it.code).collect::<BTreeSet<_>>();
        let there = codes(&folder);
        folder.manifests.reverse();
        assert_eq!(there, codes(&folder), "{}", case.display());
    }
}

fn list(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

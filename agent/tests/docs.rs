//! The manual says what is true: generated pages are what the program prints, manifests in it are understood, links lead
//! somewhere.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use piccolo_schema::{Kind, parse::parse};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn piccolo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_piccolo")).env_remove("PICCOLO_HOST").args(args).output().unwrap();
    assert!(output.status.success(), "piccolo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Compares a page with what it was generated from; `PICCOLO_BLESS=1` writes it anew.
fn compare(page: &str, now: &str) {
    let path = docs().join(page);
    if std::env::var_os("PICCOLO_BLESS").is_some() {
        fs::write(&path, now).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == now, "{page} is out of date: run the tests with PICCOLO_BLESS=1 and look at the change");
}

/// Returns every page, by its path under the manual.
fn pages() -> Vec<(PathBuf, String)> {
    let mut folders = vec![docs()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    pages
}

/// Returns the blocks of one language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect()
}

#[test]
fn reference_of_the_kinds_is_generated() {
    for kind in Kind::ALL {
        compare(&format!("reference/{}.md", kind.singular()), &piccolo(&["explain", kind.singular(), "--page"]));
    }
}

#[test]
fn reference_of_the_mistakes_is_generated() {
    compare("reference/mistakes.md", &piccolo(&["explain", "mistakes", "--page"]));
}

#[test]
fn reference_of_the_command_line_is_generated() {
    let help = piccolo(&["--help"]);
    let mut page = format!("# The command line\n\n```text\n{help}```\n");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()).filter(|it| *it != "help") {
        page.push_str(&format!("\n## `piccolo {command}`\n\n```text\n{}```\n", piccolo(&[command, "--help"])));
    }
    compare("reference/command-line.md", &page);
}

#[test]
fn every_manifest_in_the_manual_is_understood() {
    let mut count = 0;
    for (path, text) in pages() {
        for manifest in blocks(&text, "toml") {
            count += 1;
            if let Err(rejected) = parse(manifest) {
                let why: Vec<_> = rejected.diagnostics.iter().map(|it| it.render("manifest")).collect();
                panic!("{}: {manifest}\n{}", path.display(), why.join("\n"));
            }
        }
    }
    assert!(count > 5, "{count} manifests");
}

/// Returns the lines of the manual and of the README that call `piccolo`, up to what a shell does with the output.
fn commands() -> Vec<(String, String)> {
    let readme = docs().join("../../README.md");
    let readme = (readme.clone(), fs::read_to_string(readme).unwrap());
    let mut commands = Vec::new();
    for (path, text) in pages().into_iter().chain([readme]) {
        let lines = blocks(&text, "sh").join("\n").replace("\\\n", "");
        for line in lines.lines().filter(|line| line.starts_with("piccolo ")) {
            let line = [" | ", " > ", " && "].iter().fold(line, |line, end| line.split(end).next().unwrap_or(line));
            commands.push((path.display().to_string(), line.to_owned()));
        }
    }
    commands
}

#[test]
fn every_command_in_the_manual_is_understood() {
    let home = tempfile::tempdir().unwrap();
    let commands = commands();
    assert!(commands.len() > 60, "{} commands", commands.len());
    for (page, line) in commands {
        // The words before it are looked at all the same, comments and quotes as a shell takes them.
        let (words, comment) = line.split_once(" #").unwrap_or((&line, ""));
        let script = format!("piccolo() {{ \"$PROGRAM\" \"$@\"; }}\n{words} --help #{comment}");
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).env("PROGRAM", env!("CARGO_BIN_EXE_piccolo")).current_dir(&home);
        let output = shell.env("HOME", home.path()).env("PICCOLO_HOST", "unix:///nowhere/api.sock").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(2), "{page}: {line}\n{said}");
    }
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    for (path, text) in pages() {
        let page = path.strip_prefix(docs()).unwrap().display().to_string();
        assert!(page == "SUMMARY.md" || summary.contains(&format!("({page})")), "{page} is not in the summary");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let is_there = file.is_empty() || file.contains("://") || path.parent().unwrap().join(file).exists();
            assert!(is_there, "{page} links to {target}");
        }
    }
}

//! Tests that can't run on this machine.
#![allow(clippy::print_stderr, reason = "a test says that it was skipped, and why")]

use std::{fmt::Display, fs::OpenOptions, io::Write, thread};

/// Says why a test, or a part of one, is skipped: to whoever looks at it, and in the file that `PICCOLO_SKIPPED` names, from
/// which `e2e/test` tells of all.
pub(crate) fn skipped(why: impl Display) {
    let line = format!("skipped: {}: {why}\n", thread::current().name().unwrap_or("a test"));
    eprint!("{line}");
    if let Some(file) = std::env::var_os("PICCOLO_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(file);
        drop(file.and_then(|mut it| it.write_all(line.as_bytes())));
    }
}

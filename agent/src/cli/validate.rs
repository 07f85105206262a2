//! `piccolo validate`: every mistake in files, without a daemon.

use std::{collections::BTreeMap, path::PathBuf};

use super::{failure::Failure, local, screen::Screen};

/// Checks manifests without a daemon.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo validate web.toml\n  piccolo validate /etc/piccolo")]
pub(super) struct Args {
    /// Files, directories, or `-` for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    let manifests = local::read(&args.paths, screen)?;
    let mut seen = BTreeMap::new();
    for manifest in &manifests {
        *seen.entry((manifest.kind, &manifest.name)).or_insert(0_usize) += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    for ((kind, name), count) in &twice {
        screen.note(format!("error: {kind} `{name}` is declared in {count} files; keep one of them"));
    }
    if !twice.is_empty() {
        return Err(Failure::Invalid { mistakes: twice.len(), files: twice.iter().map(|(_, count)| **count).sum() });
    }
    screen.line(format!("{} manifest(s) are valid", manifests.len()))
}

//! `piccolo validate`: every mistake in files and between them, without a daemon.

use std::{collections::BTreeSet, path::PathBuf};

use piccolo_schema::set::{self, Conflict, Extent};

use super::{
    failure::Failure,
    local::{self, Local},
    screen::Screen,
};

/// Checks manifests without a daemon. Of a directory it is also told what its manifests name and none declares.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo validate web.toml\n  piccolo validate /etc/piccolo")]
pub(super) struct Args {
    /// Files, directories, or `-` for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    let local = local::read(&args.paths, screen)?;
    let manifests: Vec<_> = local.iter().map(|it| &it.manifest).collect();
    let sources: Vec<_> = local.iter().map(Local::source).collect();
    // Who names single files does not claim that there are no others.
    let extent = if args.paths.iter().any(|path| path.is_dir()) { Extent::Whole } else { Extent::Part };
    let conflicts = set::check(&manifests, extent);
    conflicts.iter().for_each(|it| screen.note(it.render(&sources)));
    let errors = conflicts.iter().filter(|it| it.is_error);
    let files: BTreeSet<_> = errors.clone().flat_map(Conflict::manifests).collect();
    if !files.is_empty() {
        return Err(Failure::Invalid { mistakes: errors.count(), files: files.len() });
    }
    screen.line(format!("{} manifest(s) are valid", local.len()))
}

//! `piccolo schema`: what editors check manifests against.

use std::{fs, io::Write, path::PathBuf};

use piccolo_schema::{Kind, json};

use super::{failure::Failure, screen::Screen, subject};

/// Prints the JSON Schema of a kind, for editors.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo schema container > container.json\n  piccolo schema --dir ~/.config/piccolo"
)]
pub(super) struct Args {
    /// The kind.
    #[arg(required_unless_present = "dir")]
    kind: Option<String>,
    /// Writes the schemas of all kinds into this directory.
    #[arg(long, conflicts_with = "kind")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<(), Failure> {
    if let Some(word) = &args.kind {
        return screen.line(format!("{:#}", json::schema(subject::kind(word)?)));
    }
    let dir = args.dir.clone().unwrap_or_default();
    fs::create_dir_all(&dir).map_err(|source| Failure::File { path: dir.clone(), source })?;
    for kind in Kind::ALL {
        let path = dir.join(format!("{}.json", kind.singular()));
        let text = format!("{:#}\n", json::schema(*kind));
        let written = fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Failure::File { path: path.clone(), source })?;
        screen.line(path.display().to_string())?;
    }
    Ok(())
}

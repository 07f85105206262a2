//! Manifests of what came from elsewhere: written into files or printed, with the report on them.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{failure::Failure, output, output::Format, screen::Screen};
use crate::foreign::{Report, Written};

/// The exit code when something is in no manifest.
const LOSSY: u8 = 7;
/// The width of the report when nobody says how wide the screen is.
const WIDTH: usize = 80;

/// Where manifests go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The directory of files; printed when none.
    pub(super) dir: Option<&'a Path>,
    /// Whether files that are there are written over.
    pub(super) force: bool,
    pub(super) form: Format,
}

impl Place<'_> {
    /// Writes or prints the manifests and the report, and returns the exit code.
    pub(super) fn show(self, manifests: &[Written], report: &Report, screen: &Screen) -> Result<u8, Failure> {
        let code = if report.is_lossy() { LOSSY } else { 0 };
        if let Some(dir) = self.dir {
            write(dir, manifests, self.force)?;
        }
        let paths: Vec<_> = manifests.iter().map(path).collect();
        let all: Vec<_> = manifests
            .iter()
            .zip(&paths)
            .map(|(it, path)| json!({ "kind": it.kind, "name": it.name, "path": path, "text": it.text }))
            .collect();
        let document = json!({ "items": all, "report": report.rows, "lossy": report.is_lossy() });
        if output::document(screen, self.form, &document)? {
            return Ok(code);
        }
        let lines = self::report(report, screen);
        if self.dir.is_none() {
            for (it, path) in manifests.iter().zip(&paths) {
                screen.line(format!("# {}\n{}", path.display(), it.text))?;
            }
            lines.iter().for_each(|line| screen.note(line));
            return Ok(code);
        }
        lines.iter().try_for_each(|line| screen.line(line))?;
        screen.line(format!("{} manifest(s) written; look at them, then `piccolo plan`.", manifests.len()))?;
        Ok(code)
    }
}

/// Returns a report for this screen.
pub(super) fn report(report: &Report, screen: &Screen) -> Vec<String> {
    report.lines(screen.width().unwrap_or(WIDTH))
}

/// Returns where a manifest belongs below a directory of manifests.
fn path(manifest: &Written) -> PathBuf {
    Path::new(manifest.kind.plural()).join(format!("{}.toml", manifest.name))
}

/// Writes all, or nothing if one is there already.
fn write(dir: &Path, manifests: &[Written], force: bool) -> Result<(), Failure> {
    let files: Vec<_> = manifests.iter().map(|it| (dir.join(path(it)), &it.text)).collect();
    if let Some((taken, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        let reason = format!("{} is there already; nothing was written. `--force` writes over it", taken.display());
        return Err(Failure::Usage(reason));
    }
    for (path, text) in files {
        let unusable = |source| Failure::File { path: path.clone(), source };
        fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(unusable)?;
        // Passwords may stand in it.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(unusable)?;
    }
    Ok(())
}

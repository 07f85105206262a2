//! The files of the audit: `00000001.jsonl`, `00000002.jsonl` and so on, the oldest of which go. Blocks.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::line::{self, Line, Tip};

/// After how many bytes the next file is begun.
const SIZE: u64 = 8 << 20;
/// How many files are kept.
const KEPT: usize = 16;
const ENDING: &str = "jsonl";
/// How much of the end of a file is read for its latest lines.
const TAIL: u64 = 1 << 20;

/// The file that is written to.
#[derive(Debug)]
pub(super) struct Open {
    home: PathBuf,
    number: u64,
    file: File,
    size: u64,
}

impl Open {
    /// Opens the latest file, or the next one if the last line of that was broken off: a line that was begun is left as it
    /// is. Returns the end of the chain too.
    pub(super) fn latest(home: &Path) -> io::Result<(Self, Tip)> {
        DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        let files = list(home)?;
        let mut tip = Tip::default();
        let mut is_whole = true;
        for (_, path) in files.iter().rev() {
            let text = tail(path)?;
            is_whole &= text.is_empty() || text.ends_with('\n');
            let mut lines = text.split('\n').filter_map(|text| line::read(text).ok());
            if let Some(last) = lines.next_back() {
                tip = Tip { n: last.n, hash: last.hash };
                break;
            }
        }
        let number = files.last().map_or(1, |(number, _)| if is_whole { *number } else { number + 1 });
        Ok((Self::numbered(home, number)?, tip))
    }

    fn numbered(home: &Path, number: u64) -> io::Result<Self> {
        let path = home.join(format!("{number:08}.{ENDING}"));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        File::open(home)?.sync_all()?;
        Ok(Self { home: home.to_owned(), number, file, size })
    }

    /// Writes lines, and returns when they will survive a loss of power. What fails is cut off again.
    pub(super) fn write(&mut self, lines: &str) -> io::Result<()> {
        if self.size >= SIZE {
            *self = Self::numbered(&self.home, self.number + 1)?;
            forget(&self.home)?;
        }
        let written = self.file.write_all(lines.as_bytes()).and_then(|()| self.file.sync_data());
        match &written {
            Ok(()) => self.size += u64::try_from(lines.len()).unwrap_or_default(),
            // If even that fails, the next start takes the rest for a line that was broken off.
            Err(_) => drop(self.file.set_len(self.size)),
        }
        written
    }
}

/// Returns the latest lines, the newest last. Lines that can't be read are left out: `verify` tells of them.
pub(super) fn latest(home: &Path, many: usize) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (_, path) in list(home)?.iter().rev() {
        let text = tail(path)?;
        let read = text.lines().rev().filter_map(|text| line::read(text).ok());
        lines.extend(read.take(many - lines.len()));
        if lines.len() == many {
            break;
        }
    }
    lines.reverse();
    Ok(lines)
}

/// Returns every file with its number, the oldest first.
pub(super) fn list(home: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.extension().is_some_and(|it| it == ENDING).then(|| path.file_stem()?.to_str()).flatten();
        if let Some(number) = stem.and_then(|stem| stem.parse().ok()) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

fn forget(home: &Path) -> io::Result<()> {
    let files = list(home)?;
    let old = files.len().saturating_sub(KEPT);
    files.into_iter().take(old).try_for_each(|(_, path)| fs::remove_file(path))
}

/// Reads the end of a file, from the beginning of a line on.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(if start == 0 { text } else { text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default() })
}

//! Whether every line is what was written, and none is missing in between.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    files,
    line::{self, BEGINNING, Tip},
};

/// A chain that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many lines there are.
    pub lines: u64,
    /// The number of the first: what came before it was long ago and is kept no more.
    pub first: u64,
    /// The digest of the last, to be compared with the system's journal.
    pub hash: String,
    /// How many entries are in no line, as the lines themselves say.
    pub lost: u64,
    /// How many lines were broken off while they were written.
    pub torn: u64,
}

/// A line that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.why)
    }
}

/// Follows the chain through every file of a directory, up to the first line that is not what was written. Blocks.
///
/// # Errors
/// When a file can't be read.
pub fn verify(home: &Path) -> io::Result<Result<Verified, Broken>> {
    let mut verified = Verified::default();
    let mut tip: Option<Tip> = None;
    for (_, file) in files::list(home)? {
        let bytes = fs::read(&file)?;
        if let Err((line, why)) = follow(&bytes, &mut tip, &mut verified) {
            return Ok(Err(Broken { file, line, why }));
        }
    }
    verified.hash = tip.map_or_else(|| BEGINNING.to_owned(), |tip| tip.hash);
    Ok(Ok(verified))
}

fn follow(bytes: &[u8], tip: &mut Option<Tip>, verified: &mut Verified) -> Result<(), (usize, String)> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // After the end of the last line there is nothing, unless that was broken off, be it just before its end.
    let rest = lines.pop().unwrap_or_default();
    let is_whole = std::str::from_utf8(rest).is_ok_and(|text| line::read(text).is_ok());
    if is_whole {
        lines.push(rest);
    }
    for (index, text) in lines.iter().enumerate() {
        let at = |why: &str| (index + 1, why.to_owned());
        let text = std::str::from_utf8(text).map_err(|_| at("it is no text"))?;
        let line = line::read(text).map_err(at)?;
        match tip {
            Some(tip) if line.before != tip.hash => return Err(at("a line before it is missing or another one")),
            Some(tip) if line.n != tip.n + 1 => return Err(at("its number does not follow")),
            None if line.n == 1 && line.before != BEGINNING => return Err(at("a line before it is missing")),
            _ => {}
        }
        if tip.is_none() {
            verified.first = line.n;
        }
        verified.lines += 1;
        verified.lost += line.lost;
        *tip = Some(Tip { n: line.n, hash: line.hash });
    }
    if rest.is_empty() || is_whole {
        return Ok(());
    }
    // It may have been broken off inside of a letter.
    if !line::is_torn(&String::from_utf8_lossy(rest)) {
        return Err((lines.len() + 1, "something follows its digest".to_owned()));
    }
    verified.torn += 1;
    Ok(())
}

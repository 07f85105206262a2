//! The log of the system, in which systemd writes what it measures once the kernel runs: JSON with a mark before each record.

use serde::Deserialize;

use super::{NotLog, Sum, little, sum};

/// The largest log; a start writes some ten records.
pub(crate) const LARGEST: usize = 256 << 10;
/// The most records.
const MOST: usize = 2048;
/// Stands before each record.
const MARK: u8 = 0x1e;

/// One thing that the system measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pcr: u8,
    pub(super) digest: Sum,
    /// What kind of thing it is: `phase`, `machine-id`.
    pub(super) kind: String,
    /// What was measured, in words.
    pub(super) text: String,
}

#[derive(Deserialize)]
struct Written {
    pcr: u8,
    digests: Vec<Bank>,
    #[serde(default)]
    content: Content,
}

#[derive(Deserialize)]
struct Bank {
    #[serde(rename = "hashAlg")]
    name: String,
    digest: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    #[serde(rename = "eventType")]
    kind: String,
    string: String,
}

/// Reads a log; an empty one says nothing.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, NotLog> {
    if bytes.len() > LARGEST {
        return Err(NotLog::Large);
    }
    let records = bytes.split(|byte| *byte == MARK).map(<[u8]>::trim_ascii).filter(|it| !it.is_empty());
    let mut all = Vec::new();
    for record in records {
        let number = all.len() + 1;
        let entry = serde_json::from_slice(record).ok().and_then(|it: Written| entry(&it)).filter(|_| number <= MOST);
        all.push(entry.ok_or(NotLog::Record(number))?);
    }
    Ok(all)
}

fn entry(written: &Written) -> Option<Entry> {
    let digest = written.digests.iter().find(|it| it.name == "sha256").and_then(|it| sum(&it.digest))?;
    let word = |text: &str| little::narrow(text.as_bytes());
    let (kind, text) = (word(&written.content.kind), word(&written.content.string));
    (written.pcr < 24).then_some(Entry { pcr: written.pcr, digest, kind, text })
}

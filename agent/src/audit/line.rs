//! A line and its chain. Pure.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Entry;

/// The digest before the first line.
pub(super) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands before the digest of a line, which is over everything before this.
const SEAL: &str = ",\"hash\":\"";
const END: &str = "\"}";

/// A line as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// When it was written.
    pub time: String,
    /// Who.
    pub who: String,
    /// What they may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The address of their machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The way in.
    pub door: String,
    /// What.
    pub action: String,
    /// The manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The generation of its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// What came of it.
    pub result: String,
    /// How many entries before this are in no line.
    #[serde(default)]
    pub lost: u64,
    /// The digest of the line before.
    pub before: String,
    /// The digest of this line.
    pub hash: String,
}

/// The end of a chain: the number and the digest of its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) n: u64,
    pub(super) hash: String,
}

impl Default for Tip {
    fn default() -> Self {
        Self { n: 0, hash: BEGINNING.to_owned() }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    n: u64,
    time: &'a str,
    #[serde(flatten)]
    entry: &'a Entry,
    #[serde(skip_serializing_if = "is_none")]
    lost: u64,
    before: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_none(lost: &u64) -> bool {
    *lost == 0
}

impl Tip {
    /// Writes the line that follows, with its end, and moves on to it.
    pub(super) fn follow(&mut self, entry: &Entry, lost: u64, time: &str) -> serde_json::Result<String> {
        let n = self.n + 1;
        let mut text = serde_json::to_string(&Body { n, time, entry, lost, before: &self.hash })?;
        text.pop();
        let hash = digest(&text);
        text.extend([SEAL, &hash, END, "\n"]);
        *self = Self { n, hash };
        Ok(text)
    }
}

/// Reads a line without its end, whose digest has to be right. Its place in the chain is not looked at.
pub(super) fn read(text: &str) -> Result<Line, &'static str> {
    let (body, hash) = text.rsplit_once(SEAL).ok_or("it has no digest")?;
    let hash = hash.strip_suffix(END).ok_or("it does not end with its digest")?;
    if digest(body) != hash {
        return Err("its digest is that of another text");
    }
    serde_json::from_str(text).map_err(|_| "it is not a line of the audit")
}

/// Returns true if this is the beginning of a line that was broken off while it was written.
pub(super) fn is_torn(text: &str) -> bool {
    text.rsplit_once(SEAL).is_none_or(|(_, hash)| hash.len() < BEGINNING.len() + END.len())
}

fn digest(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}
